"""``migrate check``: the answer, its exit code, the promised JSON, and what a wrong name is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.moving_fleet import MovingFleet
from tests.cli.one_cloud import run
from vgpu_console.simulator import HttpFault

PROMISED = ["server", "source", "destination", "verdict", "checks", "predicted_downtime_ms", "candidates"]
DIRTY = "migrate.dirty-tracking"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> MovingFleet:
    return MovingFleet(monkeypatch)


def checked(*arguments: str, code: int) -> dict[str, Any]:
    result = run("migrate", "check", *arguments, "-o", "json")
    assert result.exit_code == code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_json_has_the_promised_names_and_the_best_destination_is_checked(fleet: MovingFleet) -> None:
    found = checked("train-1", code=4)

    assert list(found)[: len(PROMISED)] == PROMISED
    assert (found["server"], found["source"], found["destination"], found["verdict"]) == (
        "train-1",
        "gpu-a",
        "gpu-b",
        "warn",
    )
    assert {tuple(c) for c in found["checks"]} == {("id", "status", "evidence", "source", "age_s")}
    assert [c["id"] for c in found["checks"] if c["status"] != "pass"] == [DIRTY]
    assert list(found["predicted_downtime_ms"]) == ["low", "high", "basis"]
    assert [c["host"] for c in found["candidates"]] == ["gpu-b", "gpu-c"]


def test_a_server_without_vgpus_for_which_all_is_well_is_the_only_zero(fleet: MovingFleet) -> None:
    found = checked("web-1", "--to", "gpu-c", code=0)

    assert (found["verdict"], found["destination"]) == ("pass", "gpu-c")
    assert {c["status"] for c in found["checks"]} == {"pass"}
    assert "migrate.no-vgpu" in [c["id"] for c in found["checks"]]


def test_the_answer_comes_first_then_the_arithmetic_then_the_worst_check(fleet: MovingFleet) -> None:
    lines = run("migrate", "check", "train-1").stdout.splitlines()

    assert lines[0] == "yes, but: train-1 from gpu-a to gpu-b: 1 check would have to be accepted"
    assert lines[2].startswith("predicted downtime: ")
    assert lines[3].startswith("  least: 20 GiB of framebuffer at ")
    header = next(n for n, line in enumerate(lines) if line.startswith("STATUS"))
    assert lines[header + 1].startswith(f"! warn  {DIRTY}")
    assert all(line.startswith("pass") for line in lines[header + 2 : lines.index("", header)])
    assert [line.split()[:2] for line in lines[-2:]] == [["gpu-b", "warn"], ["gpu-c", "warn"]]


def test_a_host_that_cannot_take_it_says_why(fleet: MovingFleet) -> None:
    fleet.cloud.state.hosts["gpu-b"].status = "disabled"

    result = run("migrate", "check", "train-1", "--to", "gpu-b")

    assert result.exit_code == 4
    assert result.stdout.startswith("no: train-1 from gpu-a to gpu-b: gpu-b is disabled")


def test_where_no_host_is_left_each_says_why(fleet: MovingFleet) -> None:
    for name in ("gpu-b", "gpu-c"):
        fleet.cloud.state.hosts[name].status = "disabled"

    found = checked("train-1", code=4)

    assert (found["destination"], found["verdict"]) == (None, "fail")
    assert {c["host"]: c["verdict"] for c in found["candidates"]} == {"gpu-b": "fail", "gpu-c": "fail"}
    assert all("disabled" in c["reason"] for c in found["candidates"])
    assert run("migrate", "check", "train-1").stdout.startswith("no: train-1 can go from gpu-a to no other host")


def test_to_where_it_is_already_is_no(fleet: MovingFleet) -> None:
    found = checked("train-1", "--to", "gpu-a", code=4)

    assert [c["id"] for c in found["checks"] if c["status"] == "fail"] == ["migrate.same-host"]
    assert "predicted downtime" not in run("migrate", "check", "train-1", "--to", "gpu-a").stdout


def test_a_longer_pause_than_is_allowed_is_no(fleet: MovingFleet) -> None:
    found = checked("train-1", "--max-downtime", "1", code=4)

    assert found["destination"] is None
    assert checked("web-1", "--max-downtime", "60", code=0)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train-9",), "no server has the id or name 'train-9'; is it "),
        (("train-1", "--to", "gpu-d"), "gpu-d"),
        (("",), "no server was named"),
        (("train-1", "--to", ""), "no host was named"),
    ],
)
def test_what_does_not_exist_is_two_with_what_is_near(
    arguments: tuple[str, ...], words: str, fleet: MovingFleet
) -> None:
    result = run("migrate", "check", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_name_of_two_servers_is_two_with_the_ids_to_choose_from(fleet: MovingFleet) -> None:
    fleet.named("train-2").name = "train-1"

    result = run("migrate", "check", "train-1")

    assert result.exit_code == 2
    assert result.stderr.count("train-1@ml-research") == 2
    assert "give the id" in result.stderr


def test_a_silent_nova_is_three(fleet: MovingFleet) -> None:
    for service in ("identity", "compute", "placement"):
        fleet.cloud.faults.http[service] = HttpFault("status")

    result = run("migrate", "check", "train-1")

    assert (result.exit_code, result.stdout) == (3, "")
    assert "no connection" in result.stderr


def test_a_silent_host_is_told_beside_the_answer(fleet: MovingFleet) -> None:
    fleet.cloud.faults.libvirt["gpu-c"] = "unreachable"

    found = checked("train-1", code=4)

    assert found["destination"] == "gpu-b"
    assert next(c for c in found["candidates"] if c["host"] == "gpu-c")["verdict"] in ("unknown", "fail")
