"""The real command, from argument to output, on the embedded cloud: nothing is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT
from tests.cli.test_promised_output import PROMISED


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vgpu_console", *arguments],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("view", PROMISED)
def test_every_view_has_rows_under_the_promised_names(view: str, home: Path) -> None:
    done = command(home, "--demo", view, "-o", "json")

    assert done.returncode in (0, 5), done.stderr
    assert done.returncode == (5 if "errors:" in done.stderr else 0)
    rows = json.loads(done.stdout)
    if view != "migrations":  # whether one has begun yet is up to the scenario's clock
        assert rows
    assert all(list(row) == PROMISED[view].split() for row in rows)


def test_a_host_that_is_not_reached_is_unknown_and_told(home: Path) -> None:
    done = command(home, "--demo", "hosts", "-o", "json")
    hosts = {row["name"]: row for row in json.loads(done.stdout)}

    assert done.returncode == 5
    silent = [line.split(":")[1] for line in done.stderr.splitlines() if line.startswith("  libvirt:")]
    assert silent
    for name in silent:
        assert hosts[name]["gpus"] is None
        assert hosts[name]["vfs_total"] is None
        assert hosts[name]["service_state"] in ("up", "down")


def test_a_generated_fleet_has_the_size_that_was_asked_for(home: Path) -> None:
    done = command(home, "--scenario", "3", "snapshot")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["hosts"]) == 3
    assert document["errors"] == []


def test_a_broken_scenario_is_told_in_one_line(home: Path) -> None:
    (home / "mine.toml").write_text("hosts = [[[\n")
    for arguments in (["hosts"], ["demo", "--serve"]):
        done = command(home, *arguments, "--scenario", str(home / "mine.toml"))
        assert (done.returncode, done.stdout) == (2, "")
        assert "mine.toml" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_unknown_cloud_is_one_line_and_no_connection(home: Path) -> None:
    done = command(home, "--os-cloud", "nowhere", "hosts", "-o", "json")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "no connection" in done.stderr
    assert "nowhere" in done.stderr


def test_serve_prints_what_points_a_client_at_it_and_ends_with_ctrl_c(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vgpu_console", "demo", "--serve"],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    exports = [process.stdout.readline().strip() for _ in range(2)]
    url = process.stderr.readline().split(" at ")[1].split()[0]
    try:
        file = Path(exports[0].removeprefix("export OS_CLIENT_CONFIG_FILE="))
        assert exports[1] == "export OS_CLOUD=demo"
        assert f"{url}/identity/v3" in file.read_text()
        assert file.stat().st_mode & 0o077 == 0
        with urllib.request.urlopen(f"{url}/identity/v3", timeout=10) as answer:
            assert json.load(answer)["version"]["id"].startswith("v3")
        served = command_on(home, file, "hosts", "-o", "json")
        assert len(json.loads(served.stdout)) == 6, served.stderr
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in rest[1]


def command_on(home: Path, clouds_yaml: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command through a real socket; the hosts themselves are not asked, there are none."""
    environment = {
        "HOME": str(home),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "OS_CLIENT_CONFIG_FILE": str(clouds_yaml),
        "OS_CLOUD": "demo",
        "VGPU_CONSOLE_LIBVIRT_ENABLED": "no",
        "VGPU_CONSOLE_SSH_ENABLED": "no",
    }
    return subprocess.run(
        [sys.executable, "-m", "vgpu_console", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
