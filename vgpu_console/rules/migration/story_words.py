"""How a live migration goes on, hangs or arrives, each told as what it is; and the mends of all ends."""

from __future__ import annotations

import shlex

from vgpu_console.model.evidence import Evidence, libvirt_says, nova_says
from vgpu_console.model.migration_end import End, EndKind, Mend, Severity
from vgpu_console.model.migration_job import CompletedJob
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.rules.migration.clues import Clues, fault_lines, guest_lines, holding_lines, server_line, status_line
from vgpu_console.rules.migration.downtime import told_downtime

RESET, HEAL, ABORT, FORCE = "migrate.reset", "migrate.heal", "migrate.abort", "migrate.force"

NO_SECOND_REBOOT = (
    "do not reboot it hard: Nova would look for its vGPU on the source, does not find it, and the server ends in ERROR "
    "with the guest destroyed"
)


def told(
    clues: Clues,
    kind: EndKind,
    title: str,
    explanation: str,
    *,
    over: bool,
    severity: Severity,
    evidence: tuple[Evidence, ...] = (),
    unknown: tuple[str, ...] = (),
    mends: tuple[Mend, ...] = (),
    avoid: tuple[str, ...] = (),
) -> End:
    """An end with what every end rests on: Nova's words, libvirt's of both hosts, Placement's, the fault's age."""
    guests, unseen = guest_lines(clues)
    holdings, unread = holding_lines(clues)
    faults, undated = fault_lines(clues)
    return End(
        kind=kind,
        title=title,
        explanation=explanation,
        over=over,
        severity=severity,
        evidence=(*evidence, *status_line(clues), *server_line(clues), *guests, *holdings, *faults),
        unknown=(*unknown, *unseen, *unread, *undated),
        mends=mends,
        avoid=avoid,
    )


# -- it goes on --------------------------------------------------------------------------------------------------------


def under_way(clues: Clues, row: MigrationFacts) -> End:
    """Nothing is wrong as far as can be seen."""
    return told(clues, "under-way", f"{row.status}", "it goes on", over=False, severity="ok")


def post(clues: Clues, row: MigrationFacts) -> End:
    """The server is ACTIVE on the destination a second or two before the migration's row says so."""
    words = "the guest runs on the destination; Nova still gives back what it held on the source"
    return told(clues, "post", f"arrived on {row.destination}", words, over=False, severity="ok")


def stuck(clues: Clues, row: MigrationFacts, why: str, *, forcible: bool) -> End:
    """It runs and does not come to an end by itself."""
    mends = [abort(clues, row)]
    if forcible:
        mends.append(
            Mend(
                words="or force it to its end: Nova pauses the guest until all is sent",
                action=FORCE,
                command=f"openstack server migration force complete {row.server_id} {row.id}",
            )
        )
    words = f"{why}; the guest runs on the source meanwhile"
    return told(clues, "stuck", "it does not move", words, over=False, severity="warn", mends=tuple(mends))


def source_compute_down(clues: Clues, row: MigrationFacts) -> End:
    """Nobody drives it: libvirt goes on alone, and Nova will not learn of its end."""
    there = clues.guest(row.destination)
    if there == "running":
        words = f"libvirt has finished alone: the guest runs on {row.destination}, and Nova does not know"
    elif clues.guest(row.source) == "running":
        words = f"the guest still runs on {row.source}; libvirt goes on without Nova and may move it at any moment"
    else:
        words = "libvirt goes on without Nova; where the guest is could not be seen"
    return told(
        clues,
        "source-compute-down",
        f"nova-compute of {row.source} is down",
        f"{words}. An abort is accepted by Nova's API and waits for that service: it stops nothing",
        over=False,
        severity="fail",
        evidence=(nova_says(f"nova-compute of {row.source} is down"),),
        mends=(
            Mend(
                words=f"start nova-compute of {row.source}: it then calls the migration an error, and more can be told",
                command=f"ssh {shlex.quote(row.source or '')} sudo systemctl start nova-compute",
            ),
        ),
        avoid=(NO_SECOND_REBOOT,) if there == "running" else (),
    )


