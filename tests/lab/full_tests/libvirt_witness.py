"""What both hosts' libvirt say of a migration by themselves, written down by somebody else than the console."""

from __future__ import annotations

import time
from typing import Any

from tests.lab.full_tests.full_lab import DESTINATION, SOURCE, FullLab

LIFECYCLE, JOB_COMPLETED = 0, 21
COMPLETED_AND_KEPT = 1 | 2
SUSPENDED, RESUMED = 3, 4


class Witness:
    """Hears one domain's events on both hosts from its making until ``close``."""

    def __init__(self, lab: FullLab, domain: str, source: str = SOURCE, destination: str = DESTINATION) -> None:
        self._lab, self._domain = lab, domain
        self._source, self._destination = source, destination
        self.completed: dict[str, Any] | None = None
        self.heard: list[tuple[float, str, int, int]] = []  # (seconds, host, event, detail)
        self._registered = []
        for host in (source, destination):
            connection = lab.libvirt(host)
            number = connection.domainEventRegisterAny(None, LIFECYCLE, self._lifecycle, host)
            self._registered.append((connection, number))
        connection = lab.libvirt(source)
        self._registered.append((connection, connection.domainEventRegisterAny(None, JOB_COMPLETED, self._job, source)))

    def _lifecycle(self, _connection: Any, domain: Any, event: int, detail: int, host: str) -> None:
        if domain.UUIDString() == self._domain:
            self.heard.append((time.monotonic(), host, event, detail))

    def _job(self, _connection: Any, domain: Any, parameters: Any, _host: str) -> None:
        if domain.UUIDString() == self._domain:
            self.completed = dict(parameters)

    @property
    def downtime_of_source(self) -> int | None:
        """Milliseconds by the source's JOB_COMPLETED event; None: there was none."""
        return None if self.completed is None else int(self.completed["downtime"])

    @property
    def downtime_of_destination(self) -> int:
        """Milliseconds by the destination's statistics, which are kept. Raises libvirtError."""
        domain = self._lab.libvirt(self._destination).lookupByUUIDString(self._domain)
        return int(domain.jobStats(COMPLETED_AND_KEPT)["downtime"])

    @property
    def stood_still_s(self) -> float | None:
        """From SUSPENDED on the source to RESUMED on the destination, as both were heard here."""
        stopped = [at for at, host, event, _ in self.heard if (host, event) == (self._source, SUSPENDED)]
        ran = [at for at, host, event, _ in self.heard if (host, event) == (self._destination, RESUMED)]
        return ran[-1] - stopped[0] if stopped and ran else None

    def close(self) -> None:
        """Hear no more."""
        for connection, number in self._registered:
            connection.domainEventDeregisterAny(number)
