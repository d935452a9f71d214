"""What can look wrong for a moment is told when it is seen a second time.

The sources are read at different moments: a server that is deleted between two readings looks as if its domain had
been lost. So a finding of a fleeting diagnosis waits until each source that is its evidence has been read again and it
is still there. What the first readings of all show is told at once: there is nothing to wait for in a single reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vgpu_console.model.snapshot import Finding
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.diagnosis.doctor import BY_ID

_Key = tuple[str, str]


class Confirmation:
    """Remembers since which readings each fleeting finding has been there."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}  # source -> when it was read for the first time
        self._since: dict[_Key, dict[str, float | None]] = {}  # finding -> source -> the reading it was first seen in

    def confirmed(self, findings: Iterable[Finding], sources: Iterable[SourceStatus]) -> tuple[Finding, ...]:
        """Those that are to be told now, in their order."""
        read = {s.key: s.fetched_at for s in sources}
        for source, moment in read.items():
            if moment is not None:
                self._first.setdefault(source, moment)
        since: dict[_Key, dict[str, float | None]] = {}
        told = []
        for finding in findings:
            diagnosis = BY_ID.get(finding.id)
            if diagnosis is None or not diagnosis.fleeting:
                told.append(finding)
                continue
            key = (finding.id, finding.object)
            seen = since[key] = self._since.get(key) or {e.key: read.get(e.key) for e in finding.evidence}
            newest = max((moment for moment in seen.values() if moment is not None), default=0.0)
            if all(self._again(source, then, newest, read) for source, then in seen.items()):
                told.append(finding)
        self._since = since
        return tuple(told)

    def _again(self, source: str, then: float | None, newest: float, read: Mapping[str, float | None]) -> bool:
        """Whether a source has been read since, or has been read only once so far.

        Since ``newest``, the last of the readings that showed it first: a service whose answer is some seconds older
        than a host's knows of the same motion only in an answer that is younger than that.
        """
        now = read.get(source)
        return (now != then and (now is None or now > newest)) or now == self._first.get(source)
