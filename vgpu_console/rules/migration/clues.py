"""What the story of a migration is told from: OpenStack's word, libvirt's word of both hosts, and how it moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from vgpu_console.model.evidence import Evidence, libvirt_says, nova_says, placement_says
from vgpu_console.model.migration_end import GuestLook, GuestState
from vgpu_console.model.migration_job import CompletedJob, NotMeasured, WatchState
from vgpu_console.model.migration_trace import (
    CANCEL_ACTION,
    FORCE_ACTION,
    ActionEvent,
    Holding,
    MigrationTrace,
    asked_during,
    nova_seconds,
)
from vgpu_console.model.nova import MigrationFacts, Server

ROLLBACK = "compute_rollback_live_migration_at_destination"
PREPARED = "compute_pre_live_migration"
STARTED_STATUSES = frozenset({"preparing", "running", "running (post-copy)"})


class Motion(msgspec.Struct, frozen=True, kw_only=True):
    """How a running migration moved while it was watched, in seconds by this console's clock; None: not known."""

    running_s: float | None = None  # since Nova said that it runs
    still_s: float | None = None  # since libvirt's job last sent anything
    no_job_s: float | None = None  # since the source's libvirt, which answers, has had no job of it
    iteration: int | None = None
    converges: bool | None = None  # whether the last passes over the memory left less and less to send
    ladder_end_s: float | None = None  # so long after its start Nova allows the longest pause there will be


