"""Reports in which every text that a stranger can choose is one that means harm."""

from __future__ import annotations

import msgspec

from tests.cli.test_hostile_text import renamed
from tests.reports.scene import MADE_AT, history
from vgpu_console.model.evidence import Evidence
from vgpu_console.model.snapshot import Finding, Snapshot, Unlooked
from vgpu_console.reports.report import Report, report_of
from vgpu_console.text import plain


def hostile(name: str) -> Report:
    """A report in which every text that a stranger can choose is this one."""
    told = plain(name)
    snapshot: Snapshot = renamed(name)
    replace = msgspec.structs.replace
    finding = Finding(
        id="driver-differs",
        severity="fail",
        object=told,
        message=told,
        command=told,
        why=told,
        objects=(told, told),
        evidence=(Evidence("ssh", told, told),),
        host=told,
    )
    return report_of(
        replace(
            snapshot,
            identity=replace(snapshot.identity, cloud=told, region=told, user=told, scope=told, limits_scope=told),
            sources=tuple(replace(s, host=told, error=told, notes=(told, told)) for s in snapshot.sources),
            findings=(finding,),
            unlooked=(Unlooked(source="ssh", hosts=(told,), ids=(told,), reason=told, access=told),),
            missing_limit=replace(snapshot.missing_limit, why=told),
        ),
        tuple(
            replace(r, server_name=told, project=told, type_name=told, source=told, not_measured=told)
            for r in history()
        ),
        MADE_AT,
        history_gap=told,
    )
