"""``mdev types`` and ``mdev list``: what could be created on a host, and which hosts are asked for it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.one_cloud import run
from tests.cli.one_fleet import asked_hosts, opened
from vgpu_console.simulator import DemoCloud

PROMISED = [
    "host",
    "gpu",
    "type_id",
    "type_name",
    "framebuffer_mib",
    "max",
    "max_source",
    "created",
    "used",
    "creatable",
    "why_not",
]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    return opened(monkeypatch)


def types(*arguments: str) -> list[dict[str, Any]]:
    result = run("mdev", "types", *arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_every_type_of_a_host_has_its_room_and_the_reason_under_promised_names(cloud: DemoCloud) -> None:
    found = types("gpu-02", "--gpu", "41:00.0")

    assert [list(row)[: len(PROMISED)] for row in found] == [PROMISED] * 6
    by_name = {row["type_name"]: row for row in found}
    mine = by_name["GRID A100-20C"]
    assert (mine["max"], mine["created"], mine["used"], mine["creatable"], len(mine["functions"])) == (2, 1, 1, 1, 1)
    other = by_name["GRID A100-10C"]
    assert (other["creatable"], other["why_not"].startswith("GPU runs A100-20C; free its 1 mdev")) == (0, True)


def test_a_gpu_whose_virtual_functions_are_off_says_so(cloud: DemoCloud) -> None:
    found = types("gpu-02", "--gpu", "0000:81:00.0")

    assert {(row["creatable"], row["why_not"]) for row in found} == {
        (0, "virtual functions are off: enable them first")
    }


def test_all_gpus_of_the_host_and_no_other_host(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_hosts(cloud, monkeypatch)
    found = types("gpu-05")

    assert {(row["host"], row["gpu"]) for row in found} == {("gpu-05", "0000:41:00.0"), ("gpu-05", "0000:81:00.0")}
    assert asked == {"gpu-05"}


def test_a_vendor_vfio_host_has_the_same_table(cloud: DemoCloud) -> None:
    found = types("gpu-06")

    assert list(found[0])[: len(PROMISED)] == PROMISED
    by_name = {row["type_name"]: (row["max"], row["created"], row["used"], row["creatable"]) for row in found}
    assert by_name["NVIDIA L40S-12Q"] == (4, 3, 2, 1)


def test_the_table_for_eyes(cloud: DemoCloud) -> None:
    result = run("mdev", "types", "gpu-02", "--gpu", "41:00.0")
    head, *rows = [re.split(" {2,}", line.strip()) for line in result.stdout.splitlines()]

    assert head == [name.replace("_", " ").upper() for name in PROMISED]
    assert rows[4] == [
        "gpu-02",
        "0000:41:00.0",
        "nvidia-472",
        "GRID A100-20C",
        "20480",
        "2",
        "host",
        "1",
        "1",
        "1",
        "its maximum is 2, 1 created",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gpu-0l"], 2, "no host is called 'gpu-0l'; is it gpu-0"),
        (["gpu-01", "--gpu", "42:00.0"], 2, "gpu-01 has no GPU at 0000:42:00.0; it has 0000:41:00.0 (A100 PCIe 40GB)"),
        (["gpu-01", "--gpu", "first"], 2, "'first' is no PCI address"),
        (["gpu-04"], 3, "the GPUs of gpu-04 are not known: libvirt: Cannot recv data"),
        ([], 2, "Missing argument 'HOST'"),
    ],
)
def test_what_cannot_be_told_says_why(arguments: list[str], code: int, words: str, cloud: DemoCloud) -> None:
    result = run("mdev", "types", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_the_list_is_the_view_of_devices(cloud: DemoCloud) -> None:
    listed, viewed = (
        run("mdev", "list", "--host", "gpu-03", "-o", "json"),
        run("mdevs", "--host", "gpu-03", "-o", "json"),
    )

    assert listed.stdout == viewed.stdout
    assert len(json.loads(listed.stdout)) == 6
