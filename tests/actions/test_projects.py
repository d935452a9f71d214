"""What an operator types, taken for one project, one number and one resource, or refused with a plain line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.actions.limit_values import HIGHEST, parse_limit, resource_name, words
from vgpu_console.actions.projects import PlanError, find_project, project_labels
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import Domain, KeystoneFacts, Project
from vgpu_console.text import plain

A, B, C, D, E = (letter * 32 for letter in "abcde")

FACTS = Facts(
    keystone=KeystoneFacts(
        domains=(Domain("default", "Default"), Domain("d2", "Lab"), Domain("d3", "")),
        projects=(
            Project(id=A, name="vdi", domain_id="default"),
            Project(id=B, name="vdi", domain_id="d2"),
            Project(id=C, name="ml-research", domain_id="default"),
            Project(id=D, name="who@home", domain_id="default"),
            Project(id=E, name=plain("evil\x1b[31m"), domain_id="d3"),
        ),
    )
)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (A, A), ("ml-research", C), (" ml-research ", C), ("vdi@Default", A), ("vdi@d2", B), ("vdi@Lab", B),
        ("who@home", D), ("who@home@Default", D), ("evil\x1b[31m", E),
    ],
)  # fmt: skip
def test_a_project_is_found(text: str, id: str) -> None:
    assert find_project(FACTS, text).id == id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vdi", f"'vdi' is the name of 2 projects: {A} (vdi@Default), {B} (vdi@Lab); give the id"),
        ("ml-reserch", f"no project has the id or name 'ml-reserch'; is it {C} (ml-research@Default)?"),
        ("ML-Research", f"no project has the id or name 'ML-Research'; is it {C} (ml-research@Default)?"),
        ("cccc", f"no project has the id or name 'cccc'; is it {C} (ml-research@Default)?"),
        ("vdi@Nowhere", "no project has the id or name 'vdi@Nowhere'"),
        ("zzz", "no project has the id or name 'zzz'"),
        ("@", "no project has the id or name '@'"),
        ("  ", "no project was named"),
    ],
)
def test_a_project_is_not_guessed(text: str, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        find_project(FACTS, text)
    assert str(caught.value).startswith(said)
    assert caught.value.exit == 2


@pytest.mark.parametrize(("facts", "exit"), [(Facts(), 3), (Facts(keystone=KeystoneFacts()), 4)])
def test_without_projects_there_is_a_reason(facts: Facts, exit: int) -> None:
    with pytest.raises(PlanError) as caught:
        find_project(facts, "vdi")
    assert caught.value.exit == exit


def test_a_hundred_equal_names_are_not_all_listed() -> None:
    many = tuple(Project(id=f"{n:032x}", name="x", domain_id=f"d{n}") for n in range(100))
    with pytest.raises(PlanError, match=r"100 projects: .* and 92 more"):
        find_project(Facts(keystone=KeystoneFacts(projects=many)), "x")


def test_labels_tell_equal_names_apart() -> None:
    assert project_labels(FACTS) == {
        A: "vdi@Default",
        B: "vdi@Lab",
        C: "ml-research",
        D: "who@home",
        E: "evil·[31m",
    }


@given(st.text(max_size=60))
def test_any_text_is_one_plain_line_or_a_project(text: str) -> None:
    said = ""
    try:
        found = find_project(FACTS, text).id
    except PlanError as error:
        found, said = A, str(error)
    assert found in (A, B, C, D, E)
    assert plain(said, 10_000) == said


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("12", 12), ("+4", 4), (" 7 ", 7), ("-1", -1), ("\u22121", -1), ("unlimited", -1), ("Unlimited", -1),
     (str(HIGHEST), HIGHEST), ("000000000000004", 4)],
)  # fmt: skip
def test_a_limit_is_read(text: str, value: int) -> None:
    assert parse_limit(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-2", "-2 is too low: a limit is 0 to 2147483647, or -1 for unlimited"),
        ("2147483648", "2147483648 is too high"),
        ("9" * 5000, "is too high"),
        ("-" + "9" * 5000, "is too low"),
        ("", "'' is not a whole number"),
        ("4.0", "'4.0' is not a whole number"),
        ("1_000", "'1_000' is not a whole number"),
        ("four", "'four' is not a whole number"),
        ("٤", "is not a whole number"),
        ("1e3", "is not a whole number"),
        ("0x10", "is not a whole number"),
        ("\x1b[31m4", "is not a whole number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said.replace("(", r"\(")) as caught:
        parse_limit(text)
    assert caught.value.exit == 2
    assert len(str(caught.value)) < 120


@given(st.text(max_size=40))
def test_any_limit_is_in_range_or_refused(text: str) -> None:
    value, said = 0, ""
    try:
        value = parse_limit(text)
    except PlanError as error:
        said = str(error)
    assert -1 <= value <= HIGHEST
    assert plain(said) == said


@pytest.mark.parametrize(
    ("text", "name"),
    [("class:VGPU", "class:VGPU"), ("VGPU", "class:VGPU"), ("CUSTOM_A40_8Q", "class:CUSTOM_A40_8Q"),
     ("servers", "servers"), ("server_groups", "server_groups")],
)  # fmt: skip
def test_a_resource_is_read(text: str, name: str) -> None:
    assert resource_name(text) == name


@pytest.mark.parametrize("text", ["", "vgpu", "class:", "class:vgpu", "class:A B", "instances", "VGPU;rm"])
def test_a_resource_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="names no resource"):
        resource_name(text)


def test_numbers_are_said() -> None:
    assert (words(0), words(2), words(1234)) == ("no", "two", "1,234")
