"""``vgpu-console config``: every value and where it came from; and what reaches Textual before it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import ROOT
from vgpu_console.config import KEYS

Invoke = Callable[..., Result]


def test_the_table_names_value_and_origin_of_every_setting(
    invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / ".config" / "vgpu-console"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        'region = "RegionTwo"\n[hosts]\nextra = ["gpu-07"]\n[keys]\n"app.quit" = "f10"\n'
    )
    monkeypatch.setenv("OS_CLOUD", "prod")
    result = invoke("whole", "--read-only", "--deadline", "7", "config")
    lines = [line.split() for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert [line[0] for line in lines] == ["SETTING", *KEYS, "keys.app.quit"]
    assert ["cloud", "prod", "environment", "OS_CLOUD"] in lines
    assert ["region", "RegionTwo", "file", str(folder / "config.toml")] in lines
    assert ["hosts.extra", "gpu-07", "file", str(folder / "config.toml")] in lines
    assert ["keys.app.quit", "f10", "file", str(folder / "config.toml")] in lines
    assert ["read_only", "true", "command", "line", "--read-only"] in lines
    assert ["deadline", "7", "command", "line", "--deadline"] in lines
    assert ["ssh.user", "not", "set", "default"] in lines
    assert result.stderr.splitlines() == [
        f"configuration file: {folder / 'config.toml'}",
        f"log file: {home}/.local/state/vgpu-console/vgpu-console.log",
    ]


def test_json_has_values_of_their_own_types(invoke: Invoke) -> None:
    listed = {s["key"]: s for s in json.loads(invoke("whole", "--debug", "config", "-o", "json").stdout)}

    assert listed["log.level"] == {
        "key": "log.level",
        "value": "debug",
        "origin": "command line",
        "detail": "--debug",
    }
    assert listed["refresh.openstack"]["value"] == 5.0
    assert listed["read_only"]["value"] is False
    assert listed["ssh.user"]["value"] is None
    assert listed["hosts.extra"]["value"] == []


def test_a_broken_file_is_told_line_by_line(invoke: Invoke, home: Path) -> None:
    (home / "c.toml").write_text("read_onyl = true\n[refresh]\nssh = 'x'\n")
    result = invoke("whole", "--config", str(home / "c.toml"), "config")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"vgpu-console: {home}/c.toml: unknown key read_onyl; did you mean read_only?",
        f"vgpu-console: {home}/c.toml: refresh.ssh: expected a number, got text",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [None, None]),
        ({"SSH_CONNECTION": "10.0.0.1 2 10.0.0.3 22"}, ["none", "0"]),
        ({"SSH_CONNECTION": "10.0.0.1 2 10.0.0.3 22", "TEXTUAL_ANIMATIONS": "full"}, ["full", "0"]),
    ],
)
def test_over_ssh_the_screens_do_not_move_by_themselves(
    given: dict[str, str], expected: list[str | None], home: Path
) -> None:
    code = (
        "import json, os, sys; from vgpu_console.__main__ import main; sys.argv = ['vgpu-console', '--version']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'textual' not in sys.modules\n"
        "print(json.dumps([os.environ.get(n) for n in ('TEXTUAL_ANIMATIONS', 'TEXTUAL_SMOOTH_SCROLL')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout.splitlines()[-1]) == expected
