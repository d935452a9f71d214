"""Hundreds of simulated clouds, read by the console's real sources: each verdict is the one worked out otherwise."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.rules.migration.corpus import NOW, World, world
from tests.rules.migration.corpus_truth import RATE, truth
from vgpu_console.config import DemoChoice, MigrationSettings, Settings
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud

CLOUDS = 300
CHUNK = 20


class ReadWorld(Fleet):
    """A console on one of these clouds."""

    def __init__(self, one: World) -> None:
        self._one = one
        migration = MigrationSettings(max_downtime=one.max_downtime_s, rate=RATE)
        super().__init__(Settings(migration=migration), DemoChoice(None), clock=lambda: NOW)

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        return self._one.cloud


def checked(one: World) -> Precheck:
    """The console's pre-check of the world's move, everything read anew."""
    fleet = ReadWorld(one)
    try:
        snapshot = fleet.snapshot(30.0)
        return fleet.precheck(one.server.id, one.destination.name, snapshot=snapshot, others=False)
    finally:
        fleet.close()


@pytest.fixture(autouse=True)
def no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("first", range(0, CLOUDS, CHUNK))
def test_each_verdict_is_the_one_worked_out_from_the_simulators_state(first: int) -> None:
    for seed in range(first, first + CHUNK):
        one = world(seed)
        wanted = truth(one)
        chosen = checked(one).chosen
        assert chosen is not None
        found = {c.id.removeprefix("migrate."): c.status for c in chosen.checks if c.status != "pass"}
        assert found == wanted, f"cloud {seed}: {[c for c in chosen.checks if c.status != 'pass']}"
        order = ("fail", "unknown", "warn")
        assert chosen.verdict == next((word for word in order if word in wanted.values()), "pass")


def test_the_corpus_has_every_verdict_and_flips_every_check_it_can() -> None:
    verdicts: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for seed in range(CLOUDS):
        wanted = truth(world(seed))
        verdicts["pass" if not wanted else "not"] += 1
        words.update(f"{word} {status}" for word, status in wanted.items())
    assert verdicts["pass"] >= 20
    assert verdicts["not"] >= 200
    for word in (
        "server-state fail", "destination-service fail", "source-service fail", "zone fail", "aggregate warn",
        "old-compute fail", "libvirt fail", "qemu fail", "qemu-order fail", "kernel fail", "kernel warn", "os fail",
        "nvidia-driver fail", "nvidia-driver warn", "nvidia-driver unknown", "type-id fail", "type-id unknown",
        "ecc fail", "ecc unknown", "free-slot fail", "free-slot warn", "free-slot unknown", "allocation-candidate fail",
        "several-types warn", "live-migratable fail", "post-copy fail", "post-copy unknown", "downtime-ladder warn",
        "downtime-ladder unknown", "completion-timeout warn", "downtime-limit fail", "dirty-tracking warn",
        "double-allocation warn", "concurrency warn", "framework unknown", "other-devices unknown", "cpu warn",
    ):  # fmt: skip
        assert words[word], f"no cloud of the corpus has {word}"
