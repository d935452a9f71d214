"""``--host`` and ``--project`` on every view."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from tests.builders import PROJECTS, an_id

Invoke = Callable[..., Result]


def rows(invoke: Invoke, *arguments: str, case: str = "whole") -> list[dict[str, Any]]:
    return json.loads(invoke(case, *arguments, "-o", "json").stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("view", "field"), [("hosts", "name"), ("gpus", "host"), ("types", "host"), ("mdevs", "host"), ("servers", "host")]
)
def test_a_host_keeps_what_is_on_it(view: str, field: str, invoke: Invoke) -> None:
    kept = rows(invoke, view, "--host", "gpu-05")

    assert kept
    assert {row[field] for row in kept} == {"gpu-05"}


def test_hosts_can_be_named_more_than_once(invoke: Invoke) -> None:
    assert [r["name"] for r in rows(invoke, "hosts", "--host", "gpu-05", "--host", "gpu-01")] == ["gpu-01", "gpu-05"]


@pytest.mark.parametrize("project", ["render", PROJECTS["render"]])
@pytest.mark.parametrize(
    ("view", "field", "expected"),
    [
        ("hosts", "name", {"gpu-05"}),
        ("gpus", "address", {"0000:3b:00.0"}),
        ("types", "type_name", {"GRID T4-4Q"}),
        ("mdevs", "server", {"render-0", "render-1"}),
        ("servers", "name", {"render-0", "render-1"}),
        ("quota", "resource", {"class:VGPU", "class:CUSTOM_A40_8Q"}),
        ("providers", "device", {"0000:3b:00.0"}),
    ],
)
def test_a_project_by_name_or_id_keeps_what_concerns_it(
    project: str, view: str, field: str, expected: set[str], invoke: Invoke
) -> None:
    assert {row[field] for row in rows(invoke, view, "--project", project)} == expected


def test_a_migration_concerns_its_source_its_destination_and_its_project(invoke: Invoke) -> None:
    assert len(rows(invoke, "migrations", "--host", "gpu-02")) == 2
    assert len(rows(invoke, "migrations", "--host", "gpu-01")) == 2
    assert len(rows(invoke, "migrations", "--host", "gpu-03")) == 1
    assert [r["server_id"] for r in rows(invoke, "migrations", "--project", PROJECTS["ml-research"])] == [
        an_id("server", "vm-train-7"),
        an_id("server", "vm-train-1"),
    ]
    assert rows(invoke, "migrations", "--project", "vdi") == []


def test_quota_of_a_host_is_that_of_the_projects_on_it(invoke: Invoke) -> None:
    assert {r["project"] for r in rows(invoke, "quota", "--host", "gpu-05")} == {"render", "students"}


def test_both_filters_must_hold(invoke: Invoke) -> None:
    assert {r["name"] for r in rows(invoke, "servers", "--project", "vdi", "--host", "gpu-06")} == {
        "twin-0",
        "twin-1",
        "twin-2",
    }


def test_what_a_filter_does_not_look_at_does_not_make_it_partial(invoke: Invoke) -> None:
    assert invoke("partial", "hosts").exit_code == 5
    assert invoke("partial", "hosts", "--host", "gpu-01").exit_code == 0
    assert invoke("partial", "hosts", "--host", "gpu-04").exit_code == 5
    assert invoke("partial", "quota").exit_code == 0


def test_a_misspelt_name_is_told_with_the_nearest_one(invoke: Invoke) -> None:
    host = invoke("whole", "hosts", "--host", "gpu-1")
    project = invoke("whole", "servers", "--project", "rendr")

    assert (host.exit_code, host.stdout) == (0, "")
    assert "no hosts: none of 6 matches the filter" in host.stderr
    assert "no host gpu-1 is known; did you mean gpu-01?" in host.stderr
    assert "did you mean render?" in project.stderr


def test_only_the_sources_that_a_view_needs_are_asked(invoke: Invoke) -> None:
    asked: dict[str, frozenset[str]] = {}

    def reader(view: str) -> Any:
        def read(_settings: Any, _demo: Any, want: frozenset[str], *_: Any) -> Any:
            asked[view] = want
            from tests.builders import small_fleet

            return small_fleet(broken=False)

        return read

    for name, arguments in {
        "quota": ("quota",),
        "servers": ("servers",),
        "gpus": ("gpus",),
        "gpus of a project": ("gpus", "--project", "vdi"),
        "snapshot": ("snapshot",),
    }.items():
        invoke(reader(name), *arguments)

    everything = {"keystone", "nova", "placement", "libvirt", "ssh"}
    assert asked["quota"] == asked["servers"] == {"keystone", "nova", "placement"}
    assert asked["gpus"] == everything - {"keystone"}
    assert asked["gpus of a project"] == asked["snapshot"] == everything
