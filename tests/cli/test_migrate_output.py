"""Migration commands byte for byte, and what their help loads. ``UPDATE_GOLDEN=1`` writes the golden files anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.moving_fleet import HOST, MovingFleet
from tests.cli.one_cloud import run
from tests.packaging.test_imports_at_start import run as probe

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> MovingFleet:
    return MovingFleet(monkeypatch)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("migrate_check.txt", ["migrate", "check", "train-1"], 4),
        ("migrate_check.json", ["migrate", "check", "train-1", "-o", "json"], 4),
        ("migrate_start.txt", ["migrate", "start", "train-1", "--dry-run"], 0),
        ("drain_plan.txt", ["drain", HOST, "--dry-run"], 0),
        ("drain_plan.json", ["drain", HOST, "--dry-run", "-o", "json"], 0),
    ],
)
def test_the_whole_output_is_the_golden_one(name: str, arguments: list[str], code: int, fleet: MovingFleet) -> None:
    result = run(*arguments)

    assert result.exit_code == code, result.stderr
    golden = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(result.stdout, encoding="utf-8")
    assert result.stdout == golden.read_text(encoding="utf-8")


def test_the_end_of_a_migration_as_text(fleet: MovingFleet) -> None:
    result = run("migrate", "start", "web-1", "--to", "gpu-c", "--yes")
    [migration] = fleet.cloud.state.migrations.values()

    assert result.exit_code == 0, result.stderr
    text = result.stdout.replace(migration.uuid, "UUID").replace(f"{migration.downtime_ms} ms", "N ms")
    assert re.sub(r"took +\d+ s", "took N s", text).splitlines() == [
        "web-1: completed: gpu-a → gpu-c",
        "  the server runs there",
        "  downtime  N ms (predicted 0.3 to 4.68 s), by the JOB_COMPLETED event of the source",
        "  took N s",
        "  migration UUID",
        "  pass      the server is ACTIVE on gpu-c",
        "  pass      its guest runs on gpu-c",
        "  pass      the server's allocations are on gpu-c",
        "  pass      nothing is held under the migration's uuid",
    ]


@pytest.mark.parametrize(
    "command",
    [
        ["migrate", "check"],
        ["migrate", "start"],
        ["migrate", "follow"],
        ["migrate", "abort"],
        ["migrate", "force-complete"],
        ["migrate", "reset"],
        ["migrate", "heal"],
        ["migrations"],
        ["drain"],
    ],
)
def test_help_has_an_example_and_loads_nothing_but_click(command: list[str], tmp_path: Path) -> None:
    ended = probe(tmp_path, *command, "--help")

    assert ended.code in (0, None)
    assert f"vgpu-console {' '.join(command)}" in ended.stdout.partition("Examples:")[2]
    heavy = {"openstack", "keystoneauth1", "requests", "libvirt", "textual", "asyncssh", "rich", "msgspec"}
    assert ended.modules & heavy == set()


def test_a_check_loads_no_screen(tmp_path: Path) -> None:
    ended = probe(tmp_path, "--demo", "migrate", "check", "vm-train-1", "-o", "json")

    assert ended.code == 4, ended.stderr
    assert ended.modules & {"textual", "asyncssh"} == set()


def test_the_group_alone_shows_its_commands_and_is_no_success() -> None:
    result = run("migrate")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr
