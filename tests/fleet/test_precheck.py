"""The pre-checks of a fleet: what Placement is asked, how often, and what its silence means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.rules.migration.two_hosts import (
    HERE,
    NOW,
    SERVER,
    SETTINGS,
    THERE,
    all_of,
    candidates,
    facts,
    joined,
    of_providers,
    of_server,
    statuses,
)
from vgpu_console.config import DemoChoice, MigrationSettings, Settings
from vgpu_console.fleet.engine import Engine
from vgpu_console.fleet.precheck import HOSTS_AT_MOST, Precheck, precheck
from vgpu_console.migration_history import MigrationRecord
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidate, Candidates, RequestGroup
from vgpu_console.rules.migration.scene import UnknownHost, UnknownServer
from vgpu_console.runtime import Fleet
from vgpu_console.sources.base import SourceError


class Placement:
    """Answers as it is told and keeps what it was asked."""

    def __init__(self, answer: Callable[[str | None], Candidates]) -> None:
        self.answer = answer
        self.asked: list[tuple[str | None, int | None]] = []
        self.groups: Sequence[RequestGroup] = ()

    def __call__(
        self,
        groups: Sequence[RequestGroup],
        policy: str | None,
        in_tree: str | None = None,
        limit: int | None = None,
    ) -> Candidates:
        self.asked.append((in_tree, limit))
        self.groups = groups
        return self.answer(in_tree)


def whole(known: Facts) -> Placement:
    """Says all there is, or what there is in one tree."""

    def answer(tree: str | None) -> Candidates:
        every = candidates(known)
        mine = tuple(c for c in every.candidates if tree is None or tree in c.allocations)
        return msgspec.structs.replace(every, candidates=mine)

    return Placement(answer)


def look(placement: Placement, known: Facts, destination: str | None = None, others: bool = True) -> Precheck:
    return precheck(placement, joined(known), known, SERVER, destination, NOW, settings=SETTINGS, others=others)


def test_one_request_tells_of_all_hosts_where_there_are_few() -> None:
    placement = whole(facts())
    found = look(placement, facts())
    assert placement.asked == [(None, None)]
    assert found.chosen is not None
    assert (found.server, found.source, found.chosen.host, found.chosen.verdict) == ("vm-train-1", HERE, THERE, "pass")


def test_for_one_destination_only_its_tree_is_asked_for_one_place() -> None:
    placement = whole(facts())
    found = look(placement, facts(), THERE, others=False)
    assert placement.asked == [(f"{THERE}-root", 1)]
    assert found.candidates == ()
    assert found.chosen is not None
    assert found.chosen.verdict == "pass"


def test_the_request_is_the_servers_own_flavor_with_its_traits_and_no_disk_where_it_holds_none() -> None:
    placement = whole(facts())
    look(placement, facts())
    (group,) = placement.groups
    assert group.resources == {"VCPU": 8, "MEMORY_MB": 16384, "DISK_GB": 40, "VGPU": 1}
    assert group.required == ("CUSTOM_A100_20C",)
    without = of_providers(
        lambda p: msgspec.structs.replace(
            p,
            allocations=tuple(
                msgspec.structs.replace(a, resources={c: n for c, n in a.resources.items() if c != "DISK_GB"})
                for a in p.allocations or ()
            ),
        )
    )(facts())
    look(placement, without)
    assert "DISK_GB" not in placement.groups[0].resources


def test_a_cut_answer_is_completed_by_asking_for_the_hosts_that_nothing_else_speaks_against() -> None:
    known = facts()

    def answer(tree: str | None) -> Candidates:
        every = candidates(known)
        mine = tuple(c for c in every.candidates if f"{THERE if tree else HERE}-root" in c.allocations)
        return msgspec.structs.replace(every, candidates=mine[:1], cut=True)

    placement = Placement(answer)
    found = look(placement, known)
    assert placement.asked == [(None, None), (f"{THERE}-root", 1)]
    assert found.chosen is not None
    assert found.chosen.verdict == "pass"
    failing = of_server(status="SHUTOFF")(known)
    placement = Placement(answer)
    look(placement, failing)
    assert placement.asked == [(None, None)]


def test_placements_failure_is_unknown_and_told() -> None:
    placement = Placement(lambda tree: Candidates(error="placement: HTTP 503"))
    found = look(placement, facts(), THERE, others=False)
    assert found.chosen is not None
    assert {w: s for w, s in statuses(found.chosen).items() if s != "pass"} == {"allocation-candidate": "unknown"}
    assert found.chosen.reason == "Placement did not answer: placement: HTTP 503"


def test_where_every_host_fails_none_is_chosen_and_each_says_why() -> None:
    placement = Placement(lambda tree: Candidates(candidates=(Candidate({"x": {"VGPU": 1}}),), roots={"x": "x"}))
    found = look(placement, facts())
    assert found.chosen is None
    assert [(c.host, c.verdict) for c in found.candidates] == [(THERE, "fail")]
    assert found.candidates[0].reason.startswith("Placement finds no place on gpu-02")


def test_names_that_are_not_there_are_refused_before_anything_is_asked() -> None:
    placement = whole(facts())
    with pytest.raises(UnknownHost, match="gpu-99"):
        look(placement, facts(), "gpu-99")
    with pytest.raises(UnknownServer):
        precheck(placement, joined(facts()), facts(), "nobody", None, NOW)
    homeless = of_server(host=None)(facts())
    with pytest.raises(UnknownHost):
        look(placement, homeless)
    assert placement.asked == []


def test_its_own_host_is_told_as_what_it_is() -> None:
    found = look(whole(facts()), facts(), HERE)
    assert found.chosen is not None
    assert found.chosen.reason == "the server is on gpu-01 already"
    assert [c.host for c in found.candidates] == [THERE]


def test_a_server_whose_flavor_is_not_visible_is_not_asked_for_wrongly() -> None:
    hidden = all_of(of_server(extra_specs=None, vcpus=None, ram_mib=None))(facts())
    found = look(whole(hidden), hidden, THERE, others=False)
    assert found.chosen is not None
    (check,) = (c for c in found.chosen.checks if c.id == "migrate.allocation-candidate")
    assert (check.status, check.evidence) == ("unknown", "Placement was not asked for gpu-02")


class TestOnTheDemo:
    """The real sources on the embedded cloud."""

    @pytest.fixture(autouse=True)
    def state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def test_a_fleet_of_many_hosts_is_looked_at_with_a_bounded_number_of_requests(self) -> None:
        fleet = Fleet(Settings(), DemoChoice(30))
        try:
            snapshot = fleet.snapshot(60.0)
            server = next(s for s in snapshot.servers if s.devices)
            before = fleet.cloud.requests
            found = fleet.precheck(server.id, snapshot=snapshot)
            assert len(found.candidates) == 29
            assert fleet.cloud.requests - before <= HOSTS_AT_MOST + 1
            asked = [c for c in found.candidates if statuses(c)["allocation-candidate"] == "pass"]
            assert asked
            assert [c.verdict for c in found.candidates] == sorted(
                (c.verdict for c in found.candidates), key=("pass", "warn", "unknown", "fail").index
            )
        finally:
            fleet.close()

    def test_past_moves_of_this_cloud_are_what_it_predicts_from(self) -> None:
        fleet = Fleet(Settings(migration=MigrationSettings(max_downtime=60.0)), DemoChoice(None))
        try:
            snapshot = fleet.snapshot(60.0)
            server = next(s for s in snapshot.servers if s.name == "vm-train-1")
            model = fleet.precheck(server.id, "gpu-02", snapshot=snapshot, others=False)
            for number in range(3):
                fleet.history().put(
                    MigrationRecord(
                        migration=f"m{number}",
                        cloud=fleet.cloud.spec.cloud or "",
                        type_name=server.types[0],
                        ram_mib=65536,
                        framebuffer_mib=20480,
                        source="gpu-01",
                        destination="gpu-02",
                        end="completed",
                        downtime_ms=1500.0 + number,
                    )
                )
            history = fleet.precheck(server.id, "gpu-02", snapshot=snapshot, others=False)
            assert model.chosen is not None
            assert history.chosen is not None
            assert (model.chosen.predicted.from_history, history.chosen.predicted.from_history) == (0, 3)
            assert (statuses(model.chosen)["downtime-limit"], statuses(history.chosen)["downtime-limit"]) == (
                "fail",
                "pass",
            )
        finally:
            fleet.close()

    def test_a_damaged_history_is_a_note_and_no_obstacle(self) -> None:
        fleet = Fleet(Settings(), DemoChoice(None))
        try:
            snapshot = fleet.snapshot(60.0)
            path = fleet.history().path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"this is no database, and long enough to be looked at as one" * 40)
            server = next(s for s in snapshot.servers if s.name == "vm-train-1")
            found = fleet.precheck(server.id, "gpu-02", snapshot=snapshot, others=False)
            assert found.chosen is not None
            assert len(found.notes) == 1
            assert "the downtime is predicted without it" in found.notes[0]
        finally:
            fleet.close()

    def test_the_engine_of_the_screens_looks_with_its_newest_snapshot(self) -> None:
        fleet = Fleet(Settings(), DemoChoice(None))
        engine = fleet.engine()
        try:
            engine.snapshot = fleet.snapshot(60.0)
            server = next(s for s in engine.snapshot.servers if s.name == "vm-train-1")
            found = engine.precheck(server.id, "gpu-02", max_downtime_s=1.0, others=False)
            assert found.chosen is not None
            assert statuses(found.chosen)["downtime-limit"] == "fail"
        finally:
            fleet.close()

    def test_an_engine_that_asks_no_cloud_says_so(self) -> None:
        fleet = Fleet(Settings(), DemoChoice(None))
        try:
            bare = Engine(fleet.collector, fleet.joiner)
            with pytest.raises(SourceError, match="does not ask Placement"):
                bare.precheck(SERVER)
        finally:
            fleet.close()