# -- it moved ----------------------------------------------------------------------------------------------------------


def completed(clues: Clues, row: MigrationFacts) -> End:
    """It arrived; what it left behind is told."""
    forced = clues.forced
    kind: EndKind = "forced" if forced else "completed"
    mends, evidence = heal(clues, row), []
    if isinstance(clues.measured, CompletedJob):
        pause = f"the guest stood still for {told_downtime(clues.measured.downtime_ms, clues.measured.heard_ms)}"
        teller = row.destination if clues.measured.source.endswith("of the destination") else row.source
        evidence.append(libvirt_says(teller or "", f"{pause} ({clues.measured.source})"))
    words = "the server runs there"
    if forced:
        words = "somebody forced its completion, which paused the guest until all was sent; the server runs there"
    if mends:
        words += ", but the migration still holds what it had on the source"
    there = clues.guest(row.destination)
    if clues.newest and there in ("absent", "shut off"):
        words = f"Nova says so, but libvirt of {row.destination} has no running guest of it"
    severity: Severity = "fail" if there in ("absent", "shut off") and clues.newest else "warn" if mends else "ok"
    return told(
        clues,
        kind,
        f"completed: {row.source} → {row.destination}",
        words,
        over=True,
        severity=severity,
        evidence=tuple(evidence),
        unknown=()
        if forced is not None
        else ("whether its completion was forced: the server's actions were not read",),
        mends=mends,
    )


def moved_not_completed(clues: Clues, row: MigrationFacts) -> End:
    """The tidying up afterwards failed: the server is on the destination, its migration says error."""
    return told(
        clues,
        "moved-not-completed",
        f"moved to {row.destination}, yet Nova calls it {row.status}",
        f"the guest was moved, then Nova failed while it tidied up on {row.source}",
        over=True,
        severity="warn",
        mends=(*heal(clues, row), *reset(clues, clues.server, row.destination)),
    )


def server_gone(clues: Clues, row: MigrationFacts) -> End:
    """The server was deleted."""
    words = "the server was deleted; its migration is history"
    severity: Severity = "warn" if clues.leaked else "note"
    return told(clues, "server-gone", "deleted", words, over=True, severity=severity, mends=heal(clues, row))


def unknown(clues: Clues, why: str) -> End:
    """Nothing can be said."""
    return told(clues, "unknown", "not known", why, over=False, severity="note", unknown=(why,))


# -- mends -------------------------------------------------------------------------------------------------------------


def reset(clues: Clues, server: Server | None, host: str | None) -> tuple[Mend, ...]:
    """Where the server is in ERROR although its guest runs where Nova says, or that could not be looked at."""
    if server is None or not clues.newest or server.status != "ERROR" or server.host != host:
        return ()
    state = clues.guest(host)
    if state in ("absent", "shut off"):
        return (
            Mend(
                words=f"no guest of it runs on {host}: boot it there anew",
                command=f"openstack server reboot --hard {server.id}",
            ),
        )
    doubt = "" if state is not None else f", once you have seen that its guest runs on {host}"
    return (
        Mend(
            words=f"set its state to ACTIVE again{doubt}: the guest never stopped",
            action=RESET,
            command=f"openstack server set --state active {server.id}",
        ),
    )


def heal(clues: Clues, row: MigrationFacts, words: str = "") -> tuple[Mend, ...]:
    """Where the ended migration holds something."""
    if not clues.leaked:
        return ()
    return (
        Mend(
            words=words or "free what the ended migration still holds; it counts against the project",
            action=HEAL,
            command=f"openstack resource provider allocation delete {row.uuid}",
        ),
    )


def abort(clues: Clues, row: MigrationFacts) -> Mend:
    """The guest stays where it is."""
    return Mend(
        words=f"abort it: the guest stays on {row.source}",
        action=ABORT,
        command=f"openstack server migration abort {row.server_id} {row.id}",
    )
