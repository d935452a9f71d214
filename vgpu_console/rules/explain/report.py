"""An explanation as the object that ``explain -o json`` promises."""

from __future__ import annotations

from typing import Any

from vgpu_console.rules.explain.chain import Explanation


def explain_report(found: Explanation) -> dict[str, Any]:
    """The promised names; what follows them may grow."""
    return {
        "kind": found.kind,
        "id": found.id,
        "name": found.name,
        "verdict": found.verdict,
        "summary": found.summary,
        "steps": [
            {
                "id": one.id,
                "status": one.status,
                "evidence": one.evidence,
                "source": one.source,
                "age_s": None if one.age_s is None else round(one.age_s, 1),
            }
            for one in found.steps
        ],
        "mends": [{"words": m.words, "command": m.command or None, "action": m.action or None} for m in found.mends],
        "places": [
            {
                "name": p.name,
                "status": p.status,
                "room": p.room,
                "offered": p.offered,
                "used": p.used,
                "reserved": p.reserved,
                "real": p.real,
                "why": p.why,
            }
            for p in found.places
        ],
    }
