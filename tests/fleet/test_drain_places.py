"""A drain's plan with Placement's word: how often it is asked, and what comes of an answer that is cut or missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.actions.drain_console import HOST, DrainConsole, console
from vgpu_console.fleet import drain_places
from vgpu_console.fleet.drain_places import plan_drain
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.simulator import HttpFault


class Counting:
    """The console's own asker, which keeps the trees that it was asked for."""

    def __init__(self, operator: DrainConsole) -> None:
        self._ask = operator.fleet.candidates
        self.trees: list[str | None] = []

    def __call__(
        self,
        groups: Sequence[RequestGroup],
        policy: str | None,
        in_tree: str | None = None,
        limit: int | None = None,
    ) -> Candidates:
        self.trees.append(in_tree)
        return self._ask(groups, policy, in_tree, limit)


@pytest.fixture
def operator(tmp_path: Path) -> DrainConsole:
    return console(tmp_path)


def test_servers_of_one_flavor_share_one_request(operator: DrainConsole) -> None:
    ask = Counting(operator)
    plan = plan_drain(ask, *operator.seen, HOST, operator.moment())
    assert ask.trees == [None] * 3  # three flavors, five servers
    assert len(plan.moves) == 5


def test_one_destination_is_asked_for_by_itself(operator: DrainConsole) -> None:
    ask = Counting(operator)
    plan = plan_drain(ask, *operator.seen, HOST, operator.moment(), to=("gpu-b",))
    root = operator.cloud.state.hosts["gpu-b"].root_uuid
    assert ask.trees == [root] * 3
    assert {m.destination for m in plan.moves} == {"gpu-b"}


def test_where_an_answer_for_all_would_be_cut_the_chosen_hosts_are_asked_for(
    operator: DrainConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_places, "ALL_AT_ONCE", 3)
    ask = Counting(operator)
    plan = plan_drain(ask, *operator.seen, HOST, operator.moment())
    assert None not in ask.trees
    told = [c.status for m in plan.moves for c in m.checks if c.id == "migrate.allocation-candidate"]
    assert told == ["pass"] * 5


def test_a_host_that_turns_out_full_sends_its_servers_elsewhere(
    operator: DrainConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_places, "ALL_AT_ONCE", 3)
    host = operator.cloud.state.hosts["gpu-b"]
    root = operator.cloud.state.placement.providers[host.root_uuid]
    root.inventories["VCPU"].reserved = root.inventories["VCPU"].total * 100
    plan = plan_drain(operator.fleet.candidates, *operator.seen, HOST, operator.moment())
    assert {m.destination for m in plan.moves} == {"gpu-c"}
    assert len(plan.moves) + len(plan.stay) == 5


def test_placement_that_does_not_answer_leaves_a_doubt_and_never_a_pass(operator: DrainConsole) -> None:
    operator.cloud.faults.http["placement"] = HttpFault(kind="refused", path="/allocation_candidates")
    plan = plan_drain(operator.fleet.candidates, *operator.seen, HOST, operator.moment())
    assert plan.to_accept["migrate.allocation-candidate"] == 5
    assert {m.verdict for m in plan.moves} == {"unknown"}


def test_a_flavor_that_is_not_visible_is_not_asked_for(operator: DrainConsole) -> None:
    snapshot, facts = operator.seen
    assert facts.nova is not None
    rows = tuple(msgspec.structs.replace(s, extra_specs=None) for s in facts.nova.servers or ())
    hidden = msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, servers=rows))
    ask = Counting(operator)
    plan = plan_drain(ask, snapshot, hidden, HOST, operator.moment())
    assert ask.trees == []
    assert plan.to_accept["migrate.allocation-candidate"] == 5
