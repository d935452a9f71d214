"""The entry point: as little as possible before the command line decides what is needed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_INTERRUPTED = 130


def main() -> None:
    """Runs ``vgpu-console`` and exits with its code."""
    if os.environ.get("SSH_CONNECTION"):
        # Textual reads these when it is imported; over a line each frame of an animation costs bytes and calm.
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    try:
        from vgpu_console.cli import run

        code = run()
        if code != _INTERRUPTED:
            sys.exit(code)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    # Worker threads may still wait for a host that does not answer: an interrupted command does not wait for them.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
