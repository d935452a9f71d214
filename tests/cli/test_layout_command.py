"""``layout``: what is there as a file, what differs from one, asserted for CI, and made true item by item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cli.one_cloud import run
from tests.cli.one_fleet import Sent, asked_hosts, devices, opened, watched
from vgpu_console import log
from vgpu_console.actions.fleet_world import FleetWorld
from vgpu_console.actions.plan import DeviceStep, Step
from vgpu_console.cli import console
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.faults import DeviceFault

ANYWAY = ("--yes", "--accept", "mdev.migration", "--accept", "mdev.nova-type")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    one = opened(monkeypatch)
    one.state.hosts["gpu-02"].gpus[1].set_vfs(16)
    return one


@pytest.fixture
def sent(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    return watched(cloud, monkeypatch)


def layout(tmp_path: Path, *entries: tuple[str, str, str, int]) -> str:
    """A file with these entries: host, GPU, type, count."""
    text = "version = 1\n"
    for host, gpu, kind, count in entries:
        text += f'[[gpu]]\nhost = "{host}"\ngpu = "{gpu}"\ntype = "{kind}"\ncount = {count}\n'
    path = tmp_path / "layout.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def mending(tmp_path: Path) -> str:
    """Two GPUs that lack something, of two hosts, beside one that is right."""
    return layout(
        tmp_path,
        ("gpu-02", "0000:81:00.0", "A100-8C", 3),
        ("gpu-05", "41:00.0", "T4-4Q", 4),
        ("gpu-01", "*", "A100-20C", 2),
    )


# --- show -------------------------------------------------------------------------------------------------------------


def test_what_is_shown_of_a_host_differs_in_nothing(cloud: DemoCloud, tmp_path: Path) -> None:
    shown = run("layout", "show", "gpu-01", "gpu-05")
    assert shown.exit_code == 0, shown.stderr
    path = tmp_path / "now.toml"
    path.write_text(shown.stdout, encoding="utf-8")

    assert run("layout", "assert", str(path)).exit_code == 0
    applied = run("layout", "apply", str(path), "--yes", "-o", "json")
    assert (applied.exit_code, json.loads(applied.stdout)) == (0, {"results": [], "left": []})
    assert "nothing to do: all is as the file says" in applied.stderr


def test_a_silent_host_is_left_out_and_named(cloud: DemoCloud) -> None:
    result = run("layout", "show", "-o", "json")

    assert result.exit_code == 5
    assert "left out, for want of an answer: gpu-04" in result.stderr
    assert {entry["host"] for entry in json.loads(result.stdout)["gpu"]} == {
        "gpu-01",
        "gpu-02",
        "gpu-03",
        "gpu-05",
        "gpu-06",
    }


def test_an_unknown_host_is_a_slip(cloud: DemoCloud) -> None:
    result = run("layout", "show", "gpu-01", "gpu-9")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no host is called 'gpu-9'" in result.stderr


# --- diff and assert --------------------------------------------------------------------------------------------------


def test_each_difference_has_its_verdict_and_reason(cloud: DemoCloud, tmp_path: Path) -> None:
    path = layout(
        tmp_path,
        ("gpu-02", "41:00.0", "A100-20C", 2),
        ("gpu-03", "*", "A40-8Q", 4),
        ("gpu-05", "0000:81:00.0", "T4-4C", 1),
        ("gpu-99", "*", "A40-8Q", 1),
    )
    result = run("layout", "diff", path, "-o", "json")

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [(d["host"], d["type"], d["wanted"], d["present"], d["verdict"]) for d in found] == [
        ("gpu-02", "A100-20C", 2, 1, "missing"),
        ("gpu-03", "A40-8Q", 4, 6, "surplus"),
        ("gpu-05", "T4-4C", 1, 0, "missing"),
        ("gpu-05", "T4-8Q", 0, 1, "other type"),
        ("gpu-99", "A40-8Q", 1, None, "unknown host"),
    ]
    assert run("layout", "assert", path).exit_code == 1


def test_only_the_hosts_of_the_file_are_asked(
    cloud: DemoCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_hosts(cloud, monkeypatch)
    run("layout", "diff", mending(tmp_path))

    assert asked == {"gpu-01", "gpu-02", "gpu-05"}


def test_assert_tells_a_silent_host_from_a_difference(cloud: DemoCloud, tmp_path: Path) -> None:
    silent = ("gpu-04", "41:00.0", "A100-10C", 4)
    right = ("gpu-01", "41:00.0", "A100-20C", 2)
    wrong = ("gpu-01", "81:00.0", "A100-20C", 1)

    ended = run("layout", "assert", layout(tmp_path, silent, right), "-o", "json")
    assert ended.exit_code == 5
    assert [d["verdict"] for d in json.loads(ended.stdout)] == ["unreadable"]
    assert "libvirt:gpu-04" in ended.stderr
    assert run("layout", "assert", layout(tmp_path, silent, wrong)).exit_code == 1
    assert run("layout", "assert", layout(tmp_path, right)).exit_code == 0


def test_a_glob_has_to_do_with_no_other_host(cloud: DemoCloud, tmp_path: Path) -> None:
    result = run("layout", "assert", layout(tmp_path, ("gpu-0[15]", "0000:41:00.0", "A100-20C", 2)))

    assert result.exit_code == 1  # a T4 has no A100-20C
    assert "gpu-04" not in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 2", "line 1: version is 2; this console reads version 1"),
        ("", "version is missing"),
        ("version = 1\n[[gpu]\n", "no TOML: "),
        ('version = 1\n[[gpu]]\nhost = "a"\ntype = "b"\ncout = 1\n', "line 5: [[gpu]] 1: unknown key `cout`"),
        ('version = 1\n[[gpu]]\nhost = "a"\ntype = "b"\ncount = -1\n', "line 5: [[gpu]] 1: count: "),
        ('version = 1\n[[gpu]]\nhost = "a"\ntype = "b"\n', "missing key `count`"),
        ("version = 1\n\udcff", "no UTF-8: byte 13 is not of a text"),
    ],
)
@pytest.mark.parametrize("verb", ["diff", "assert", "apply"])
def test_a_file_that_is_none_is_refused_with_its_line_before_anything_is_read(
    verb: str, text: str, words: str, cloud: DemoCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_hosts(cloud, monkeypatch)
    path = tmp_path / "layout.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    result = run("layout", verb, str(path))

    assert (result.exit_code, result.stdout, asked) == (2, "", set())
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("where", ["nowhere.toml", "."])
def test_a_file_that_cannot_be_read_is_told(where: str, cloud: DemoCloud, tmp_path: Path) -> None:
    result = run("layout", "diff", str(tmp_path / where))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no such file" in result.stderr or "is a directory" in result.stderr


def test_the_file_may_come_through_a_pipe(cloud: DemoCloud, tmp_path: Path) -> None:
    text = Path(layout(tmp_path, ("gpu-01", "41:00.0", "A100-20C", 2)))
    result = CliRunner().invoke(console, ["--demo", "layout", "assert", "-"], input=text.read_text(encoding="utf-8"))
    log.stop()

    assert result.exit_code == 0, result.stderr


# --- apply ------------------------------------------------------------------------------------------------------------


def told(text: str) -> list[tuple[str, str]]:
    found: dict[str, Any] = json.loads(text)
    return [(r["target"]["key"]["host"], r["result"]) for r in found["results"]]


def test_what_is_missing_is_made_with_a_result_each_and_then_there_is_nothing_to_do(
    cloud: DemoCloud, sent: list[Sent], tmp_path: Path
) -> None:
    path = mending(tmp_path)
    result = run("layout", "apply", path, *ANYWAY, "-o", "json")

    assert result.exit_code == 0, result.stdout + result.stderr
    assert told(result.stdout) == [("gpu-02", "done")] * 3 + [("gpu-05", "done")]
    assert len(devices(cloud, "gpu-02", 1)) == 3

    sent.clear()
    again = run("layout", "apply", path, *ANYWAY, "-o", "json")
    assert (again.exit_code, told(again.stdout), sent) == (0, [], [])


def test_a_dry_run_names_every_plan_and_changes_nothing(cloud: DemoCloud, sent: list[Sent], tmp_path: Path) -> None:
    result = run("layout", "apply", mending(tmp_path), "--dry-run", "-o", "json")

    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert [plan["action"] for plan in shown["plans"]] == ["mdev.create"] * 4
    assert (shown["left"], sent) == ([], [])


def test_a_failure_ends_the_work_on_its_gpu_and_no_other(
    cloud: DemoCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = FleetWorld.take
    starts = 0

    def second_fails(self: FleetWorld, step: Step) -> None:
        nonlocal starts
        starts += isinstance(step, DeviceStep) and step.host == "gpu-02" and step.call == "start"
        if starts == 2:
            cloud.faults.devices["gpu-02"] = DeviceFault(kind="broken")
        take(self, step)

    monkeypatch.setattr(FleetWorld, "take", second_fails)
    result = run("layout", "apply", mending(tmp_path), *ANYWAY, "-o", "json")

    assert result.exit_code == 5, result.stderr
    assert told(result.stdout) == [
        ("gpu-02", "done"),
        ("gpu-02", "failed"),
        ("gpu-02", "refused"),
        ("gpu-05", "done"),
    ]


def test_what_cannot_be_is_told_beside_what_was_done(cloud: DemoCloud, tmp_path: Path) -> None:
    path = layout(
        tmp_path,
        ("gpu-05", "41:00.0", "T4-4Q", 4),
        ("gpu-03", "*", "A40-8Q", 7),
        ("gpu-04", "*", "A100-10C", 4),
    )
    result = run("layout", "apply", path, *ANYWAY, "-o", "json")

    assert result.exit_code == 5
    assert told(result.stdout) == [("gpu-05", "done")]
    left = {one["host"]: (one["verdict"], one["reason"]) for one in json.loads(result.stdout)["left"]}
    assert left["gpu-03"][0] == "missing"
    assert "all 6 of its maximum are created" in left["gpu-03"][1]
    assert left["gpu-04"][0] == "unreadable"


def test_nothing_that_is_possible_is_a_refusal(cloud: DemoCloud, sent: list[Sent], tmp_path: Path) -> None:
    path = layout(tmp_path, ("gpu-03", "*", "A40-8Q", 7))
    result = run("layout", "apply", path, *ANYWAY)

    assert (result.exit_code, sent) == (4, [])
    assert "all 6 of its maximum are created" in result.stdout


def test_what_is_too_many_stays_unless_it_is_to_be_pruned(cloud: DemoCloud, sent: list[Sent], tmp_path: Path) -> None:
    path = layout(tmp_path, ("gpu-03", "*", "A40-8Q", 5))
    kept = run("layout", "apply", path, *ANYWAY, "-o", "json")
    assert (kept.exit_code, sent) == (0, [])
    assert "removing was not asked for" in kept.stdout

    [plan] = json.loads(run("layout", "apply", path, "--prune", "--dry-run", "-o", "json").stdout)["plans"]
    assert plan["action"] == "mdev.remove"
    pruned = run("layout", "apply", path, "--prune", "--yes", "--expect", plan["hash"], "-o", "json")
    assert pruned.exit_code == 0, pruned.stdout + pruned.stderr
    assert len(devices(cloud, "gpu-03")) == 5


def test_two_entries_that_disagree_are_no_layout(cloud: DemoCloud, sent: list[Sent], tmp_path: Path) -> None:
    path = layout(tmp_path, ("gpu-03", "*", "A40-8Q", 6), ("gpu-0?", "41:00.0", "A40-8Q", 5))
    for verb in ("diff", "apply"):
        result = run("layout", verb, path, *(ANYWAY if verb == "apply" else ()))
        assert (result.exit_code, result.stdout, sent) == (2, "", [])
        assert "[[gpu]] 1 and 2 both give gpu-03" in result.stderr


def test_read_only_is_a_wall(cloud: DemoCloud, sent: list[Sent], tmp_path: Path) -> None:
    result = run("--read-only", "layout", "apply", mending(tmp_path), *ANYWAY)

    assert (result.exit_code, result.stdout, sent) == (4, "", [])
