"""The lab's hosts through the console's host seams, and the whole fleet joined: GPUs, functions, devices, servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.host_tree import DRIVER, KERNEL
from tests.lab.lab import PLAIN_TYPE, SRIOV_TYPE, Lab
from tests.lab.lab_fleet import LabFleet
from tests.lab.node_xml import write_node_file
from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.sources.libvirt_host import LibvirtHostSource
from vgpu_console.sources.ssh_host import SshHostSource

pytestmark = pytest.mark.lab

SRIOV_HOST, PLAIN_HOST = "gpu-01", "gpu-03"


@pytest.fixture
def whole(open_fleet: Callable[..., LabFleet]) -> LabFleet:
    """A console with all its sources."""
    return open_fleet()


@pytest.fixture
def snapshot(whole: LabFleet) -> Snapshot:
    """One joined reading, of which no part failed."""
    made = whole.snapshot()
    assert [(s.key, s.error) for s in made.errors] == []
    return made


def _active_mdevs(lab: Lab, host: str) -> dict[str, tuple[str, str]]:
    return {m["uuid"]: (m["type"], m["parent"]) for m in lab.hosts()[host]["mdevs"] if m["active"]}


@pytest.mark.parametrize("host", ["gpu-01", "gpu-02", "gpu-03"])
def test_real_libvirt_shows_the_lab_host(lab: Lab, host: str, tmp_path: Path) -> None:
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    source = LibvirtHostSource(host, f"test://{write_node_file(lab, host, tmp_path)}", None)
    try:
        facts = source.fetch(None)
    finally:
        source.close()
    truth = lab.hosts()[host]
    assert not facts.skipped
    assert {m.uuid: (m.type_id, m.parent) for m in facts.mdevs} == _active_mdevs(lab, host)
    functions = {d.address: d for d in facts.devices}
    for gpu in truth["gpus"]:
        device = functions[gpu["address"]]
        assert (device.vendor_id, device.product_id) == ("10de", gpu["product_id"])
        if gpu["total_vfs"]:
            assert device.virtual_functions == tuple(gpu["virtual_functions"])
            assert device.max_virtual_functions == gpu["total_vfs"]
            assert {functions[v].physical_function for v in gpu["virtual_functions"]} == {gpu["address"]}
    offered = {(d.address, t.type_id, t.name, t.available_instances) for d in facts.devices for t in d.types}
    assert offered == {(t["address"], t["id"], t["name"], t["available"]) for t in truth["types"]}
    held = {d.uuid: set(d.mdevs) for d in facts.domains}
    assert set().union(*held.values()) == {m for m in _active_mdevs(lab, host) if any(m in d for d in held.values())}
    assert len(held) == len(truth["domains"])


def test_domains_hold_the_devices_of_novas_servers(snapshot: Snapshot, sdk: Any) -> None:
    servers = {s.id: s for s in sdk.compute.servers(all_projects=True)}
    held = {m.server_id: m for m in snapshot.mdevs if m.server_id}
    assert set(held) == set(servers)
    for server_id, mdev in held.items():
        assert mdev.host == servers[server_id].compute_host
        assert mdev.project_id == servers[server_id].project_id
        assert mdev.server == servers[server_id].name
        assert mdev.used is True
        assert mdev.state == "active"


def test_devices_of_the_snapshot_are_those_of_the_hosts(lab: Lab, snapshot: Snapshot) -> None:
    found = {m.uuid: (m.host, m.type_id, m.parent) for m in snapshot.mdevs}
    expected = {
        m["uuid"]: (host, m["type"], m["parent"]) for host, truth in lab.hosts().items() for m in truth["mdevs"]
    }
    assert found == expected


def test_each_device_lies_on_the_provider_that_placement_allocates_from(snapshot: Snapshot, sdk: Any) -> None:
    names = {p.id: p.name for p in sdk.placement.resource_providers()}
    for mdev in snapshot.mdevs:
        if mdev.server_id is None:
            continue
        answer = sdk.placement.get(f"/allocations/{mdev.server_id}").json()
        providers = [p for p, row in answer["allocations"].items() if "VGPU" in row["resources"]]
        assert providers == [mdev.provider_uuid]
        assert names[providers[0]] == f"{mdev.host}_pci_{(mdev.parent or '').replace(':', '_').replace('.', '_')}"


def test_sriov_gpu_is_grouped_from_its_functions(lab: Lab, snapshot: Snapshot) -> None:
    host = snapshot.host(SRIOV_HOST)
    assert host is not None
    assert host.gpus is not None
    assert [g.address for g in host.gpus] == ["0000:41:00.0", "0000:42:00.0"]
    for gpu in host.gpus:
        assert gpu.mechanism == "mdev"
        assert (gpu.vfs_enabled, gpu.vfs_total, gpu.sriov) == (8, 16, True)
        assert gpu.active_type == SRIOV_TYPE
        assert (gpu.vgpus_max, gpu.max_source) == (4, "host")
        assert "A100" in gpu.model
    # Placement counts a vGPU for each virtual function; a GPU carries four of this type.
    assert (host.vfs_enabled, host.vfs_total, host.mdevs_max) == (16, 32, 8)
    created = len(_active_mdevs(lab, SRIOV_HOST))
    assert host.mdevs_created == created
    assert host.mdevs_used == len(lab.hosts()[SRIOV_HOST]["domains"])


def test_plain_gpu_is_its_own_provider(snapshot: Snapshot) -> None:
    host = snapshot.host(PLAIN_HOST)
    assert host is not None
    assert host.gpus is not None
    assert [g.address for g in host.gpus] == ["0000:81:00.0", "0000:82:00.0"]
    for gpu in host.gpus:
        assert (gpu.sriov, gpu.vfs_enabled, gpu.vfs_total) == (False, 0, 0)
        assert (gpu.active_type, gpu.vgpus_max, gpu.max_source) == (PLAIN_TYPE, 4, "host")
        assert gpu.provider_uuid is not None
    assert host.mdevs_max == 8


def test_quota_of_projects(snapshot: Snapshot, sdk: Any) -> None:
    found = {q.project: (q.limit, q.origin, q.used) for q in snapshot.quotas if q.resource == "class:VGPU"}
    used = {}
    for name in ("ml-research", "vdi"):
        project = sdk.identity.find_project(name).id
        answer = sdk.placement.get("/usages", params={"project_id": project}, microversion="1.9").json()
        used[name] = answer["usages"]["VGPU"]
    assert found["ml-research"] == (6, "project", used["ml-research"])
    assert found["vdi"] == (4, "default", used["vdi"])


def test_host_facts_over_the_shell_seam(lab: Lab, whole: LabFleet) -> None:
    source = SshHostSource(PLAIN_HOST, whole.shell)
    facts = source.fetch(None)
    assert source.notes == ()
    assert (facts.kernel, facts.nvidia_driver) == (KERNEL, DRIVER)
    assert (facts.os_id, facts.os_version) == ("rhel", "9.6")
    assert facts.mdev_bus is True
    assert dict(facts.gpu_models) == {"0000:81:00.0": "Tesla T4", "0000:82:00.0": "Tesla T4"}
    found = {
        (t.address, t.type_id, t.name, t.framebuffer_mib, t.max_instances, t.available_instances) for t in facts.types
    }
    assert found == {
        (t["address"], t["id"], t["name"], t["framebuffer_mib"], t["max_instances"], t["available"])
        for t in lab.hosts()[PLAIN_HOST]["types"]
    }


def test_novas_configuration_crosses_without_its_secrets(lab: Lab, whole: LabFleet) -> None:
    facts = SshHostSource(SRIOV_HOST, whole.shell).fetch(None)
    written = (lab.home / "nova" / "nova.conf").read_text()
    assert "password = labpw" in written
    assert "labpw" not in whole.shell.last_output
    assert "sqlite" not in whole.shell.last_output
    assert "transport_url" not in whole.shell.last_output
    assert facts.nova_conf is not None
    assert facts.nova_conf["devices.enabled_mdev_types"] == f"{SRIOV_TYPE},{PLAIN_TYPE}"
    assert facts.nova_conf[f"mdev_{PLAIN_TYPE}.device_addresses"] == "0000:81:00.0,0000:82:00.0"
    assert facts.nova_conf["libvirt.live_migration_downtime"] == "500000"
    assert facts.nova_conf["quota.driver"] == "nova.quota.UnifiedLimitsDriver"


def test_a_device_made_behind_novas_back_is_seen_and_free(lab: Lab, whole: LabFleet) -> None:
    for left in whole.snapshot().mdevs:  # Nova leaves the devices of deleted servers: other tests' may fill the GPU
        if left.host == "gpu-02" and left.used is False and left.state == "active":
            lab.control(f"/hosts/gpu-02/mdevs/{left.uuid}/destroy", {})
            if left.persistent:  # and has defined them, which would keep them as inactive ones
                lab.control(f"/hosts/gpu-02/mdevs/{left.uuid}/undefine", {})
    whole.libvirt.send_events()
    before = whole.snapshot()
    made = lab.control("/hosts/gpu-02/mdevs", {"parent": "0000:42:00.7", "type": SRIOV_TYPE})["uuid"]
    try:
        whole.libvirt.send_events()
        assert whole.nudged.count("gpu-02") >= 1
        after = whole.snapshot()
        mdev = next(m for m in after.mdevs if m.uuid == made)
        assert (mdev.host, mdev.parent, mdev.gpu) == ("gpu-02", "0000:42:00.7", "0000:42:00.0")
        assert (mdev.used, mdev.server_id, mdev.persistent) == (False, None, False)
        was, now = before.host("gpu-02"), after.host("gpu-02")
        assert was is not None
        assert now is not None
        assert now.mdevs_created == (was.mdevs_created or 0) + 1
        assert now.mdevs_used == was.mdevs_used
    finally:
        lab.control(f"/hosts/gpu-02/mdevs/{made}/destroy", {})


def test_a_device_that_is_defined_and_not_active(lab: Lab, whole: LabFleet) -> None:
    made = lab.control("/hosts/gpu-02/mdevs", {"parent": "0000:41:01.3", "type": SRIOV_TYPE, "defined": True})["uuid"]
    try:
        facts = _libvirt_facts(whole, "gpu-02")
        mdev = next(m for m in facts.mdevs if m.uuid == made)
        assert (mdev.active, mdev.persistent, mdev.autostart) == (False, True, False)
        assert next(m for m in whole.snapshot().mdevs if m.uuid == made).state == "defined"
    finally:
        lab.control(f"/hosts/gpu-02/mdevs/{made}/undefine", {})


def _libvirt_facts(fleet: LabFleet, host: str) -> LibvirtFacts:
    return fleet.read().libvirt[host]


def test_a_host_that_cannot_be_reached_keeps_its_last_figures(whole: LabFleet) -> None:
    before = whole.snapshot().host(SRIOV_HOST)
    whole.libvirt.refuse.add(SRIOV_HOST)
    whole.shell.refuse.add(SRIOV_HOST)
    snapshot = whole.snapshot()
    errors = {s.key: s for s in snapshot.errors}
    assert set(errors) == {f"libvirt:{SRIOV_HOST}", f"ssh:{SRIOV_HOST}"}
    assert "refused" in (errors[f"ssh:{SRIOV_HOST}"].error or "")
    host = snapshot.host(SRIOV_HOST)
    assert before is not None
    assert host is not None
    assert host.stale
    assert host.mdevs_used == before.mdevs_used
    assert host.errors
    other = snapshot.host(PLAIN_HOST)
    assert other is not None
    assert not other.stale


def test_a_host_that_was_never_reached_is_unknown_not_zero(open_fleet: Callable[..., LabFleet]) -> None:
    fleet = open_fleet()
    fleet.libvirt.refuse.add(SRIOV_HOST)
    fleet.shell.refuse.add(SRIOV_HOST)
    host = fleet.snapshot().host(SRIOV_HOST)
    assert host is not None
    assert host.service_state == "up"
    assert host.mdevs_created is None
    assert host.vfs_enabled is None
    assert host.driver is None
