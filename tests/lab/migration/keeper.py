"""Runs a command and buries whatever it leaves behind, and ends when nothing is left.

Emulators outlive the daemon that started them, and fall to the machine's first process when they end. Where that takes
its time with them (in many containers), libvirt waits seconds for each. This process stands in its place.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> None:
    """Until the command and all it left behind have ended."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen(command)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
