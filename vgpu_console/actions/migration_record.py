"""What is kept of a migration that was followed: a row of the history, and a line in the journal of the run."""

from __future__ import annotations

from vgpu_console.actions.journal import Journal, JournalError
from vgpu_console.actions.migrate import START
from vgpu_console.fleet.migration_move import Subject
from vgpu_console.migration_history import HistoryError, MigrationHistory, MigrationRecord
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.migration_trace import nova_seconds
from vgpu_console.rules.migration.downtime import told_downtime


def record_of(timeline: Timeline, cloud: str) -> MigrationRecord:
    """The history's row of a migration as it is known now. Its times are Nova's."""
    measured, end = timeline.measured, timeline.end
    rates = [rate for rate in timeline.rates if rate is not None]
    job = measured if isinstance(measured, CompletedJob) else None
    why = measured.reason if isinstance(measured, NotMeasured) and end is not None else ""
    return MigrationRecord(
        migration=timeline.migration,
        cloud=cloud,
        server=timeline.server,
        server_name=timeline.name,
        project=timeline.project,
        type_name=timeline.type_name,
        vgpus=timeline.vgpus,
        ram_mib=timeline.ram_mib,
        framebuffer_mib=timeline.framebuffer_mib,
        source=timeline.source or "",
        destination=timeline.destination or "",
        started=nova_seconds(timeline.created_at),
        ended=nova_seconds(timeline.updated_at) if end is not None else None,
        end=end.kind if end is not None else "",
        predicted_low_ms=timeline.predicted_low_ms,
        predicted_high_ms=timeline.predicted_high_ms,
        downtime_ms=job.downtime_ms if job is not None else None,
        measured_by=job.source if job is not None else "",
        not_measured=why,
        rate=sum(rates) / len(rates) if rates else None,
        heard_ms=job.heard_ms if job is not None else None,
    )


def outcome_words(timeline: Timeline) -> str:
    """How it ended, in one line."""
    end = timeline.end
    if end is None:
        return f"migration {timeline.migration} is {timeline.status or 'not found'}"
    measured = timeline.downtime_ms
    pause = f", downtime {told_downtime(measured, timeline.heard_ms)}" if measured is not None else ""
    return f"{end.title}{pause} (migration {timeline.migration})"


def keep(timeline: Timeline, history: MigrationHistory | None, journal: Journal | None, cloud: str) -> tuple[str, ...]:
    """Write the row, and the outcome where this console's journal has the run that began it.

    Raises nothing: what could not be written is told, a line each. May block for seconds while another console writes.
    """
    notes = []
    if timeline.migration and history is not None:
        try:
            history.put(record_of(timeline, cloud))
        except HistoryError as error:
            notes.append(str(error))
    if timeline.end is not None and journal is not None:
        try:
            run = timeline.run or run_of(timeline, journal)
            if run:
                journal.outcome(run, outcome_words(timeline))
        except JournalError as error:
            notes.append(str(error))
    return tuple(notes)


def unended(history: MigrationHistory, cloud: str) -> tuple[Subject, ...]:
    """The migrations of the history that no console has seen the end of: to be followed, so that it is filled in.

    Raises HistoryError.
    """
    return tuple(
        Subject(
            server=r.server,
            name=r.server_name,
            migration=r.migration,
            project=r.project,
            type_name=r.type_name,
            vgpus=r.vgpus,
            ram_mib=r.ram_mib,
            framebuffer_mib=r.framebuffer_mib,
            source=r.source or None,
            destination=r.destination or None,
            predicted_low_ms=r.predicted_low_ms,
            predicted_high_ms=r.predicted_high_ms,
        )
        for r in history.records(cloud=cloud)
        if not r.end and r.server
    )


def run_of(timeline: Timeline, journal: Journal) -> str:
    """The run that began the migration, by the server and the number of its last one before; "" when there is none.

    A run that was told its outcome is passed over, so that following it again adds no second line.
    """
    found = ""
    told: set[str] = set()
    for entry in journal.entries():
        if entry.event == "outcome":
            told.add(entry.run)
        plan = entry.plan
        if plan is None or plan.action != START or plan.target.key.get("server") != timeline.server:
            continue
        last = plan.target.key.get("last_migration") or "0"
        if timeline.number is not None and last.isdigit() and int(last) < timeline.number:
            found = entry.run
    return "" if found in told else found
