"""A host's own facts, by one constant command over SSH: what neither Nova nor libvirt can say."""

from __future__ import annotations

from vgpu_console.model.host_facts import SshFacts
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import HostShell
from vgpu_console.sources.fact_command import FACT_COMMAND
from vgpu_console.sources.ssh_parse import parse_answer, parse_facts

__all__ = ["FACT_COMMAND", "SshHostSource", "parse_facts"]


class SshHostSource:
    """Reads kernel, driver, type descriptions, sysfs and the named options of nova.conf of one host.

    The shell is shared by all hosts and closed by whoever made it.
    """

    kind: SourceKind = "ssh"

    def __init__(self, host: str, shell: HostShell, *, timeout_s: float = 20.0) -> None:
        self.host = host
        self.requests = 0
        self.notes: tuple[str, ...] = ()
        self._shell = shell
        self._timeout_s = timeout_s

    def fetch(self, previous: SshFacts | None = None) -> SshFacts:
        """One run of FACT_COMMAND (blocking). Equal facts come back as the previous object. Raises SourceError."""
        self.requests = 1
        self.notes = ()
        facts, self.notes = parse_answer(self.host, self._shell.run(self.host, FACT_COMMAND, self._timeout_s))
        return previous if previous is not None and previous == facts else facts

    def close(self) -> None:
        """Nothing of its own to close."""
