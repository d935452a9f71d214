"""Live migrations that hang or went wrong: where the guest really is, what Nova says, and what is left behind."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from vgpu_console.model.evidence import Evidence, libvirt_says, nova_says
from vgpu_console.model.migration_end import End
from vgpu_console.model.migration_trace import SAME_CLOCK_S, MigrationTrace, nova_seconds
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.guests import guest_looks, newer_than_nova, running_on
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis, moment
from vgpu_console.rules.migration.story import Clues, story

ERROR_WHILE_RUNNING = Diagnosis(
    id="error-while-guest-runs",
    severity="fail",
    title="A server is in ERROR and its guest runs",
    why="Its owner can do nothing with it and may believe it lost, and Nova refuses to move it, though the guest never "
    "stopped: Nova 32.2 and later take every failed or aborted live migration for an error of the server.",
    needs=("nova", "libvirt"),
    action="migrate.reset",
    fleeting=True,
)
SPLIT_BRAIN = Diagnosis(
    id="guest-on-other-host",
    severity="fail",
    title="A guest runs on another host than Nova says",
    why="Whatever Nova is asked to do with it, it does on the wrong host: a hard reboot destroys the guest, a start or "
    "rebuild makes a second one on the same disk.",
    needs=("nova", "libvirt"),
    fleeting=True,
)
TWICE = Diagnosis(
    id="guest-twice",
    severity="fail",
    title="A guest runs on two hosts",
    why="Two guests with one disk and one address: the disk may be damaged by now.",
    needs=("nova", "libvirt"),
    fleeting=True,
)
NOWHERE = Diagnosis(
    id="guest-nowhere",
    severity="fail",
    title="A server is ACTIVE and its host has no guest of it",
    why="Its owner believes that it runs. Nova logs that it did not find the guest, and goes on saying ACTIVE; its "
    "allocation and its vGPU stay.",
    needs=("nova", "libvirt"),
    fleeting=True,
)
OLD_FAULT = Diagnosis(
    id="fault-outdated",
    severity="info",
    title="The fault that Nova shows is of an earlier failure",
    why="It is not the reason of the server's ERROR: a failed live migration writes none, so that Nova goes on showing "
    "whatever was there before.",
    needs=("nova",),
)
STUCK = Diagnosis(
    id="migration-stuck",
    severity="warn",
    title="A live migration does not move",
    why="While it lasts the server can be changed by nobody, its vGPUs count twice, and with "
    "live_migration_completion_timeout = 0 Nova never ends it.",
    needs=("nova",),
    action="migrate.abort",
)
UNDRIVEN = Diagnosis(
    id="migration-undriven",
    severity="fail",
    title="A live migration runs whose nova-compute is down",
    why="libvirt goes on alone and may move the guest at any moment. Nova does not learn of it, and an abort waits for "
    "that service and stops nothing.",
    needs=("nova",),
)
LEFT_MIGRATING = Diagnosis(
    id="server-left-migrating",
    severity="warn",
    title="A server is MIGRATING and its migration has ended",
    why="Nova refuses to do anything with it. A nova-compute that is stopped cancels migrations that wait, and does "
    "not set their servers back.",
    needs=("nova",),
    fleeting=True,
)

STILL_S = 180.0
"""nova-compute writes what has been sent every five seconds; one that has not for so long does not move."""

WAITS_S = 600.0
"""So long a destination is looked for and prepared at most, and one in the queue waits for none before it."""

LONG_S = 2 * 3600.0
"""A live migration that has run for so long does not come to its end by itself."""


# -- where the guest is ------------------------------------------------------------------------------------------------


def _guests(ground: Ground) -> Iterator[Finding]:
    if not ground.heard("nova"):
        return
    for vgpu_server in ground.snapshot.servers:
        server = ground.servers.get(vgpu_server.id)
        if server is None or server.id in ground.unsettled or not server.host:
            continue
        alive = {host for host in running_on(ground, server.id) if host}
        if not alive:
            if _is_gone(ground, server, server.host):
                yield _nowhere(ground, server, server.host)
            continue
        if len(alive) > 1:
            if ground.settled(server.id):  # a libvirt that was read before a migration ended still shows both ends
                yield _twice(ground, server, sorted(alive))
        elif server.host not in alive:
            if ground.heard("libvirt", server.host) and ground.settled(server.id):
                yield _split_brain(ground, server, alive.pop())
        elif server.status == "ERROR":
            yield _error(ground, server, server.host)


def _is_gone(ground: Ground, server: Server, host: str) -> bool:
    """Whether the host that Nova names has no domain of an ACTIVE server, neither with nor without a vGPU."""
    if server.status != "ACTIVE" or not ground.heard("libvirt", host) or not ground.settled(server.id):
        return False
    if newer_than_nova(ground, host):
        return False  # it may have been deleted since
    libvirt = ground.facts.libvirt[host]
    there = (*(d.uuid for d in libvirt.domains), *libvirt.bare_domains)
    return not libvirt.skipped and server.id not in there


def _nowhere(ground: Ground, server: Server, host: str) -> Finding:
    who = ground.server_words(server.id)
    rows = ground.migrations_of.get(server.id, ())
    deaf = sorted(h.name for h in ground.snapshot.hosts if h.gpus is not None and not ground.heard("libvirt", h.name))
    unseen = f"; whether it is on {', '.join(deaf[:3])} could not be looked at" if deaf else ""
    last = f"; {_last(rows[0])}" if rows else ""
    return NOWHERE.found(
        who,
        f"is ACTIVE on {host}, whose libvirt has no domain of it{last}{unseen}; a hard reboot makes it anew",
        nova_says(f"{who}: ACTIVE on {host}{last}"),
        libvirt_says(host, "no domain of it, running or defined"),
        host=host,
        objects=(who, f"host {host}"),
        command=shlex.join(["openstack", "server", "reboot", "--hard", server.id]),
    )


def _story(ground: Ground, server: Server) -> tuple[MigrationFacts, End] | None:
    """The end of its last live migration as far as a reading of the fleet tells it; None where it had none."""
    rows = ground.migrations_of.get(server.id, ())
    if not rows:
        return None
    row = rows[0]
    clues = Clues(
        trace=MigrationTrace(server=server, migrations=rows),
        migration=row.uuid,
        statuses=(row.status,) if row.status else (),
        guests=guest_looks(ground, server.id, (row.source, row.destination)),
    )
    return row, story(clues)


def _last(row: MigrationFacts) -> str:
    return f"its last live migration, {row.source} → {row.destination or 'nowhere'}: {row.status} ({row.updated_at})"


def _error(ground: Ground, server: Server, host: str) -> Finding:
    who = ground.server_words(server.id)
    told = _story(ground, server)
    evidence = [
        nova_says(f"{who}: ERROR on {host}, nothing is done with it"),
        libvirt_says(host, "its guest is active"),
    ]
    words = f"is in ERROR, and its guest runs on {host}"
    if told is not None and told[0].status in ("error", "failed", "cancelled"):
        words += f"; {_last(told[0])}"
        evidence.append(nova_says(_last(told[0])))
    return ERROR_WHILE_RUNNING.found(
        who,
        words,
        *evidence,
        host=host,
        objects=(who, f"host {host}"),
        command=shlex.join(["vgpu-console", "migrate", "reset", server.id]),
    )


def _split_brain(ground: Ground, server: Server, there: str) -> Finding:
    who = ground.server_words(server.id)
    told = _story(ground, server)
    words = f"Nova says {server.host}, its guest runs on {there}"
    evidence = [
        nova_says(f"{who}: {server.status} on {server.host}"),
        libvirt_says(there, "its guest is active here"),
        libvirt_says(server.host or "", "no guest of it is active here"),
    ]
    if told is not None and told[1].kind == "split-brain":
        row, end = told
        words += f": {end.explanation}; {'; '.join(end.avoid)}"
        evidence.append(nova_says(_last(row)))
    else:
        words += ": do not reboot, start or rebuild it before Nova's database says where it is"
    return SPLIT_BRAIN.found(
        who,
        words,
        *evidence,
        host=there,
        objects=(who, f"host {there}", f"host {server.host}"),
        command=shlex.join(["vgpu-console", "migrate", "follow", server.id]),
    )


def _twice(ground: Ground, server: Server, hosts: list[str]) -> Finding:
    who = ground.server_words(server.id)
    wrong = next((h for h in hosts if h != server.host), hosts[-1])
    return TWICE.found(
        who,
        f"its guest runs on {' and '.join(hosts)}, Nova says {server.host}: pause the one that Nova does not mean, "
        "then look which of the two is the true one",
        nova_says(f"{who}: {server.status} on {server.host}"),
        *(libvirt_says(host, "its guest is active here") for host in hosts),
        host=wrong,
        objects=(who, *(f"host {host}" for host in hosts)),
        command=f"ssh {shlex.quote(wrong)} sudo virsh suspend {shlex.quote(server.id)}",
    )


def _faults(ground: Ground) -> Iterator[Finding]:
    """Of servers in ERROR after a live migration: a fault that was written before that began."""
    for server_id, rows in ground.migrations_of.items():
        server, row = ground.servers.get(server_id), rows[0]
        if server is None or server.status != "ERROR" or not server.fault or row.in_progress:
            continue
        written, begun = nova_seconds(server.fault_at), nova_seconds(row.created_at)
        if row.status == "completed" or written is None or begun is None or written >= begun - SAME_CLOCK_S:
            continue
        who = ground.server_words(server_id)
        yield OLD_FAULT.found(
            who,
            f"its fault “{server.fault}” is of {server.fault_at}, before its last live migration began "
            f"({row.created_at}), which ended with {row.status}: it is not the reason",
            nova_says(f"fault of {server.fault_at}: {server.fault}"),
            nova_says(_last(row)),
            host=server.host or "",
            command=f"ssh {shlex.quote(row.source or '')} sudo journalctl -u nova-compute -g "
            f"{shlex.quote(server_id)} --no-pager",
        )


# -- migrations that do not end ----------------------------------------------------------------------------------------


def _running(ground: Ground) -> Iterator[Finding]:
    nova = ground.facts.nova
    if nova is None or not ground.heard("nova"):
        return
    rows = [row for row in nova.migrations or () if row.in_progress]
    busy = {row.source for row in rows if row.status in ("preparing", "running", "running (post-copy)")}
    status = ground.statuses.get("nova")
    now = status.fetched_at if status is not None and status.fetched_at is not None else ground.now
    for row in rows:
        source = ground.hosts.get(row.source or "")
        if source is not None and source.service_state == "down":
            yield _undriven(ground, row)
            continue
        why = _stuck(row, now, waits_for_another=row.source in busy)
        if why:
            yield _does_not_move(ground, row, why)


def _stuck(row: MigrationFacts, now: float, *, waits_for_another: bool) -> str:
    """Why it does not come to its end by itself; "" while it may. ``now`` is when Nova was read."""
    begun, changed = nova_seconds(row.created_at), nova_seconds(row.updated_at)
    if begun is None:
        return ""
    written = changed if changed is not None else begun
    quiet = now - written
    if row.status in ("running", "running (post-copy)"):
        if quiet >= STILL_S:
            return f"nothing of it was sent since {moment(written)}"
        return f"it has been going on since {moment(begun)}" if now - begun >= LONG_S else ""
    if quiet < WAITS_S or (row.status == "queued" and waits_for_another):
        return ""
    return f"it has been {row.status} since {moment(written)}"


def _bytes(row: MigrationFacts) -> str:
    if row.memory_total_bytes is None or row.memory_remaining_bytes is None:
        return ""
    return f"; {row.memory_remaining_bytes >> 20} of {row.memory_total_bytes >> 20} MiB are left"


def _does_not_move(ground: Ground, row: MigrationFacts, why: str) -> Finding:
    who = ground.server_words(row.server_id)
    verb = "follow" if row.status == "accepted" else "abort"  # Nova aborts from queued on
    return STUCK.found(
        f"migration {row.uuid}",
        f"of {who}, {row.source} → {row.destination or '?'}, {row.status}: {why}{_bytes(row)}",
        nova_says(f"migration {row.id}: {row.status}, last written {row.updated_at}{_bytes(row)}"),
        *_where(ground, row),
        host=row.source or "",
        objects=(f"migration {row.uuid}", who),
        command=shlex.join(["vgpu-console", "migrate", verb, row.server_id]),
        key="a" if verb == "abort" else "",
    )


def _where(ground: Ground, row: MigrationFacts) -> Iterator[Evidence]:
    alive = running_on(ground, row.server_id)
    for host in (row.source, row.destination):
        if host and ground.heard("libvirt", host):
            yield libvirt_says(host, f"a guest of it is {'active' if host in alive else 'not active'}")


def _undriven(ground: Ground, row: MigrationFacts) -> Finding:
    who = ground.server_words(row.server_id)
    alive = running_on(ground, row.server_id)
    there = row.destination in alive and row.source not in alive
    words = f"its guest is on {row.destination} by now" if there else "libvirt goes on without Nova"
    return UNDRIVEN.found(
        f"migration {row.uuid}",
        f"of {who}, {row.source} → {row.destination or '?'}, is {row.status} and nova-compute of {row.source} is down: "
        f"{words}; once that is started again Nova calls it an error",
        nova_says(f"migration {row.id}: {row.status}, last written {row.updated_at}"),
        nova_says(f"nova-compute on {row.source}: down"),
        *_where(ground, row),
        host=row.source or "",
        objects=(f"migration {row.uuid}", who, f"host {row.source}"),
        command=f"ssh {shlex.quote(row.source or '')} sudo systemctl start nova-compute",
    )


def _left(ground: Ground) -> Iterator[Finding]:
    for server_id, rows in ground.migrations_of.items():
        server, row = ground.servers.get(server_id), rows[0]
        if server is None or server.task_state != "migrating" or any(r.in_progress for r in rows):
            continue
        ended = nova_seconds(row.updated_at)
        if ended is None or ground.now - ended < STILL_S:
            continue
        who = ground.server_words(server_id)
        yield LEFT_MIGRATING.found(
            who,
            f"is MIGRATING, and {_last(row)}; look where its guest runs and what it holds before its state is set back",
            nova_says(f"{who}: {server.status}, {server.task_state} on {server.host}"),
            nova_says(_last(row)),
            *_where(ground, row),
            host=server.host or "",
            objects=(who, f"migration {row.uuid}"),
            command=shlex.join(["openstack", "server", "set", "--state", "active", server_id]),
        )


CHAPTER = Chapter(
    (ERROR_WHILE_RUNNING, SPLIT_BRAIN, TWICE, NOWHERE, OLD_FAULT, STUCK, UNDRIVEN, LEFT_MIGRATING),
    (_guests, _faults, _running, _left),
)
