"""Which server an operator means: by id, by name, by name@project; what is unclear is refused with what to choose."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.actions.plan import NO_CONNECTION, PlanError
from vgpu_console.actions.servers import find_server
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import Domain, KeystoneFacts, Project
from vgpu_console.model.nova import NovaFacts, Server

ONE, TWO, THREE, FOUR = (f"{n}e12f0aa-0000-4000-8000-000000000001" for n in "1234")

FACTS = Facts(
    keystone=KeystoneFacts(
        domains=(Domain(id="default", name="Default"), Domain(id="d2", name="Research")),
        projects=(
            Project(id="p1", name="ml", domain_id="default"),
            Project(id="p2", name="vdi", domain_id="default"),
            Project(id="p3", name="ml", domain_id="d2"),
        ),
    ),
    nova=NovaFacts(
        servers=(
            Server(id=ONE, name="train", project_id="p1", host="gpu-01", status="ACTIVE"),
            Server(id=TWO, name="train", project_id="p2", status="ERROR"),
            Server(id=THREE, name="train", project_id="p3", host="gpu-02", status="ACTIVE"),
            Server(id=FOUR, name="desk@home", project_id="p2", host="gpu-02", status="ACTIVE"),
        )
    ),
)


@pytest.mark.parametrize(
    ("typed", "id"),
    [
        (TWO, TWO),
        (f" {TWO.upper()} ", TWO),
        ("train@vdi", TWO),
        ("train@p3", THREE),
        ("train@ml@Research", THREE),
        ("train@ml@default", ONE),
        ("desk@home", FOUR),
        ("desk@home@vdi", FOUR),
    ],
)
def test_one_server_is_meant(typed: str, id: str) -> None:
    assert find_server(FACTS, typed).id == id


def test_a_name_that_several_have_is_refused_with_their_ids_projects_states_and_hosts() -> None:
    with pytest.raises(PlanError) as refused:
        find_server(FACTS, "train")
    told = str(refused.value)
    assert told.startswith("'train' is the name of 3 servers: ")
    assert f"{TWO} (train@vdi, ERROR on no host)" in told
    assert f"{THREE} (train@ml@Research, ACTIVE on gpu-02)" in told
    assert told.endswith("; give the id")


def test_a_name_in_a_projects_name_that_two_domains_have_is_refused_too() -> None:
    with pytest.raises(PlanError, match="the name of 2 servers"):
        find_server(FACTS, "train@ml")


@pytest.mark.parametrize(
    ("typed", "near"), [("trian@vdi", ""), ("Desk@Home", FOUR), (FOUR[:8], FOUR), ("desk@hom", FOUR)]
)
def test_an_unknown_name_is_refused_with_what_is_near(typed: str, near: str) -> None:
    with pytest.raises(PlanError) as refused:
        find_server(FACTS, typed)
    assert str(refused.value).startswith(f"no server has the id or name '{typed}'")
    assert near in str(refused.value)


def test_before_nova_has_answered_nothing_is_said_to_be_unknown() -> None:
    with pytest.raises(PlanError, match="nova has not answered") as refused:
        find_server(Facts(), "train")
    assert refused.value.exit == NO_CONNECTION


def test_that_other_projects_are_not_visible_is_said() -> None:
    alone = Facts(nova=NovaFacts(servers=(), all_projects=False))
    with pytest.raises(PlanError, match="only this project's servers are visible"):
        find_server(alone, "train")


@given(st.text(max_size=40))
def test_whatever_is_typed_gives_a_server_or_one_plain_line(typed: str) -> None:
    with contextlib.suppress(PlanError):
        assert find_server(FACTS, typed).id in (ONE, TWO, THREE, FOUR)
        return
    with pytest.raises(PlanError) as refused:
        find_server(FACTS, typed)
    assert str(refused.value).isprintable()
