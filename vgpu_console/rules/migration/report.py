"""A pre-check as the object that ``migrate check -o json`` promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vgpu_console.model.check import Check
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.rules.migration.downtime import Downtime


def check_report(server: str, source: str, chosen: Destination | None, others: Sequence[Destination]) -> dict[str, Any]:
    """The promised names; ``destination`` is null where no host is chosen, and then no host passes."""
    return {
        "server": server,
        "source": source,
        "destination": chosen.host if chosen is not None else None,
        "verdict": chosen.verdict if chosen is not None else "fail",
        "checks": [_check(one) for one in chosen.checks] if chosen is not None else [],
        "predicted_downtime_ms": _downtime(chosen.predicted if chosen is not None else None),
        "candidates": [
            {
                "host": one.host,
                "verdict": one.verdict,
                "reason": one.reason,
                "free": one.free,
                "predicted_downtime_ms": _downtime(one.predicted),
            }
            for one in others
        ],
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "status": check.status,
        "evidence": check.evidence,
        "source": check.source,
        "age_s": None if check.age_s is None else round(check.age_s, 1),
    }


def _downtime(predicted: Downtime | None) -> dict[str, Any]:
    if predicted is None or predicted.low_ms is None or predicted.high_ms is None:
        return {"low": None, "high": None, "basis": list(predicted.basis) if predicted is not None else []}
    return {"low": round(predicted.low_ms), "high": round(predicted.high_ms), "basis": list(predicted.basis)}
