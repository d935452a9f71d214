"""Device commands byte for byte, what their help loads, and ctrl+c while something is waited for.

``UPDATE_GOLDEN=1`` writes the golden files anew; read the diff.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.cli.one_cloud import run
from tests.cli.one_fleet import opened
from tests.packaging.test_imports_at_start import run as probe
from vgpu_console.actions import runner
from vgpu_console.simulator import DemoCloud

GOLDEN = Path(__file__).parent / "golden"
CREATE = ["mdev", "create", "gpu-05", "--gpu", "41:00.0", "--type", "T4-4Q", "--dry-run"]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    return opened(monkeypatch)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mdev_create.txt", CREATE),
        ("mdev_create.json", [*CREATE, "-o", "json"]),
        ("mdev_remove.txt", ["mdev", "remove", "gpu-03", "f0e642f4", "--dry-run"]),
        ("mdev_types.txt", ["mdev", "types", "gpu-05"]),
        ("sriov_enable.txt", ["sriov", "enable", "gpu-02", "--gpu", "81:00.0", "--dry-run"]),
        ("sriov_show.json", ["sriov", "show", "gpu-02", "-o", "json"]),
        ("layout_show.toml", ["layout", "show", "gpu-05", "gpu-06"]),
        ("nova_conf.txt", ["nova-conf", "gpu-06"]),
    ],
)
def test_the_whole_output_is_the_golden_one(name: str, arguments: list[str], cloud: DemoCloud) -> None:
    result = run(*arguments)
    text = re.sub(r"read \d+ s ago", "read 0 s ago", result.stdout)
    text = re.sub(r'"age_s": [\d.e-]+', '"age_s": 0', text)

    assert result.exit_code == 0, result.stderr
    golden = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command", [["mdev", "create"], ["sriov", "enable"], ["layout", "apply"], ["nova-conf"], ["mdev", "types"]]
)
def test_help_has_an_example_and_loads_nothing_but_click(command: list[str], tmp_path: Path) -> None:
    ended = probe(tmp_path, *command, "--help")

    assert ended.code in (0, None)
    assert f"vgpu-console {' '.join(command)}" in ended.stdout.partition("Examples:")[2]
    heavy = {"openstack", "keystoneauth1", "requests", "libvirt", "textual", "asyncssh", "rich", "msgspec"}
    assert ended.modules & heavy == set()


def test_a_change_of_devices_loads_no_screen(tmp_path: Path) -> None:
    ended = probe(tmp_path, "--demo", *CREATE, "-o", "json")

    assert ended.code == 0, ended.stderr
    assert ended.modules & {"textual", "asyncssh"} == set()


@pytest.mark.parametrize("group", ["mdev", "sriov", "layout"])
def test_a_group_alone_shows_its_commands_and_is_no_success(group: str) -> None:
    result = run(group)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


def test_ctrl_c_while_the_operator_is_waited_for_is_in_the_journal(
    cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    apply = runner.apply
    monkeypatch.setattr("vgpu_console.cli_plan.apply", lambda *a, **k: apply(*a, **k, wait=interrupted))
    result = run("sriov", "enable", "gpu-02", "--gpu", "81:00.0", "--yes", "-o", "json")

    assert result.exit_code == 130, result.stderr
    assert json.loads(result.stdout)["result"] == "interrupted"
    [row] = json.loads(run("journal", "-o", "json").stdout)
    assert row["result"] == "interrupted"
