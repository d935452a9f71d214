"""A fleet with every state an operator meets, with its past live migrations, as a report at a fixed moment."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from tests.builders import NOW, an_id, small_fleet
from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.evidence import Evidence
from vgpu_console.model.snapshot import QuotaTotals, Snapshot, Unlooked
from vgpu_console.reports.report import Report, report_of

MADE_AT = NOW + 5


def history() -> tuple[MigrationRecord, ...]:
    """The latest first: one that runs, one measured, one of which nobody could tell, one that Nova has forgotten."""
    common: dict[str, Any] = {
        "cloud": "prod",
        "project": "ml-research",
        "type_name": "GRID A100-20C",
        "source": "gpu-02",
    }
    return (
        MigrationRecord(
            migration=an_id("migration", 1),
            server=an_id("server", "vm-train-7"),
            server_name="vm-train-7",
            destination="gpu-01",
            started=NOW - 41,
            predicted_low_ms=21_000.0,
            predicted_high_ms=34_000.0,
            **common,
        ),
        MigrationRecord(
            migration=an_id("migration", 2),
            server=an_id("server", "vm-train-1"),
            server_name="vm-train-1",
            destination="gpu-01",
            started=NOW - 3_600,
            ended=NOW - 3_500,
            end="completed",
            predicted_low_ms=4_000.0,
            predicted_high_ms=9_000.0,
            downtime_ms=6_200.0,
            measured_by="source's job statistics",
            **common,
        ),
        MigrationRecord(
            migration=an_id("migration", 9),
            server=an_id("server", "old"),
            server_name="old",
            destination="gpu-03",
            started=NOW - 90_000,
            ended=NOW - 89_900,
            end="completed",
            not_measured="the source's libvirt did not answer",
            **common,
        ),
    )


def fleet(*, broken: bool = True) -> Snapshot:
    """The small fleet with totals, evidence and something that could not be looked at."""
    snapshot = small_fleet(broken=broken)
    first, *rest = snapshot.findings
    told = msgspec.structs.replace(
        first,
        why="Nova does not look at drivers.",
        command="vgpu-console migrate check vm-train-7",
        evidence=(Evidence("ssh", "gpu-02", "driver 550.54.16"), Evidence("ssh", "gpu-01", "driver 550.90.05")),
    )
    return msgspec.structs.replace(
        snapshot,
        findings=(told, *rest),
        quota_totals=(
            QuotaTotals(
                resource="class:VGPU", promised=34, unlimited=1, unknown=0, capacity=None, used=17, unreserved=None
            ),
        ),
        unlooked=(
            Unlooked(
                source="libvirt",
                hosts=("gpu-04",),
                ids=("vfs-off", "mdev-not-active"),
                reason="no answer within 5 s",
                access="a connection to the host's libvirt",
            ),
        )
        if broken
        else (),
    )


def report(snapshot: Snapshot | None = None) -> Report:
    """Its report, with times in UTC."""
    return report_of(snapshot or fleet(), history(), MADE_AT, datetime.UTC)
