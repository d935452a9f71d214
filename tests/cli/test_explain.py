"""``explain``: the answer, the chain, the exit code, the promised JSON, and what a wrong name is told."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.one_cloud import run
from tests.cli.one_fleet import opened
from tests.rules.explain import base as cloud
from tests.rules.explain.test_host import functions_off
from tests.rules.explain.test_project import TAKEN, limited
from tests.rules.explain.test_server import moved
from tests.rules.migration.two_hosts import all_of, of_server
from vgpu_console.cli_explain_read import write_explanation
from vgpu_console.cli_output import Layout, json_text
from vgpu_console.rules.explain.chain import Explanation
from vgpu_console.rules.explain.report import explain_report
from vgpu_console.simulator import DemoCloud, HttpFault, open_demo

GOLDEN = Path(__file__).parent / "golden"
PROMISED = ["kind", "id", "name", "verdict", "summary", "steps", "mends", "places"]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    return opened(monkeypatch)


def told(*arguments: str, code: int) -> dict[str, Any]:
    result = run("explain", *arguments, "-o", "json")
    assert result.exit_code == code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# --- golden -----------------------------------------------------------------------------------------------------------

CASES: dict[str, Explanation] = {
    "server": cloud.server(all_of(of_server(status="ERROR", vm_state="error"), moved("failed"))(cloud.base())),
    "flavor": cloud.flavor(cloud.of_flavor(resources__VGPU="2")(cloud.base())),
    "project": cloud.project(all_of(limited(1), TAKEN)(cloud.base())),
    "host": cloud.host(functions_off(cloud.base())),
}


@pytest.mark.parametrize("form", ["txt", "json"])
@pytest.mark.parametrize("kind", CASES)
def test_the_whole_output_is_the_golden_one(kind: str, form: str) -> None:
    if form == "json":
        text = json_text(explain_report(CASES[kind]), pretty=True) + "\n"
    else:
        out = io.StringIO()
        write_explanation(CASES[kind], out, Layout())
        text = out.getvalue()
    golden = GOLDEN / f"explain-{kind}.{form}"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


# --- on the embedded cloud --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "verdict"),
    [
        ("server", "vm-train-9", "fail"),
        ("flavor", "train.a100-20c", "warn"),
        ("project", "vdi", "fail"),
        ("host", "gpu-06", "fail"),
    ],
)
def test_json_has_the_promised_names(kind: str, name: str, verdict: str, fleet: DemoCloud) -> None:
    found = told(kind, name, code=4)

    assert list(found) == PROMISED
    assert (found["kind"], found["name"], found["verdict"]) == (kind, name, verdict)
    assert {tuple(s) for s in found["steps"]} == {("id", "status", "evidence", "source", "age_s")}
    assert all(s["id"].startswith("explain.") for s in found["steps"])
    assert {tuple(m) for m in found["mends"]} <= {("words", "command", "action")}


def test_only_where_all_passes_it_is_zero(fleet: DemoCloud) -> None:
    found = told("server", "vm-train-1", code=0)

    assert {s["status"] for s in found["steps"]} == {"pass"}
    assert "A100-20C on 0000:41:00.4" in next(s["evidence"] for s in found["steps"] if s["id"] == "explain.device")


def test_the_answer_is_first_and_the_verdict_with_its_commands_last(fleet: DemoCloud) -> None:
    lines = run("explain", "host", "gpu-06").stdout.splitlines()

    assert lines[0] == (
        "host gpu-06 gets no server with a vGPU: nova-compute is disabled: firmware update, ticket 4711"
    )
    assert lines[2].split() == ["STATUS", "CHECK", "SOURCE", "AGE", "EVIDENCE"]
    end = lines.index("verdict: fail")
    assert lines[end + 2] == "      $ openstack compute service set --enable gpu-06 nova-compute"


def test_a_fleet_in_order_is_explained_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    well = open_demo("well", living=False)
    monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: well)

    for host in well.state.hosts:
        told("host", host, code=0)
    for flavor in well.state.flavors.values():
        told("flavor", flavor.name, code=4 if flavor.name == "m1.small" else 0)


def test_by_id_by_alias_of_a_host_and_by_project(fleet: DemoCloud) -> None:
    server = next(s for s in fleet.state.servers.values() if s.name == "vm-train-1")

    assert told("server", server.id, code=0)["name"] == "vm-train-1"
    assert told("server", "vm-train-1@ml-research", code=0)["id"] == server.id
    assert told("host", "GPU-06", code=4)["name"] == "gpu-06"


def test_placement_is_asked_for_each_part_of_what_fits_nowhere(fleet: DemoCloud) -> None:
    flavor = next(f for f in fleet.state.flavors.values() if f.name == "train.a100-20c")
    flavor.ram_mib = 64 * 1024 * 1024

    found = told("flavor", "train.a100-20c", code=4)

    step = next(s for s in found["steps"] if s["id"] == "explain.candidates")
    assert step["evidence"] == "Placement finds no place: no host has 67108864 MEMORY_MB left"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("server", "vm-train-8"), "no server has the id or name 'vm-train-8'; is it "),
        (("flavor", "train.a100-20"), "no flavor has the id or name 'train.a100-20'; is it train.a100-20c?"),
        (("project", "ml-reseach"), "no project has the id or name 'ml-reseach'; is it "),
        (("host", "gpu-07"), "no host is called 'gpu-07'; is it "),
        (("server", ""), "no server was named"),
        (("flavor", " "), "no flavor was named"),
        (("project", ""), "no project was named"),
        (("host", ""), "no host was named"),
    ],
)
def test_what_does_not_exist_is_two_with_what_is_near(arguments: tuple[str, ...], words: str, fleet: DemoCloud) -> None:
    result = run("explain", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_name_of_two_is_two_with_the_ids_to_choose_from(fleet: DemoCloud) -> None:
    next(s for s in fleet.state.servers.values() if s.name == "vm-train-2").name = "vm-train-1"

    result = run("explain", "server", "vm-train-1")

    assert result.exit_code == 2
    assert "give the id" in result.stderr


def test_a_silent_cloud_is_three(fleet: DemoCloud) -> None:
    for service in ("identity", "compute", "placement"):
        fleet.faults.http[service] = HttpFault("status")

    result = run("explain", "host", "gpu-01")

    assert (result.exit_code, result.stdout) == (3, "")
    assert "no connection" in result.stderr


def test_silent_placement_is_unknown_and_not_no(fleet: DemoCloud) -> None:
    fleet.faults.http["placement"] = HttpFault("status")

    found = told("flavor", "train.a100-20c", code=4)

    assert found["verdict"] == "unknown"


def test_a_hostile_name_is_text(fleet: DemoCloud) -> None:
    fleet.state.hosts["gpu-06"].disabled_reason = "\x1b[31mred\n=cmd()"

    result = run("explain", "host", "gpu-06")

    assert "\x1b" not in result.stdout
    assert "red" in result.stdout.splitlines()[0]


@pytest.mark.parametrize("kind", ["server", "flavor", "project", "host"])
def test_help_has_examples_and_codes(kind: str) -> None:
    result: Result = run("explain", kind, "--help")

    assert result.exit_code == 0
    assert f"vgpu-console explain {kind}" in result.stdout
    assert "Exit codes:" in result.stdout
    assert f"no such {kind}" in result.stdout
