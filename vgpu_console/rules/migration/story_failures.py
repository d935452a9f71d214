"""How a live migration fails: refused, aborted, ended by QEMU; and where what is true contradicts what Nova says."""

from __future__ import annotations

import shlex

from vgpu_console.model.evidence import Evidence, host_says, libvirt_says, nova_says
from vgpu_console.model.migration_end import End, EndKind, Mend, Severity
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.rules.migration.clues import Clues
from vgpu_console.rules.migration.story_words import NO_SECOND_REBOOT, heal, reset, told

_RAISED = (
    "Nova 32.2 and later take every failed or aborted live migration for an error of the server and put it into "
    "ERROR, although its guest never stopped"
)


# -- it did not --------------------------------------------------------------------------------------------------------


def refused(clues: Clues, row: MigrationFacts) -> End:
    """Nova's own checks said no before anything was sent. Their reason is in an event of the action alone."""
    lines, unknown = [], []
    for event in clues.errors:
        if event.details:
            where = f" on {event.host}" if event.host else ""
            lines.append(nova_says(f"{event.name}{where}: {event.details}"))
    reasons = [e for e in clues.errors if e.details and not e.name.startswith("conductor")]
    if reasons:
        words = f"{reasons[0].details}"
    else:
        words = "Nova found no host that would take it, and says no more"
        unknown.append(
            "the reason: no event of the action tells it, or its details need role admin and Nova 21 or later"
        )
    return told(
        clues,
        "refused",
        "refused before it began",
        f"{words}. The guest was not touched",
        over=True,
        severity="warn" if clues.server is not None and clues.newest and clues.server.status == "ERROR" else "note",
        evidence=tuple(lines),
        unknown=tuple(unknown),
        mends=(*reset(clues, clues.server, row.source), *heal(clues, row)),
    )


def aborted(clues: Clues, row: MigrationFacts) -> End:
    """Stopped by somebody while it ran."""
    doubt = (
        f"whether it had begun: if it only waited, nova-compute of {row.destination} still reserves a device for it",
    )
    return _stayed(
        clues, row, "aborted", "aborted while it ran", "somebody aborted it", (), doubt if clues.began is None else ()
    )


def aborted_queued(clues: Clues, row: MigrationFacts) -> End:
    """Stopped by somebody before it ran: clean, but for the device that the destination's nova-compute keeps."""
    target = row.destination
    look = clues.guests.get(target or "")
    lines = []
    if look is not None and look.idle:
        idle = ", ".join(f"{uuid} ({kind})" if kind else uuid for uuid, kind in sorted(look.idle.items())[:8])
        lines.append(libvirt_says(target or "", f"devices on {target} that no guest holds: {idle}"))
    words = (
        f"the guest was not touched. The device that Nova had reserved for it on {target} looks free in libvirt and in "
        f"Placement, and is not: boots and migrations that land on it fail with “mdev-capable resource is not "
        f"available” until nova-compute of {target} is restarted"
    )
    if target is None:
        words = "the guest was not touched; where it would have gone is not known"
    restart = Mend(
        words=f"restart nova-compute of {target}, when no migration runs there: it then forgets the reservation",
        command=f"ssh {shlex.quote(target or '')} sudo systemctl restart nova-compute",
    )
    return told(
        clues,
        "aborted-queued",
        "aborted while it waited",
        words,
        over=True,
        severity="warn" if target is not None else "note",
        evidence=tuple(lines),
        unknown=() if look is not None and look.idle is not None else (f"which devices of {target} no guest holds",),
        mends=(*((restart,) if target is not None else ()), *heal(clues, row)),
    )


def refused_by_qemu(clues: Clues, row: MigrationFacts) -> End:
    """It failed before a byte was sent, or must have: nobody saw it, and post-copy is permitted."""
    on = [host for host in (row.source, row.destination) if host and clues.post_copy.get(host)]
    if on:
        why = (
            f"live_migration_permit_post_copy is on at {', '.join(on)}: QEMU refuses to move a vGPU with it "
            f"(“VFIO migration is not supported with postcopy migration”)"
        )
    else:
        why = (
            "QEMU refused to begin: mostly a device or a driver that cannot be migrated (“VFIO device doesn't support "
            "device and IOMMU dirty tracking”, “does not support migration”)"
        )
    lines = [host_says(host, f"[libvirt] live_migration_permit_post_copy = true on {host}") for host in on]
    unread = _unread_post_copy(clues, row)
    if clues.memory_moved is False:
        lines.append(libvirt_says(row.source or "", "no memory was sent"))
    return _stayed(clues, row, "refused-by-qemu", "QEMU refused", why, tuple(lines), () if on else unread)


def destination_died(clues: Clues, row: MigrationFacts) -> End:
    """It failed while memory was sent."""
    why = (
        f"the guest's QEMU on {row.destination} ended before it had taken over: it died, or the line between the hosts "
        f"was cut"
    )
    line = libvirt_says(row.source or "", "memory had been sent before it failed")
    return _stayed(clues, row, "destination-died", f"failed on {row.destination}", why, (line,), _log_of(row))


