"""What has become of one live migration, from all that was seen of it: which end it is, or that it goes on.

Nova's word alone does not tell: a failed migration leaves the server in ERROR though its guest runs, an abort in the
queue leaves a device reserved, a dead nova-compute leaves the guest where Nova does not look for it. What could not be
looked at stays unknown.
"""

from __future__ import annotations

from vgpu_console.model.migration_end import End
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.rules.migration import story_failures as ends
from vgpu_console.rules.migration import story_words as words
from vgpu_console.rules.migration.clues import Clues, Motion

STILL_S = 60.0
"""A job that has sent nothing for so long, though its libvirt answers, does not move."""

NO_JOB_S = 30.0
"""Nova writes ``running`` within a second of libvirt's job; without one for so long there is none."""

ITERATIONS = 10
"""After so many passes over the memory that leave no less to send, it does not converge."""

__all__ = ["Clues", "Motion", "story"]


def story(clues: Clues) -> End:
    """The story of ``clues.migration`` as of now. Pure; what is missing is named in ``End.unknown``."""
    row = clues.row
    if row is None:
        read = clues.trace.migrations is not None
        return words.unknown(clues, "Nova has no such migration" if read else "Nova's migrations were not read")
    if clues.trace.server_gone:
        return words.server_gone(clues, row)
    return _going_on(clues, row) if row.in_progress else _ended(clues, row)


def _going_on(clues: Clues, row: MigrationFacts) -> End:
    here, there = clues.alive(row.source), clues.alive(row.destination)
    server = clues.server
    if clues.computes.get(row.source or "") == "down":
        return words.source_compute_down(clues, row)
    if server is not None and row.destination and server.host == row.destination and server.status == "ACTIVE":
        return words.post(clues, row)
    if here is False and there is False and row.status in ("running", "running (post-copy)"):
        return ends.nowhere(clues, row)
    motion = clues.motion
    if row.status == "running" and motion is not None:
        why, forcible = _hangs(motion)
        if why:
            return words.stuck(clues, row, why, forcible=forcible)
    return words.under_way(clues, row)


def _hangs(motion: Motion) -> tuple[str, bool]:
    """Why it does not come to its end by itself, "" while it may; and whether forcing it could end it."""
    if motion.no_job_s is not None and motion.no_job_s >= NO_JOB_S:
        since = f"for {motion.no_job_s:.0f} s"
        return f"Nova says that it runs, but libvirt of the source has had no migration of it {since}", False
    if motion.still_s is not None and motion.still_s >= STILL_S:
        return f"nothing of it was sent for {motion.still_s:.0f} s", False
    if motion.converges is False and (motion.iteration or 0) >= ITERATIONS:
        climbed = f"after {motion.iteration} passes over its memory as much is left to send as before"
        end, runs = motion.ladder_end_s, motion.running_s
        if end is not None and runs is not None:
            if runs <= end:
                return "", False  # Nova will yet allow a longer pause
            return f"{climbed}, and Nova already allows the longest pause it ever will", True
        return f"{climbed}: the guest writes faster than it can be sent", True
    return "", False


def _ended(clues: Clues, row: MigrationFacts) -> End:
    here, there = clues.guest(row.source), clues.guest(row.destination)
    server = clues.server
    if clues.newest:
        if here == "running" and there == "running":
            return ends.twice(clues, row)
        # a host whose guest is gone because the server moved on, or was stopped by its owner, is no loss
        stopped = server is not None and server.status in ("SHUTOFF", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED")
        if clues.alive(row.source) is False and clues.alive(row.destination) is False and not stopped:
            return ends.nowhere(clues, row)
    if row.status == "completed":
        return words.completed(clues, row)
    if clues.newest and row.destination:
        if there == "running" and server is not None and server.host == row.source:
            return ends.split_brain(clues, row)
        if server is not None and server.host == row.destination:
            return words.moved_not_completed(clues, row)
    return _stayed(clues, row)


def _stayed(clues: Clues, row: MigrationFacts) -> End:
    """It is over and the guest was not moved, as far as can be seen."""
    if row.destination is None:
        return ends.refused(clues, row)
    began = clues.began
    if clues.aborted:
        return ends.aborted_queued(clues, row) if began is False else ends.aborted(clues, row)
    if clues.broken:
        return ends.failed(clues, row)
    if clues.memory_moved is False or (clues.memory_moved is None and clues.barred):
        return ends.refused_by_qemu(clues, row)
    if clues.memory_moved:
        return ends.destination_died(clues, row)
    return ends.failed(clues, row)
