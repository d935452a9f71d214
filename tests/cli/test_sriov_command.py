"""``sriov``: virtual functions shown, enabled by the operator or by the console, and refused on a GPU in use."""

from __future__ import annotations

import json

import pytest

from tests.cli.one_cloud import run
from tests.cli.one_fleet import Sent, opened, watched
from vgpu_console.actions import runner
from vgpu_console.simulator import DemoCloud

ENABLE = ("sriov", "enable", "gpu-02", "--gpu", "81:00.0")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    return opened(monkeypatch)


@pytest.fixture
def changes(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    return watched(cloud, monkeypatch)


def enabled(cloud: DemoCloud) -> int:
    return cloud.state.hosts["gpu-02"].gpus[1].vfs_enabled


def test_functions_enabled_and_possible_of_each_sriov_gpu(cloud: DemoCloud) -> None:
    result = run("sriov", "show", "gpu-02", "gpu-05", "-o", "json")

    assert result.exit_code == 0, result.stderr
    assert [
        (r["host"], r["gpu"], r["vfs_enabled"], r["vfs_total"], r["vgpus_used"]) for r in json.loads(result.stdout)
    ] == [
        ("gpu-02", "0000:41:00.0", 16, 16, 1),
        ("gpu-02", "0000:81:00.0", 0, 16, 0),
    ]


def test_the_whole_fleet_says_which_host_is_silent(cloud: DemoCloud) -> None:
    result = run("sriov", "show")

    assert result.exit_code == 5
    assert "GPUs are not known of: gpu-04" in result.stderr
    assert len(result.stdout.splitlines()) == 7


def test_plain_cards_have_none(cloud: DemoCloud) -> None:
    result = run("sriov", "show", "gpu-05")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no GPU with virtual functions on gpu-05" in result.stderr


def test_the_plan_names_the_command_and_changes_nothing(cloud: DemoCloud, changes: list[Sent]) -> None:
    result = run(*ENABLE, "--dry-run", "-o", "json")
    plan = json.loads(result.stdout)

    assert result.exit_code == 0, result.stderr
    assert (plan["before"], plan["after"], plan["steps"][0]["type"]) == ({"vfs": 0}, {"vfs": 16}, "operator")
    assert "/usr/lib/nvidia/sriov-manage -e 0000:81:00.0" in plan["commands"][0]
    assert (enabled(cloud), changes) == (0, [])


def test_the_console_runs_it_and_counts_what_is_there(cloud: DemoCloud, changes: list[Sent]) -> None:
    result = run(*ENABLE, "--over-ssh", "--yes", "-o", "json")

    assert result.exit_code == 0, result.stderr
    assert changes == [Sent("gpu-02", "enable-vfs", "0000:81:00.0 None")]
    assert (json.loads(result.stdout)["observed"], enabled(cloud)) == ({"vfs": 16}, 16)


def test_the_operator_is_told_the_command_and_waited_for(
    cloud: DemoCloud, changes: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def operator(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            cloud.state.hosts["gpu-02"].gpus[1].set_vfs(16)

    apply = runner.apply
    monkeypatch.setattr("vgpu_console.cli_plan.apply", lambda *a, **k: apply(*a, **k, wait=operator))
    result = run(*ENABLE, "--yes", "-o", "json")

    assert result.exit_code == 0, result.stdout + result.stderr
    assert "run this on gpu-02 now, as root: /usr/lib/nvidia/sriov-manage -e 0000:81:00.0" in result.stderr
    assert (json.loads(result.stdout)["result"], looks, changes) == ("done", 3, [])


def test_a_gpu_with_live_vgpus_is_refused_with_their_servers(cloud: DemoCloud, changes: list[Sent]) -> None:
    cloud.state.hosts["gpu-02"].gpus[0].set_vfs(8)  # as if the driver had come up halfway
    result = run("sriov", "enable", "gpu-02", "--gpu", "41:00.0", "--over-ssh", "--yes")

    assert result.exit_code == 4, result.stdout
    assert "server vm-train-7 of project ml-research" in result.stdout
    assert changes == []


def test_without_the_right_to_change_hosts_over_ssh_nothing_is_sent(
    cloud: DemoCloud, changes: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGPU_CONSOLE_SSH_CHANGES", "no")
    result = run(*ENABLE, "--over-ssh", "--yes")

    assert (result.exit_code, result.stdout, changes) == (4, "", [])
    assert "refused: SSH may only read here: [ssh] changes is not set" in result.stderr
    shown = run(*ENABLE, "--over-ssh", "--dry-run")
    assert (shown.exit_code, "would be refused: SSH may only read here" in shown.stderr) == (4, True)


def test_read_only_is_a_wall_before_anything_is_read(cloud: DemoCloud, changes: list[Sent]) -> None:
    result = run("--read-only", *ENABLE, "--over-ssh", "--yes")

    assert (result.exit_code, result.stdout, changes) == (4, "", [])
    assert "this console is read-only" in result.stderr
    assert run("--read-only", *ENABLE, "--over-ssh", "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gpu-2", "--gpu", "81:00.0"], 2, "no host is called 'gpu-2'; is it gpu-02"),
        (["gpu-02", "--gpu", "91:00.0"], 2, "gpu-02 has no GPU at 0000:91:00.0"),
        (["gpu-02"], 2, "Missing option '--gpu'"),
        (["gpu-05", "--gpu", "41:00.0"], 4, "has no virtual functions"),
        (["gpu-04", "--gpu", "41:00.0"], 3, "gpu-04"),
    ],
)
def test_bad_input_sends_nothing(
    arguments: list[str], code: int, words: str, cloud: DemoCloud, changes: list[Sent]
) -> None:
    result = run("sriov", "enable", *arguments, "--over-ssh", "--yes")

    assert (result.exit_code, result.stdout, changes) == (code, "", [])
    assert words in result.stderr


def test_all_on_already_is_nothing_to_do(cloud: DemoCloud, changes: list[Sent]) -> None:
    result = run("sriov", "enable", "gpu-02", "--gpu", "41:00.0", "--over-ssh", "--yes", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)["message"], changes) == (0, "already so: nothing to do", [])