def failed(clues: Clues, row: MigrationFacts) -> End:
    """It failed, and nobody was there to see at what."""
    if clues.broken:
        event = clues.broken[0]
        line = nova_says(f"{event.name}{f' on {event.host}' if event.host else ''}: {event.details}")
        return _stayed(clues, row, "failed", "failed", f"{event.details}", (line,))
    why = "libvirt or QEMU ended it; Nova writes the reason into its log alone"
    unknown = ("at what it failed", *_unread_post_copy(clues, row), *_log_of(row))
    return _stayed(clues, row, "failed", "failed", why, (), unknown)


def _unread_post_copy(clues: Clues, row: MigrationFacts) -> tuple[str, ...]:
    """The hosts whose nova.conf was not read: with post-copy permitted it would be the reason."""
    hosts = (row.source, row.destination)
    return tuple(f"whether post-copy is permitted on {h}" for h in hosts if h and clues.post_copy.get(h) is None)


def _log_of(row: MigrationFacts) -> tuple[str, ...]:
    return (f"QEMU's own words: nova-compute's log of {row.source} has them behind “Live Migration failure”",)


def _stayed(
    clues: Clues,
    row: MigrationFacts,
    kind: EndKind,
    title: str,
    why: str,
    evidence: tuple[Evidence, ...] = (),
    unknown: tuple[str, ...] = (),
) -> End:
    """It did not move. What that means for the server depends on what Nova made of it."""
    server = clues.server
    here = clues.guest(row.source)
    where = f"the guest runs on {row.source}" if here == "running" else f"the guest stays on {row.source}"
    if here is None:
        where = f"the guest should run on {row.source}, which could not be looked at"
    elif here in ("shut off", "absent"):
        where = f"the guest does not run on {row.source}"
    in_error = clues.newest and server is not None and server.status == "ERROR"
    words = f"{why}; {where}"
    if in_error:
        words += f". {_RAISED}"
    log = Mend(
        words="read why",
        command=f"ssh {shlex.quote(row.source or '')} sudo journalctl -u nova-compute -g {row.server_id} --no-pager",
    )
    mends = [*reset(clues, server, row.source), *heal(clues, row)]
    if kind not in ("aborted",):
        mends.append(log)
    severity: Severity = "warn" if in_error or clues.leaked else "note"
    if here in ("shut off", "absent") and clues.newest:
        severity = "fail"
    return told(
        clues,
        kind,
        title,
        words,
        over=True,
        severity=severity,
        evidence=evidence,
        unknown=unknown,
        mends=tuple(mends),
    )


# -- what is true contradicts Nova -------------------------------------------------------------------------------------


def split_brain(clues: Clues, row: MigrationFacts) -> End:
    """libvirt finished while nova-compute of the source was dead: the guest is on the destination, Nova says source."""
    source, target = row.source, row.destination
    return told(
        clues,
        "split-brain",
        f"the guest runs on {target}, Nova says {source}",
        f"nova-compute of {source} died while libvirt moved the guest, and when it came back Nova called the migration "
        f"an error. The guest is well on {target} and must be told to Nova; the migration's uuid still holds the "
        f"devices of {source}",
        over=True,
        severity="fail",
        mends=(
            Mend(
                words=f"so that the guest goes on: no API of Nova can say where it is; in the database of its cell, "
                f"instances.host, node and compute_id are to be those of {target}; then restart its nova-compute",
            ),
            *heal(clues, row, "once Nova says that the server is on the destination, free what the migration holds"),
            Mend(
                words=f"or, if the guest may be lost: end it on {target}, restart nova-compute there, which keeps its "
                f"device reserved, give the server its allocations on {source} back, and only then reboot it hard",
                command=f"ssh {shlex.quote(target or '')} sudo virsh destroy {row.server_id}",
            ),
        ),
        avoid=(
            NO_SECOND_REBOOT,
            f"do not start or rebuild it: two guests would then use one disk ({source} and {target})",
            "do not free the migration's allocations first where the server holds none of its own",
        ),
    )


def twice(clues: Clues, row: MigrationFacts) -> End:
    """Both hosts run it."""
    return told(
        clues,
        "twice",
        f"the guest runs on {row.source} and on {row.destination}",
        "two guests with one disk and one address: the disk may be damaged by now",
        over=True,
        severity="fail",
        mends=(
            Mend(
                words=f"pause the one that Nova does not mean, then look which of the two is the true one "
                f"(Nova says {clues.server.host if clues.server is not None else 'nothing'})",
                command=f"ssh {shlex.quote(_other(clues, row))} sudo virsh suspend {row.server_id}",
            ),
        ),
        avoid=("do not migrate, reboot or rebuild it before one of the two is stopped",),
    )


def nowhere(clues: Clues, row: MigrationFacts) -> End:
    """Neither host runs it."""
    host = clues.server.host if clues.server is not None else None
    return told(
        clues,
        "nowhere",
        "the guest runs on neither host",
        f"libvirt of {row.source} and of {row.destination} were both asked, and neither has a running guest of it",
        over=row.in_progress is False,
        severity="fail",
        mends=(
            Mend(
                words=f"start it again where Nova says it is ({host or 'not known'}), if that host has a vGPU for it",
                command=f"openstack server reboot --hard {row.server_id}",
            ),
            *heal(clues, row),
        ),
    )


def _other(clues: Clues, row: MigrationFacts) -> str:
    host = clues.server.host if clues.server is not None else None
    return (row.source if host == row.destination else row.destination) or ""
