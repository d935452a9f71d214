"""What a running console hands to its faces: facts to plan from, a world to apply to, a journal that outlives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actions.demo import limits_in
from vgpu_console.actions.quota import find_project, plan_set
from vgpu_console.actions.runner import apply
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.model.source import SourceKind
from vgpu_console.runtime import Fleet

KINDS: frozenset[SourceKind] = frozenset({"keystone", "nova", "placement"})


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "vgpu-console"


def test_a_fleet_plans_applies_and_journals(state_folder: Path) -> None:
    fleet = Fleet(Settings(), DemoChoice(), kinds=KINDS)
    try:
        snapshot = fleet.snapshot(20.0)
        facts = fleet.facts()
        vdi = find_project(facts, "vdi").id
        plan = plan_set(facts, snapshot, vdi, "class:VGPU", 50, snapshot.taken_at)
        accepted = frozenset(c.id for c in plan.needs_override)
        outcome = apply(plan, fleet.world(), fleet.journal(), accepted=accepted)
        assert outcome.result == "done", outcome.message
        assert fleet._demo is not None
        assert limits_in(fleet._demo)["vdi"] == 50
        begun = next(fleet.journal().entries())
        assert (begun.cloud, begun.plan) == ("demo", plan)
        assert fleet.journal().path == state_folder / "journal-demo.jsonl"
    finally:
        fleet.close()


def test_an_engine_hands_out_the_same(state_folder: Path) -> None:
    fleet = Fleet(Settings(read_only=True), DemoChoice(), kinds=KINDS)
    engine = fleet.engine()
    try:
        fleet.snapshot(20.0)
        assert engine.facts() == fleet.facts()
        assert engine.world is not None
        assert (engine.world.read_only, engine.world.name) == (True, "demo")
        assert engine.journal is not None
        assert engine.journal.path == fleet.journal().path
        assert not state_folder.exists()
    finally:
        engine.stop()
