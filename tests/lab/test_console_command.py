"""The installed command on the real cloud, as a script would call it; its hosts through libvirt's test driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.node_xml import write_node_file

pytestmark = pytest.mark.lab

COMMAND = Path(sys.executable).with_name("vgpu-console")


class Console:
    """Runs ``vgpu-console`` with a configuration that leads to the lab's hosts."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._config = folder / "config.toml"
        self._config.write_text(
            f'[libvirt]\nuri = "test://{folder}/{{host}}.xml"\n[ssh]\nenabled = false\n', encoding="utf-8"
        )
        for host in lab.hosts():
            write_node_file(lab, host, folder)

    def __call__(self, *arguments: str, cloud: str = "lab-admin") -> subprocess.CompletedProcess[str]:
        """One run; never raises."""
        command = [str(COMMAND), "--config", str(self._config), "--os-cloud", cloud, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))

    def json(self, *arguments: str, cloud: str = "lab-admin") -> list[dict[str, Any]]:
        """The rows of a view."""
        done = self(*arguments, "-o", "json", cloud=cloud)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))


@pytest.fixture
def console(lab: Lab, tmp_path: Path) -> Console:
    """The command on the lab."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    return Console(lab, tmp_path)


def test_hosts(console: Console, lab: Lab) -> None:
    rows = {row["name"]: row for row in console.json("hosts")}
    assert set(rows) == {"gpu-01", "gpu-02", "gpu-03"}
    for name, truth in lab.hosts().items():
        row = rows[name]
        assert (row["service_state"], row["service_status"], row["gpus"]) == ("up", "enabled", 2)
        assert row["mdevs_created"] == sum(m["active"] for m in truth["mdevs"])
        assert row["mdevs_used"] == len(truth["domains"])
    assert (rows["gpu-01"]["vfs_enabled"], rows["gpu-01"]["vfs_total"]) == (16, 32)


def test_servers(console: Console, sdk: Any) -> None:
    found = {(row["id"], row["name"], row["host"], row["status"], row["vgpus"]) for row in console.json("servers")}
    expected = {
        (s.id, s.name, s.compute_host, s.status, 1)
        for s in sdk.compute.servers(all_projects=True)
        if "resources:VGPU" in s.flavor.extra_specs
    }
    assert found == expected


def test_mdevs(console: Console, lab: Lab) -> None:
    found = {(row["uuid"], row["host"], row["parent"], row["type_id"]) for row in console.json("mdevs")}
    assert found == {
        (m["uuid"], host, m["parent"], m["type"])
        for host, truth in lab.hosts().items()
        for m in truth["mdevs"]
        if m["active"]
    }


def test_quota(console: Console) -> None:
    rows = {row["project"]: row for row in console.json("quota")}
    assert (rows["ml-research"]["limit"], rows["ml-research"]["origin"]) == (6, "project")
    assert (rows["vdi"]["limit"], rows["vdi"]["origin"], rows["vdi"]["used"]) == (4, "default", 1)


def test_providers(console: Console, sdk: Any) -> None:
    found = {row["uuid"] for row in console.json("providers")}
    assert found == {p.id for p in sdk.placement.resource_providers()}


def test_snapshot_is_one_document(console: Console) -> None:
    done = console("snapshot")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    assert {host["name"] for host in document["hosts"]} == {"gpu-01", "gpu-02", "gpu-03"}
    assert "labpw" not in done.stdout


@pytest.mark.parametrize("cloud", ["lab-wrong", "no-such-cloud"])
def test_no_connection_is_one_line_and_exit_3(console: Console, cloud: str) -> None:
    done = console("hosts", cloud=cloud)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "not-the-password" not in done.stderr


def test_a_part_that_fails_is_exit_5_with_its_reason(console: Console, lab: Lab) -> None:
    lab.fault("placement", mode="html")
    done = console("hosts", "-o", "json")
    assert done.returncode == 5
    assert "placement" in done.stderr
    assert "<" not in done.stderr
    assert {row["name"] for row in json.loads(done.stdout)} == {"gpu-01", "gpu-02", "gpu-03"}
