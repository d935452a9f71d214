"""``nova-conf``: what a host's nova.conf makes of its GPUs, and the lines that would be true."""

from __future__ import annotations

import configparser
import json
from typing import Any

import pytest

from tests.cli.one_cloud import run
from tests.cli.one_fleet import Sent, asked_hosts, opened, watched
from vgpu_console.simulator import DemoCloud


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    return opened(monkeypatch)


def sides(*hosts: str) -> list[dict[str, Any]]:
    result = run("nova-conf", *hosts, "-o", "json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_each_gpu_has_its_arithmetic(cloud: DemoCloud) -> None:
    [side] = sides("gpu-03")

    assert list(side)[:4] == ["host", "rows", "types", "snippet"]
    [row] = side["rows"]
    assert (row["type_name"], row["functions"][:1], row["max"], row["real"]) == (
        "NVIDIA A40-8Q",
        ["0000:41:00.4"],
        6,
        6,
    )
    assert row["over_reported"] == row["placement_total"] - row["real"]
    assert f"{row['over_reported']} more than can start" in row["verdict"]


def test_the_lines_name_as_many_functions_as_the_gpu_carries(cloud: DemoCloud) -> None:
    result = run("nova-conf", "gpu-01", "--snippet")
    conf = configparser.ConfigParser()
    conf.read_string(result.stdout)

    assert result.exit_code == 0, result.stderr
    assert conf["devices"]["enabled_mdev_types"] == "nvidia-472"
    assert len(conf["mdev_nvidia-472"]["device_addresses"].split(",")) == 4  # two GPUs of two each


def test_vendor_vfio_gets_device_specs(cloud: DemoCloud) -> None:
    text = run("nova-conf", "gpu-06", "--snippet").stdout

    assert text.count("\ndevice_spec = ") == 3
    assert '"managed": "no"' in text
    assert "[pci]" in text


def test_the_table_and_then_the_lines(cloud: DemoCloud) -> None:
    lines = run("nova-conf", "gpu-03").stdout.splitlines()

    assert lines[0].split()[:4] == ["HOST", "GPU", "TYPE", "IN"]
    assert lines[1].startswith("gpu-03  0000:41:00.0  NVIDIA A40-8Q")
    assert "[mdev_nvidia-562]" in lines


def test_it_is_printed_and_nothing_is_sent_and_no_other_host_is_asked(
    cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Sent] = watched(cloud, monkeypatch)
    asked = asked_hosts(cloud, monkeypatch)
    run("nova-conf", "gpu-01", "gpu-03")

    assert (sent, asked) == ([], {"gpu-01", "gpu-03"})


@pytest.mark.parametrize(
    ("hosts", "code", "words"),
    [
        (["gpu-3"], 2, "no host is called 'gpu-3'"),
        (["gpu-04"], 5, "not known, for want of an answer: gpu-04"),
        ([], 5, "not known, for want of an answer: gpu-04"),
    ],
)
def test_what_cannot_be_told_says_why(hosts: list[str], code: int, words: str, cloud: DemoCloud) -> None:
    result = run("nova-conf", *hosts)

    assert result.exit_code == code
    assert words in result.stderr


def test_an_unread_nova_conf_is_unknown_and_no_pass(cloud: DemoCloud) -> None:
    cloud.faults.ssh["gpu-03"] = "auth"
    result = run("nova-conf", "gpu-03", "-o", "json")

    assert result.exit_code == 5
    [side] = json.loads(result.stdout)
    assert {row["configured"] for row in side["rows"]} == {None}
    assert {row["state"] for row in side["rows"]} == {"unknown"}
