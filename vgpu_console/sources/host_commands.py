"""Changes on a host that libvirt cannot make, by constant commands over SSH, and what their answers mean."""

from __future__ import annotations

import re
from typing import Protocol

from vgpu_console.sources.base import HostShell, SourceError, Unanswered
from vgpu_console.sources.change_command import NOTHING_RUN, ChangeCall, HostChange
from vgpu_console.text import plain

CHANGE_S = 60.0
"""``sriov-manage`` unbinds and binds every function again, which takes tens of seconds on a large board."""

_NOT_RUN = (126, 127)  # of the shell: not executable, not found
_EXIT = re.compile(r"==exit ([0-9]{1,3})==")
_FIRST = "==vgpu-console-change 1=="
_SUDO = ("sudo:", "sorry, user", "sorry, try")


class ChangingShell(HostShell, Protocol):
    """A host shell that may also run the changes of ``change_command``, where the settings allow it."""

    def change(self, host: str, change: HostChange, timeout_s: float) -> str:
        """What the command printed. Blocking; raises SourceError, Unanswered once the command was sent."""
        ...


class HostCommands:
    """Takes changes on one host and tells how they went. The shell is shared and closed by whoever made it."""

    def __init__(self, host: str, shell: ChangingShell, *, timeout_s: float = CHANGE_S) -> None:
        self.host = host
        self._shell = shell
        self._timeout_s = timeout_s

    def take(self, call: ChangeCall, address: str, value: int | None = None) -> str:
        """Run one change (blocking); what it said, one line.

        Raises Refused before anything is sent, SourceError when it was not done, Unanswered when that is not known:
        also for any exit status of ``sriov-manage``, which proves nothing.
        """
        change = HostChange(call, address, value)
        return judged(self.host, change, self._shell.change(self.host, change, self._timeout_s))


def judged(host: str, change: HostChange, output: str) -> str:
    """What the command said when it ended well. Raises SourceError as ``HostCommands.take`` does."""
    lines = [line for line in (plain(line, 200).strip() for line in output.splitlines()) if line]
    end = _EXIT.fullmatch(lines[-1]) if lines else None
    if end is None or lines[0] != _FIRST:
        said = f": {'; '.join(lines[:2])}" if lines and lines[0] != _FIRST else ""
        raise Unanswered("protocol", f"{host}: the answer is cut short or strange{said}")
    code = int(end[1])
    said = plain("; ".join(lines[1:-1][:3]), 300)
    if code == 0:
        return said
    if code == NOTHING_RUN or code in _NOT_RUN:
        raise SourceError("unavailable", f"{host}: nothing was run: {said}")
    if any(line.lower().startswith(_SUDO) for line in lines):
        raise SourceError("forbidden", f"{host}: this user may not do it, nothing was run: {said}")
    if change.call == "enable-vfs":
        raise Unanswered("protocol", f"{host}: sriov-manage ended with {code}{': ' + said if said else ''}")
    if "permission denied" in said.lower():
        raise SourceError("forbidden", f"{host}: this user may not write it: {said}")
    raise SourceError("protocol", f"{host}: the driver refused it: {said or f'exit {code}'}")
