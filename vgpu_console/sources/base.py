"""What every source has in common: the error it raises and the seams the simulator and the tests stand at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from vgpu_console.model.source import ErrorKind


class SourceError(Exception):
    """A source could not answer. ``str()`` is one plain line for a screen; it never holds a secret."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind


class Refused(SourceError):
    """A change was refused before anything was sent (read-only wall)."""

    def __init__(self, message: str) -> None:
        super().__init__("forbidden", message)


class Unanswered(SourceError):
    """A change was sent and nobody knows whether it was obeyed: its answer did not come, or is not to be trusted."""


LibvirtOpener = Callable[[str, bool], Any]
"""Opens a libvirt connection: (uri, read_only) -> an object with libvirt-python's virConnect calls.

The object is untyped on purpose: libvirt-python ships no types, and the simulator's look the same by duck typing.
Raises an exception with ``get_error_message()`` (libvirt.libvirtError), or OSError.
"""


class HostShell(Protocol):
    """Runs the one constant command on a host and returns its standard output."""

    def run(self, host: str, command: str, timeout_s: float) -> str:
        """Blocking; called from worker threads. Raises SourceError."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
