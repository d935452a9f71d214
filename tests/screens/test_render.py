"""The words in the rows: tables of facts and what an operator reads for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.screens import fleets
from tests.screens.fleets import NOW
from vgpu_console.model.snapshot import Host, LimitOrigin, Migration, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.screens.render import devices, empty, facts, hosts, migrations, quota, servers, words


def change(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


GPU_01 = fleets.six_hosts()[0]
BARE = Host(name="new-01")


@pytest.mark.parametrize(
    ("host", "statuses", "state"),
    [
        (GPU_01, [], ("✓ up", "ok")),
        (change(GPU_01, service_status="disabled"), [], ("! disabled", "warn")),
        (change(GPU_01, service_state="down", stale=True), [], ("✗ down", "fail")),
        (change(GPU_01, stale=True), [fleets.source("libvirt", 41, host="gpu-01", error="x")], ("? 41s", "unknown")),
        (
            change(GPU_01, stale=True),
            [
                fleets.source("libvirt", 300, host="gpu-01", error="x"),
                fleets.source("ssh", None, host="gpu-01", error="y"),
            ],
            ("? 5m", "unknown"),
        ),
        (
            change(GPU_01, stale=True),
            [fleets.source("ssh", None, host="gpu-01", error="y")],
            ("? no answer", "unknown"),
        ),
        (BARE, [], ("? unknown", "unknown")),
    ],
)
def test_host_state(host: Host, statuses: list[SourceStatus], state: tuple[str, str]) -> None:
    assert hosts.host_state(host, statuses, NOW) == state


def host_words(host: Host) -> dict[str, str]:
    row = hosts.host_row(host, hosts.host_state(host, [], NOW))
    return {column.key: cell.text.rstrip() for column, cell in zip(hosts.COLUMNS, row.cells, strict=True)}


def test_a_host_that_only_its_name_is_known_of_shows_no_zero() -> None:
    said = host_words(BARE)
    assert said["gpus"] == said["vfs"] == said["type"] == said["free"] == said["driver"] == "?"
    assert said["used"] == "············  ? / ?"
    assert "0" not in "".join(said[key] for key in ("gpus", "vfs", "type", "used", "free", "created"))


def test_a_host_without_gpus_is_not_unknown() -> None:
    said = host_words(change(GPU_01, gpus=(), mdevs_used=0, mdevs_max=0, vfs_enabled=None, vfs_total=None))
    assert (said["gpus"], said["vfs"], said["type"], said["used"], said["free"]) == ("none", "–", "–", "–", "–")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            0,
            {
                "gpus": "2 × A100 PCIe 40GB",
                "vfs": "32/32",
                "type": "A100-20C",
                "used": "█████████░░░  3 / 4",
                "free": "1",
            },
        ),
        (3, {"vfs": "0/32", "used": "? last 2 / 8", "free": "?", "findings": "1"}),
        (4, {"gpus": "2 × T4", "vfs": "–", "type": "T4-4Q"}),
        (5, {"state": "! disabled", "driver": "570.86.10 vfio"}),
    ],
)
def test_host_row(number: int, expected: dict[str, str]) -> None:
    said = host_words(fleets.six_hosts()[number])
    assert {key: said[key] for key in expected} == expected


def test_hosts_that_do_not_answer_are_not_in_the_sum() -> None:
    assert "".join(text for text, _ in hosts.totals(fleets.fleet())) == (
        "vGPUs 15 used · 11 free · 26 real · 1 host unknown"
    )
    assert hosts.totals(Snapshot(hosts=(BARE,))) == (("vGPUs unknown", "unknown"),)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"active_type_name": "GRID A100-20C"}, "A100-20C"),
        ({"mixed_types": True}, "mixed"),
        ({"active_type_name": None, "vgpus_created": 0}, hosts.NO_TYPE),
        ({"active_type_name": None, "vgpus_created": 3}, "?"),
        ({"active_type_name": None, "vgpus_created": None}, "?"),
        ({"active_type_name": None, "mechanism": "none"}, "–"),
    ],
)
def test_gpu_type(changes: dict[str, Any], expected: str) -> None:
    gpu = (GPU_01.gpus or ())[0]
    assert hosts.gpu_type(change(gpu, **changes)) == expected


@pytest.mark.parametrize(
    ("limit", "origin", "used", "use", "free", "where"),
    [
        (10, "project", 8, "██████░░  8 / 10", "2", "project"),
        (6, "project", 6, "████████  6 / 6", "full", "project"),
        (4, "default", 5, "████████  5 / 4 !", "-1", "default"),
        (0, "default", 0, "░░░░░░░░  0 / 0", "0", "default"),
        (-1, "project", 7, "7 / ∞", "∞", "project"),
        (None, "missing", 1, "1 / –", "∞", "missing → ∞"),
        (None, "unknown", None, "? / ?", "?", "? not visible"),
        (4, "default", None, "········  ? / 4", "?", "default"),
    ],
)
def test_quota_row(limit: int | None, origin: LimitOrigin, used: int | None, use: str, free: str, where: str) -> None:
    row = quota.quota_row(fleets.quota("a1", "ml", limit, origin, used))
    said = {column.key: cell.text.rstrip() for column, cell in zip(quota.COLUMNS, row.cells, strict=True)}
    assert (said["used"], said["free"], said["origin"]) == (use, free, where)


@pytest.mark.parametrize(
    ("word", "said", "free", "panel"),
    [
        ("unlimited", "missing → ∞", "∞", "missing → unlimited"),
        ("zero", "missing → 0", "0", "missing → nothing"),
        ("unknown", "missing → ?", "?", "missing → ?"),
        (None, "missing → ?", "?", "missing → ?"),
    ],
)
def test_a_missing_limit_says_what_that_means_here(word: Any, said: str, free: str, panel: str) -> None:
    missing = change(fleets.quota("a1", "ml", None, "missing", 1), missing_means=word)
    cells = {c.key: cell.text for c, cell in zip(quota.COLUMNS, quota.quota_row(missing).cells, strict=True)}
    assert (cells["origin"], cells["free"]) == (said, free)
    assert quota.panel_row(missing).cells[2].text == panel


@pytest.mark.parametrize(
    ("used", "instances", "migrations", "leaked", "said"),
    [
        (0, 0, 0, 0, "–"),
        (3, 3, 0, 0, "3"),
        (4, 2, 2, 0, "2 +2 moving"),
        (4, 3, 0, 1, "3 +1 leaked"),
        (4, 3, 0, None, "3 ? leaked"),
        (4, None, None, None, "?"),
        (0, None, None, None, "–"),
    ],
)
def test_who_holds_what_is_used(used: int, instances: Any, migrations: Any, leaked: Any, said: str) -> None:
    row = change(
        fleets.quota("a1", "ml", 4, "project", used),
        used_by_instances=instances,
        used_by_migrations=migrations,
        leaked=leaked,
    )
    assert quota.held(row).text == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unlimited": 0}, "promised 34 of 26 real: 131 %"),
        ({}, "promised 34 of 26 real: 131 %, 1 without a limit"),
        ({"capacity": None, "unlimited": 0}, "promised 34 of ? real"),
        ({"promised": None}, "26 real, 1 without a limit"),
        ({"unlimited": 0, "unknown": 2}, "promised 34 of 26 real: 131 %, 2 not known"),
        ({"capacity": 0, "unlimited": 0}, "promised 34 of 0 real"),
    ],
)
def test_promised_against_the_real_maximum(changes: dict[str, Any], said: str) -> None:
    assert "".join(text for text, _ in quota.promised(change(fleets.TOTALS[0], **changes))) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "promised 34 + 1 unlimited of 26 real"),
        ({"promised": None, "capacity": None, "unlimited": 3}, "promised 3 unlimited of ? real"),
        ({"unlimited": 0}, "promised 34 of 26 real: 131 %"),
    ],
)
def test_promised_in_few_words(changes: dict[str, Any], said: str) -> None:
    assert "".join(text for text, _ in quota.promised_briefly(change(fleets.TOTALS[0], **changes))) == said


def test_nothing_is_promised_where_no_totals_are_known() -> None:
    assert quota.promised(None) == ()
    assert quota.totals_of(None, "class:VGPU") is None


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ("class:VGPU", "VGPU"),
        ("class:CUSTOM_L40S_12Q", "L40S_12Q"),
        ("class:CUSTOM_VGPU", "CUSTOM_VGPU"),
        ("servers", "servers"),
    ],
)
def test_a_resource_is_short_but_never_mistaken_for_another(resource: str, said: str) -> None:
    assert quota.resource_word(resource) == said


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, None),
        ({"vgpus": None, "allocated": 3}, None),
        ({"allocated": 0}, "the flavor asks for 1, Placement has 0"),
        ({"vgpus": 2, "allocated": 2}, "the flavor asks for 2, the host gives 1"),
        ({"devices": (), "allocated": None}, None),
    ],
)
def test_a_server_whose_sources_disagree_says_so(changes: dict[str, Any], line: str | None) -> None:
    server = change(fleets.fleet().servers[0], **changes)
    assert servers.disagreement(server) == line
    assert servers.is_fault(server) is (line is not None)


def test_an_unknown_status_of_nova_is_shown_as_it_is() -> None:
    server = change(fleets.fleet().servers[0], status="SHELVED_OFFLOADED")
    assert servers.status(server) == ("· shelved_offloaded", "")
    assert servers.status(change(server, status=None)) == ("? unknown", "unknown")


def _migration(**changes: Any) -> Migration:
    return msgspec.structs.replace(fleets.fleet().migrations[0], **changes)


def test_migrations_show_ram_and_never_a_made_up_progress() -> None:
    assert migrations.ram(_migration()).text == " 68 % ████████░░░░"
    assert migrations.ram(_migration(progress=None)).text == "? not reported"
    assert migrations.ram(_migration(running=False, status="completed")).text == ""
    assert migrations.status(_migration(running=False, status="completed")) == ("✓ completed", "ok")
    assert migrations.status(_migration(running=False, status="something new")) == ("· something new", "")
    assert migrations.route(_migration(destination=None)) == "gpu-02 → ?"


def test_running_migrations_come_first_then_the_latest() -> None:
    ended = [
        _migration(uuid=f"e{i}", running=False, status="completed", updated_at=f"2026-09-2{i}T00:00:00Z")
        for i in (1, 3, 2)
    ]
    shown = migrations.in_order(fleets.fleet(migrations=(*ended, _migration(uuid="now", updated_at=None))))
    assert [m.uuid for m in shown] == ["now", "e3", "e2", "e1"]


def test_the_strip_says_what_nova_cannot_and_how_many_more() -> None:
    moving = tuple(_migration(uuid=str(i)) for i in range(5))
    lines = migrations.strip_lines(fleets.fleet(migrations=moving), 2)
    said = ["".join(text for text, _ in line) for line in lines]
    assert len(said) == 6
    assert said[4] == "and 3 more: 4"
    assert said[5] == "vGPU device state: no API reports it"


def _tree(host: Host, opened: set[str] | None = None, **changes: Any) -> list[tuple[str, str, str]]:
    snapshot = fleets.fleet(**changes)
    rows = devices.device_tree(snapshot, host, opened or set()).rows
    return [(row.cells[0].text, row.cells[2].text, row.cells[3].text.rstrip()) for row in rows]


def test_devices_are_indented_below_their_gpu() -> None:
    assert _tree(fleets.six_hosts()[1])[:4] == [
        ("0000:41:00.0 A100 PCIe 40GB", "VFs 16/16", "████░░░░  1 / 2"),
        ("  0000:41:00.4", "VF", ""),
        (f"    {fleets.mdev_uuid('gpu-02', 0, 0)}", "✓ active", "vm-ml-res-200"),
        ("  15 idle VFs  00.5 … 02.3", "· idle", "can take A100-20C"),
    ]


def test_an_unfolded_function_names_the_type_as_everybody_calls_it() -> None:
    rows = _tree(fleets.six_hosts()[1], {"0000:41:00.0"})
    assert rows[3] == ("  0000:41:00.5", "· idle", "can take A100-20C")


def test_a_gpu_without_sriov_has_its_vgpus_directly_below() -> None:
    rows = _tree(fleets.six_hosts()[4])
    assert rows[0][:2] == ("0000:41:00.0 T4", "mdev")
    assert rows[1] == (f"  {fleets.mdev_uuid('gpu-05', 0, 0)}", "✓ active", "vm-ml-res-500")


def test_on_vendor_vfio_the_function_is_the_device() -> None:
    host = fleets.six_hosts()[5]
    tree = devices.device_tree(fleets.fleet(), host)
    assert tree.rows[0].cells[0].text == "0000:41:00.0 L40S vendor VFIO"
    assert tree.rows[1].id == "vgpu:0000:41:00.4"
    assert tree.servers["vgpu:0000:41:00.4"] == fleets.server_id(600)
    assert [row.id for row in tree.rows if row.id.startswith("vf:")] == []


@pytest.mark.parametrize(
    ("changes", "holder"),
    [
        ({"server": None, "server_id": None, "used": False}, "free"),
        ({"server": None, "server_id": None, "used": None}, "? not readable"),
        ({"server": None, "server_id": None, "used": True}, "a guest not in Nova"),
        ({"server": None, "server_id": None, "used": True, "domain": "instance-0001"}, "instance-0001 (domain)"),
        ({"server": None}, fleets.server_id(100)),
    ],
)
def test_who_holds_a_device(changes: dict[str, Any], holder: str) -> None:
    device = change(fleets.fleet().mdevs[0], **changes)
    assert _tree(GPU_01, mdevs=(device,))[2][2] == holder


def test_a_device_whose_gpu_is_gone_is_shown_as_lost() -> None:
    device = change(fleets.fleet().mdevs[0], parent=None, gpu=None, state="defined")
    rows = _tree(GPU_01, mdevs=(device,))
    assert rows[-2][0] == "no GPU found for"
    assert rows[-1][:2] == (f"  {device.uuid}", "· defined")


def test_facts_begin_with_what_needs_an_eye() -> None:
    snapshot = fleets.fleet()
    lines = ["".join(text for text, _ in line) for line in facts.host_facts(snapshot.hosts[3], snapshot, NOW)]
    assert lines[:3] == [
        "✗ no virtual function is enabled",
        "? libvirt: no answer within 5 s",
        "? ssh: no route to host",
    ]
    assert "libvirt   ✗ no answer within 5 s (last answer 41s ago; next try in 4s)" in lines
    assert facts.host_facts(BARE, Snapshot(hosts=(BARE,)), NOW)[1] == (("driver    ", "muted"), ("?", "unknown"))


SOURCES = fleets.fleet().sources[:3]


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        (None, "asking nova and placement …"),
        (Snapshot(sources=(SourceStatus(kind="nova"), SOURCES[1])), "no answer from nova yet"),
        (
            fleets.all_down(),
            "unknown: nova: connection refused: https://prod.example:8774; placement: connection refused: https://prod.example:8778",
        ),
        (Snapshot(sources=SOURCES), "no server asks for a vGPU or holds one"),
        (
            Snapshot(sources=(fleets.source("nova", 60, error="502"), SOURCES[1])),
            "no server asks for a vGPU or holds one (as of nova's last answer; now it says: 502)",
        ),
        (
            Snapshot(sources=(change(SOURCES[0], notes=("only this project's servers are visible",)),)),
            "no server asks for a vGPU or holds one (only this project's servers are visible)",
        ),
    ],
)
def test_why_there_is_no_server(snapshot: Snapshot | None, why: str) -> None:
    assert empty.why_no_servers(snapshot) == why


def test_why_a_host_has_no_devices() -> None:
    assert empty.why_no_devices(Snapshot(), "gpu-09") == "no source knows gpu-09 any more"
    assert empty.why_no_devices(Snapshot(hosts=(BARE,)), "new-01") == "no answer from this host yet"
    failed = Snapshot(hosts=(BARE,), sources=(fleets.source("libvirt", None, host="new-01", error="refused"),))
    assert empty.why_no_devices(failed, "new-01") == "unknown: libvirt: refused"
    none = Snapshot(hosts=(change(BARE, gpus=()),))
    assert empty.why_no_devices(none, "new-01") == "libvirt answered: this host has no GPU that can make vGPUs"


def test_all_down_needs_every_source_to_have_failed_and_none_to_have_answered() -> None:
    assert empty.all_down(fleets.all_down())
    assert not empty.all_down(None)
    assert not empty.all_down(Snapshot())
    one_waits = (*fleets.all_down().sources[:2], SourceStatus(kind="keystone"))
    assert not empty.all_down(Snapshot(sources=one_waits))
    one_answered = (*fleets.all_down().sources[:2], fleets.source("keystone", 500, error="gone"))
    assert not empty.all_down(Snapshot(sources=one_answered))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("GRID A100-20C", "A100-20C"),
        ("NVIDIA A40-8Q", "A40-8Q"),
        ("NVIDIA H200X-1-18C", "H200X-1-18C"),
        ("mtty", "mtty"),
    ],
)
def test_short_type(given: str, expected: str) -> None:
    assert words.short_type(given) == expected


def test_block_keeps_lines_and_tabs_only() -> None:
    assert words.block("a\tb\nc\x1b[31m\r\u202e") == "a\tb\nc·[31m··"
