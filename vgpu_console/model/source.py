"""How a source's last answer went: every figure on a screen can be traced to one of these."""

from __future__ import annotations

from typing import Literal

import msgspec

SourceKind = Literal["keystone", "placement", "nova", "libvirt", "ssh"]

ErrorKind = Literal[
    "unreachable",  # no route, refused, name not known, closed in the middle
    "timeout",  # no answer within the deadline
    "auth",  # the credential was not accepted
    "forbidden",  # the credential was accepted but has not the role
    "protocol",  # an answer came, and it was not what this service sends
    "unavailable",  # this console cannot ask (libvirt-python or a setting is missing)
]

Freshness = Literal["fresh", "stale", "failed", "never"]


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one source: one per OpenStack service, one per host and channel.

    Times are seconds since the epoch; ``duration_s`` is the length of the last attempt, failed or not.
    """

    kind: SourceKind
    host: str = ""  # empty for the OpenStack services
    fetched_at: float | None = None  # the last good answer
    attempted_at: float | None = None
    duration_s: float | None = None
    error: str | None = None  # one plain line about the last attempt; None when it was good
    error_kind: ErrorKind | None = None
    failures: int = 0  # in a row
    next_at: float | None = None  # when it will be asked again
    interval_s: float = 0.0  # the pace at which it is asked while all is well
    requests: int = 0  # HTTP requests or remote calls of the last attempt
    notes: tuple[str, ...] = ()  # what the answer leaves out, e.g. "limits: only this project's are visible"

    @property
    def key(self) -> str:
        """``nova``, ``libvirt:gpu-01``: unique in a snapshot."""
        return f"{self.kind}:{self.host}" if self.host else self.kind

    def age_s(self, now: float) -> float | None:
        """Seconds since the last good answer, None when there has been none."""
        return None if self.fetched_at is None else max(0.0, now - self.fetched_at)

    def freshness(self, now: float) -> Freshness:
        """``failed`` as soon as the last attempt failed; ``stale`` when two intervals passed without an answer."""
        age = self.age_s(now)
        if self.error is not None:
            return "failed"
        if age is None:
            return "never"
        return "stale" if self.interval_s and age > 2 * self.interval_s + 5 else "fresh"
