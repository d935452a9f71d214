"""A host's own facts, by one constant command over SSH: what neither Nova nor libvirt can say."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from vgpu_console.model.host_facts import SshFacts
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import HostShell
from vgpu_console.sources.fact_command import FACT_COMMAND
from vgpu_console.sources.ssh_parse import host_clock, parse_answer, parse_facts

__all__ = ["FACT_COMMAND", "SshHostSource", "parse_facts"]


SHARP_ENOUGH_S = 1.0


class SshHostSource:
    """Reads kernel, driver, GPU modes, type descriptions, sysfs and the named options of nova.conf of one host.

    The shell is shared by all hosts and closed by whoever made it. ``clock`` is this machine's, in seconds since the
    epoch: the host's own is held against it.
    """

    kind: SourceKind = "ssh"

    def __init__(
        self, host: str, shell: HostShell, *, timeout_s: float = 20.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.host = host
        self.requests = 0
        self.notes: tuple[str, ...] = ()
        self._shell = shell
        self._timeout_s = timeout_s
        self._clock = clock

    def fetch(self, previous: SshFacts | None = None) -> SshFacts:
        """One run of FACT_COMMAND (blocking). Equal facts come back as the previous object. Raises SourceError."""
        self.requests = 1
        self.notes = ()
        began = self._clock()
        text = self._shell.run(self.host, FACT_COMMAND, self._timeout_s)
        ended = self._clock()
        facts, self.notes = parse_answer(self.host, text)
        facts = _with_skew(facts, clock_skew(host_clock(text), began, ended), previous)
        return previous if previous is not None and previous == facts else facts

    def close(self) -> None:
        """Nothing of its own to close."""


def clock_skew(host: tuple[int, int] | None, began: float, ended: float) -> tuple[float, float] | None:
    """How far the host's clock is ahead, and the error of that, in seconds; None when it did not say.

    The host read whole seconds after ``began`` and before ``ended`` on our clock, so each of its two readings bounds
    the difference from one side: how long its command took in between does not count.
    """
    if host is None or ended < began:
        return None
    low, high = host[1] - ended, host[0] + 1 - began
    if high < low:
        return None  # one of the clocks was set meanwhile
    return (low + high) / 2, (high - low) / 2


def _with_skew(facts: SshFacts, skew: tuple[float, float] | None, previous: SshFacts | None) -> SshFacts:
    """The facts with the skew; an earlier figure stays while a new reading neither contradicts nor much betters it.

    How exact a reading is depends on where in a second it fell, so that it would otherwise be news each time.
    """
    if skew is None:
        return facts
    ahead, error = skew
    if previous is not None and previous.clock_skew_s is not None and previous.clock_error_s is not None:
        agrees = abs(previous.clock_skew_s - ahead) <= error + previous.clock_error_s
        sharper = previous.clock_error_s > SHARP_ENOUGH_S and error < previous.clock_error_s / 2
        if agrees and not sharper:
            ahead, error = previous.clock_skew_s, previous.clock_error_s
    return msgspec.structs.replace(facts, clock_skew_s=round(ahead, 2), clock_error_s=round(error, 2))
