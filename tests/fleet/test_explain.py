"""What is asked for an explanation: Placement for the whole and then its parts, Nova for a server's newest boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.rules.explain.base import HERE, NOWHERE, SERVER, base, boot_failed, candidates
from tests.rules.migration.two_hosts import NOW, joined, of_server
from vgpu_console.fleet.explain import GoneError, explain, last_beginning
from vgpu_console.model.facts import Facts
from vgpu_console.model.migration_trace import ServerAction
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.rules.explain.chain import Explanation, Kind
from vgpu_console.sources.base import SourceError


class Asked:
    """Placement as it would answer of some facts; remembers the questions."""

    def __init__(self, answer: Candidates) -> None:
        self.answer = answer
        self.questions: list[dict[str, int]] = []

    def __call__(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """One request."""
        self.questions.append({c: n for g in groups for c, n in g.resources.items()})
        return self.answer


def explained(known: Facts, asked: Asked, kind: Kind, object_id: str, **more: Any) -> Explanation:
    return explain(asked, joined(known), known, kind, object_id, NOW, **more)


def test_a_flavor_that_fits_costs_one_request() -> None:
    asked = Asked(candidates(base()))

    assert explained(base(), asked, "flavor", "f1").verdict == "pass"
    assert asked.questions == [{"VGPU": 1, "DISK_GB": 40, "MEMORY_MB": 16384, "VCPU": 8}]


def test_a_flavor_that_fits_nowhere_is_asked_for_part_by_part() -> None:
    asked = Asked(NOWHERE)

    assert explained(base(), asked, "flavor", "f1").verdict == "fail"
    assert asked.questions[1:] == [{"VGPU": 1}, {"VGPU": 1}, {"DISK_GB": 40}, {"MEMORY_MB": 16384}, {"VCPU": 8}]


def test_an_answer_that_failed_is_not_asked_for_again() -> None:
    asked = Asked(Candidates(error="503"))

    assert explained(base(), asked, "flavor", "f1").verdict == "unknown"
    assert len(asked.questions) == 1


def test_hosts_and_servers_in_their_place_cost_nothing() -> None:
    asked = Asked(NOWHERE)

    assert explained(base(), asked, "host", HERE).verdict == "pass"
    assert explained(base(), asked, "server", SERVER, last_action=boom).verdict == "pass"
    assert asked.questions == []


def boom(server_id: str) -> ServerAction | None:
    raise AssertionError(f"nobody need ask for the actions of {server_id}")


def test_a_server_without_a_host_is_asked_for_and_its_boot_is_read() -> None:
    lost = of_server(host=None, hypervisor=None, status="ERROR")(base())
    asked = Asked(candidates(lost))

    found = explained(lost, asked, "server", SERVER, last_action=lambda _id: boot_failed("no such image"))

    assert len(asked.questions) == 1
    assert any("no such image" in step.evidence for step in found.steps)


def test_a_flavor_that_is_not_visible_is_not_asked_for_in_part() -> None:
    lost = of_server(host=None, hypervisor=None, status="ERROR", extra_specs=None)(base())
    asked = Asked(NOWHERE)

    explained(lost, asked, "server", SERVER)

    assert asked.questions == []


@pytest.mark.parametrize("kind", ["server", "flavor", "project", "host"])
def test_what_is_gone_is_told_as_gone(kind: Kind) -> None:
    with pytest.raises(GoneError, match=r"no more|no source knows"):
        explained(base(), Asked(NOWHERE), kind, "no-such")


# --- the newest boot --------------------------------------------------------------------------------------------------


class Actions:
    """A server's actions as Nova lists them, the newest first; ``broken``: it does not answer."""

    def __init__(self, *names: str, broken: bool = False) -> None:
        self.names, self.broken = names, broken
        self.read: list[str] = []

    def actions(self, server_id: str) -> tuple[ServerAction, ...] | None:
        """Without events."""
        if self.broken:
            raise SourceError("timeout", "no answer within 10 s")
        return tuple(ServerAction(request_id=f"req-{name}", action=name) for name in self.names)

    def with_events(self, server_id: str, request_id: str) -> ServerAction | None:
        """One of them."""
        self.read.append(request_id)
        return ServerAction(request_id=request_id, action=request_id.removeprefix("req-"))


def test_the_newest_action_that_asked_for_a_place_is_read() -> None:
    nova = Actions("delete", "stop", "unshelve", "create")

    found = last_beginning(nova, SERVER)

    assert found is not None
    assert (found.action, nova.read) == ("unshelve", ["req-unshelve"])


def test_none_and_a_silent_nova_are_nothing_to_tell() -> None:
    assert last_beginning(Actions("stop", "start"), SERVER) is None
    assert last_beginning(Actions(broken=True), SERVER) is None