class Clues(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the story rests on. What was not looked at is absent or None, and is told as unknown.

    ``statuses`` are Nova's words for this migration in the order in which they were seen, the last one included.
    ``provider_hosts``: provider uuid -> host. ``computes``: host -> state of its nova-compute. ``post_copy``: host ->
    whether its nova.conf permits it. ``memory_moved``: whether any byte of memory was seen to be sent.
    """

    trace: MigrationTrace
    migration: str
    statuses: tuple[str, ...] = ()
    watch: WatchState | None = None
    measured: CompletedJob | NotMeasured | None = None
    guests: Mapping[str, GuestLook] = {}
    provider_hosts: Mapping[str, str] = {}
    computes: Mapping[str, str | None] = {}
    post_copy: Mapping[str, bool | None] = {}
    memory_moved: bool | None = None
    motion: Motion | None = None

    @property
    def row(self) -> MigrationFacts | None:
        """Nova's row of it."""
        return self.trace.migration(self.migration)

    @property
    def server(self) -> Server | None:
        """The server, if it was read."""
        return self.trace.server

    @property
    def newest(self) -> bool:
        """Whether the server was not moved again since: only then its present state tells of this migration."""
        row = self.row
        return row is not None and all(m.id <= row.id for m in self.trace.migrations or ())

    def guest(self, host: str | None) -> GuestState | None:
        """libvirt's word of one host; None: not looked at."""
        look = self.guests.get(host or "")
        return look.state if look is not None else None

    def alive(self, host: str | None) -> bool | None:
        """Whether the guest is there; None: not looked at."""
        look = self.guests.get(host or "")
        return look.alive if look is not None else None

    def has_event(self, name: str) -> bool | None:
        """Whether the action has an event of that name; None: its events were not read."""
        return None if self.trace.action is None else any(e.name == name for e in self.trace.action.events)

    @property
    def errors(self) -> tuple[ActionEvent, ...]:
        """Events of the action that failed, those with words first, the conductor's own summary last."""
        events = self.trace.action.events if self.trace.action is not None else ()
        failed = [e for e in events if e.result == "Error"]
        return tuple(sorted(failed, key=lambda e: (e.name.startswith("conductor"), e.details is None)))

    @property
    def broken(self) -> tuple[ActionEvent, ...]:
        """Those that tell at what it failed after a host was found; a check that failed only passed a host over."""
        passed = ("conductor", "compute_check_can_live_migrate_")
        return tuple(e for e in self.errors if e.details and not e.name.startswith(passed))

    @property
    def aborted(self) -> bool | None:
        """Whether somebody aborted it; None: neither its statuses nor the server's actions tell."""
        row = self.row
        if "cancelled" in self.statuses or (row is not None and row.status == "cancelled"):
            return True
        if row is None or self.trace.actions is None:
            return None
        return asked_during(self.trace.actions, row, CANCEL_ACTION)

    @property
    def forced(self) -> bool | None:
        """Whether its completion was forced."""
        row = self.row
        if row is None or self.trace.actions is None:
            return None
        return asked_during(self.trace.actions, row, FORCE_ACTION)

    @property
    def barred(self) -> bool:
        """Whether QEMU must have refused it: it moves no mediated device where post-copy is permitted."""
        row = self.row
        if row is None:
            return False
        look = self.guests.get(row.source or "")
        permitted = any(self.post_copy.get(host or "") for host in (row.source, row.destination))
        return permitted and look is not None and bool(look.mdevs)

    @property
    def began(self) -> bool | None:
        """Whether nova-compute had taken it up (from ``preparing`` on); None: not known."""
        if STARTED_STATUSES & set(self.statuses):
            return True
        told = [self.has_event(ROLLBACK), self.has_event(PREPARED)]
        return True if True in told else None if None in told else False

    def hosts_of(self, holds: Iterable[Holding] | None) -> set[str] | None:
        """The hosts that a consumer holds something of; "" stands for a provider nobody knows. None: not read."""
        return None if holds is None else {self.provider_hosts.get(h.provider, "") for h in holds}

    @property
    def leaked(self) -> bool | None:
        """Whether the ended migration still holds something; None: not read."""
        row = self.row
        if self.trace.migration_holds is None or row is None:
            return None
        return bool(self.trace.migration_holds) and not row.in_progress


def guest_lines(clues: Clues) -> tuple[list[Evidence], list[str]]:
    """libvirt's word of both hosts, and what could not be looked at."""
    row = clues.row
    said, unknown = [], []
    for role, host in (("source", row.source), ("destination", row.destination)) if row is not None else ():
        if host is None:
            continue
        look = clues.guests.get(host)
        if look is None or look.state is None:
            why = f": {look.why}" if look is not None and look.why else ""
            unknown.append(f"whether the guest is on {host} ({role}) could not be looked at{why}")
        else:
            word = {"absent": "no guest of it"}.get(look.state, f"the guest is {look.state}")
            said.append(libvirt_says(host, f"{host} ({role}): {word}"))
    return said, unknown


def server_line(clues: Clues) -> list[Evidence]:
    """Nova's word of the server."""
    server = clues.server
    if server is None:
        return []
    known = -1 if server.power_state is None else server.power_state
    power = {0: ", power NOSTATE", 4: ", power SHUTDOWN"}.get(known, "")
    task = f", {server.task_state}" if server.task_state else ""
    where = f"{server.status or 'of unknown status'} on {server.host or 'no host'}"
    return [nova_says(f"the server is {where}{task}{power}")]


def status_line(clues: Clues) -> list[Evidence]:
    """Nova's words of the migration in their order."""
    row = clues.row
    words = list(dict.fromkeys(clues.statuses)) or ([row.status] if row is not None and row.status else [])
    return [nova_says(f"the migration was {' → '.join(words)}")] if words else []


def fault_lines(clues: Clues) -> tuple[list[Evidence], list[str]]:
    """The server's fault, if Nova shows one: as what it is, which mostly is an earlier failure's."""
    server, row = clues.server, clues.row
    if server is None or row is None or not server.fault:
        return [], []
    written, begun = nova_seconds(server.fault_at), nova_seconds(row.created_at)
    if written is None or begun is None:
        return [], [f"whether Nova's fault “{server.fault}” belongs to this migration: it has no time"]
    if written < begun:
        words = f"the fault that Nova shows is of {server.fault_at}, before this migration, and not its reason"
        return [nova_says(f"{words}: “{server.fault}”")], []
    return [nova_says(f"Nova's fault, written since: {server.fault}")], []


def holding_lines(clues: Clues) -> tuple[list[Evidence], list[str]]:
    """Who holds what in Placement."""
    said, unknown = [], []
    trace = clues.trace
    for who, holds in (("the server", trace.server_holds), ("the migration's uuid", trace.migration_holds)):
        hosts = clues.hosts_of(holds)
        if hosts is None:
            unknown.append(f"what {who} holds in Placement was not read")
        elif holds:
            names = ", ".join(sorted(h or "a provider of an unknown host" for h in hosts))
            total: dict[str, int] = {}
            for name, amount in (pair for h in holds for pair in h.resources.items()):
                total[name] = total.get(name, 0) + amount
            amounts = ", ".join(f"{n} {c}" for c, n in sorted(total.items()))
            said.append(placement_says(f"{who} holds {amounts} on {names}"))
        else:
            said.append(placement_says(f"{who} holds no allocations"))
    return said, unknown
