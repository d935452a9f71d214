"""The doctor on the real cloud: what real Nova and Placement come to, told as what it is, and mended as it says."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.lab.lab import IMAGE, SRIOV_TYPE, Lab, until
from tests.lab.lab_fleet import LabFleet
from vgpu_console.model.snapshot import Finding

pytestmark = pytest.mark.lab

Opener = Callable[..., LabFleet]

TRAIT = "CUSTOM_NVIDIA_A100_10C"


def _told(fleet: LabFleet, diagnosis: str) -> list[Finding]:
    """What is found of one diagnosis, read anew twice: at once, a stranger could be a server that is being made."""
    fleet.read()
    return [f for f in fleet.snapshot().findings if f.id == diagnosis]


def _one(fleet: LabFleet, diagnosis: str) -> Finding:
    (finding,) = _told(fleet, diagnosis)
    return finding


def _provider(sdk: Any, name: str) -> Any:
    return next(p for p in sdk.placement.resource_providers() if p.name == name)


def _traits(sdk: Any, provider_id: str, names: list[str]) -> None:
    path = f"/resource_providers/{provider_id}/traits"
    body = {
        "traits": names,
        "resource_provider_generation": sdk.placement.get(path).json()["resource_provider_generation"],
    }
    assert sdk.placement.put(path, json=body).ok


@contextmanager
def _by_hand(sdk: Any, host: str, resource_class: str, total: int, traits: list[str]) -> Iterator[str]:
    """A provider under a host of a device that the host has not, as Nova leaves one when a card goes."""
    root = _provider(sdk, host)
    placement, made = sdk.placement, str(uuid.uuid4())
    for name in (resource_class, *traits):
        kind = "resource_classes" if name == resource_class else "traits"
        if name.startswith("CUSTOM_"):
            assert placement.put(f"/{kind}/{name}").ok
    body = {"name": f"{host}_pci_0000_e2_00_4", "uuid": made, "parent_provider_uuid": root.id}
    assert placement.post("/resource_providers", json=body).ok
    inventory = {resource_class: {"total": total}}
    path = f"/resource_providers/{made}/inventories"
    assert placement.put(path, json={"inventories": inventory, "resource_provider_generation": 0}).ok
    _traits(sdk, made, traits)
    try:
        yield made
    finally:
        assert placement.delete(f"/resource_providers/{made}").ok


@contextmanager
def _flavor(sdk: Any, name: str, specs: dict[str, str]) -> Iterator[str]:
    made = sdk.compute.create_flavor(name=name, ram=1024, vcpus=1, disk=1)
    sdk.compute.create_flavor_extra_specs(made, specs)
    try:
        yield made.id
    finally:
        sdk.compute.delete_flavor(made)


def _ask(lab: Lab, flavor: str, name: str) -> str:
    """A member asks for a server."""
    made = lab.connect("lab-member").compute.create_server(name=name, flavor_id=flavor, image_id=IMAGE, networks="none")
    return str(made.id)


def _failed(sdk: Any, server_id: str) -> Any:
    """The server, once Nova has given it up."""

    def ended() -> Any:
        server = sdk.compute.get_server(server_id)
        return server if server.status in ("ERROR", "ACTIVE") else None

    server = until(ended, f"{server_id} is ACTIVE or in ERROR")
    assert server.status == "ERROR", "Nova found a way"
    return server


def _over_reported(lab: Lab, host: str) -> str | None:
    """What is to be told of a host's two GPUs: of one that is full Nova offers no more than its devices.

    It may be full of devices that Nova keeps of other tests' servers.
    """
    lab.control(f"/hosts/{host}/update", {})
    active = [m["parent"] for m in lab.hosts()[host]["mdevs"] if m["active"]]
    gpus = sum(sum(parent.startswith(bus) for parent in active) < 4 for bus in ("0000:41", "0000:42"))
    return (
        None,
        "Placement offers 8 vGPUs, A100-10C allows 4 on this GPU: 4 over-reported",
        "Placement offers 2 × 8 = 16 A100-10C, 2 × 4 = 8 fit on these GPUs: 8 over-reported",
    )[gpus]


def test_what_is_well_is_not_told_and_functions_beyond_the_maximum_are(lab: Lab, open_fleet: Opener) -> None:
    expected = {host: words for host in ("gpu-01", "gpu-02") if (words := _over_reported(lab, host))}
    fleet = open_fleet()
    fleet.read()
    findings = fleet.snapshot().findings
    found = {(f.id, f.host) for f in findings}
    over = {f.host: f.message for f in findings if f.id == "capacity-over-reported"}
    assert {host: message.partition(";")[0] for host, message in over.items()} == expected
    ours = (
        "ghost",
        "provider",
        "trait",
        "cap-",
        "allocation",
        "flavor",
        "types",
        "error",
        "guest",
        "migration",
        "mdev-may",
    )
    assert not [f for f in found if f[0].startswith(ours)]


def test_a_provider_without_a_device_is_found_and_a_server_sent_there_cannot_boot(
    lab: Lab, open_fleet: Opener, sdk: Any
) -> None:
    fleet = open_fleet()
    with _by_hand(sdk, "gpu-02", "VGPU", 1, ["CUSTOM_GHOST"]) as made:
        finding = _one(fleet, "ghost-provider")
        assert (finding.host, "0000:e2:00.4" in finding.message) == ("gpu-02", True)
        assert finding.command == f"openstack resource provider delete {made}"
        specs = {"resources:VGPU": "1", "trait:CUSTOM_GHOST": "required"}
        with _flavor(sdk, "ghostly", specs) as flavor:
            server_id = _ask(lab, flavor, "hopeless")
            try:
                _failed(sdk, server_id)
                assert not _told(fleet, "flavor-trait-nowhere")
            finally:
                lab.delete(server_id)
    assert not _told(fleet, "ghost-provider")


def test_a_leak_of_a_custom_class_is_found_which_novas_own_audit_does_not_look_at(
    lab: Lab, open_fleet: Opener, sdk: Any
) -> None:
    fleet = open_fleet(hosts=False)
    project = sdk.identity.find_project("vdi").id
    stranger = str(uuid.uuid4())
    with _by_hand(sdk, "gpu-03", "CUSTOM_LAB_VGPU", 2, []) as made:
        body = {
            "allocations": {made: {"resources": {"CUSTOM_LAB_VGPU": 1}}},
            "project_id": project,
            "user_id": "nobody",
            "consumer_generation": None,
            "consumer_type": "MIGRATION",
        }
        assert sdk.placement.put(f"/allocations/{stranger}", json=body).ok
        try:
            finding = _one(fleet, "usage-leaked")
            assert stranger in finding.object
            assert "project vdi" in finding.message
            assert "nova-manage placement audit does not look at custom classes" in finding.why
            audited = lab.nova_manage("placement", "audit", "--verbose")
            assert stranger not in audited.stdout
            assert audited.returncode == 0, audited.stdout
        finally:
            assert sdk.placement.delete(f"/allocations/{stranger}").ok
    assert not _told(fleet, "usage-leaked")


def test_a_lost_trait_is_found_and_its_command_gives_it_back(open_fleet: Opener, sdk: Any) -> None:
    fleet = open_fleet()
    name = next(p.name for p in sdk.placement.resource_providers() if p.name.startswith("gpu-02_pci_"))
    provider = _provider(sdk, name)
    path = f"/resource_providers/{provider.id}/traits"
    before = sorted(sdk.placement.get(path).json()["traits"])
    _traits(sdk, provider.id, [t for t in before if not t.startswith("CUSTOM_")])
    try:
        finding = _one(fleet, "trait-lost")
        assert (finding.host, TRAIT in finding.message, "a100-10c" in finding.message) == ("gpu-02", True, True)
        words = shlex.split(finding.command)
        assert words[-1] == provider.id
        _traits(sdk, words[-1], [words[n + 1] for n, w in enumerate(words) if w == "--trait"])
        assert sorted(sdk.placement.get(path).json()["traits"]) == before
        assert not _told(fleet, "trait-lost")
    finally:
        _traits(sdk, provider.id, before)


NEVER: dict[str, dict[str, str]] = {
    # the T4s give four at once: on them alone a group of two is possible
    "flavor-asks-too-many": {"resources:VGPU": "2", f"trait:{TRAIT}": "required"},
    "flavor-without-group-policy": {"resources1:VGPU": "1", "resources2:VGPU": "1"},
    "flavor-trait-nowhere": {"resources:VGPU": "1", "trait:CUSTOM_GHOST": "required"},
    "flavor-class-nowhere": {"resources:CUSTOM_LAB_VGPU": "1"},
}


def test_flavors_that_never_find_a_host_are_told_with_who_asked(lab: Lab, open_fleet: Opener, sdk: Any) -> None:
    sdk.placement.put("/traits/CUSTOM_GHOST")
    sdk.placement.put("/resource_classes/CUSTOM_LAB_VGPU")
    with ExitStack() as stack:
        flavors = {id_: stack.enter_context(_flavor(sdk, f"never-{id_}", specs)) for id_, specs in NEVER.items()}
        asked = {id_: _ask(lab, flavor, f"asks-{id_}") for id_, flavor in flavors.items()}
        for server_id in asked.values():
            stack.callback(lab.delete, server_id)
        servers = {id_: _failed(sdk, server_id) for id_, server_id in asked.items()}
        fleet = open_fleet()
        fleet.read()
        found = {f.object: f for f in fleet.snapshot().findings if f.id.startswith("flavor-")}
        assert {f.removeprefix("flavor never-"): one.id for f, one in found.items()} == {id_: id_ for id_ in NEVER}
        for id_, server in servers.items():
            assert f"server asks-{id_} ({server.id})" in found[f"flavor never-{id_}"].message
            assert "No valid host" in server.fault["message"]


def test_an_allocation_on_another_host_is_found(open_fleet: Opener, sdk: Any) -> None:
    fleet = open_fleet()
    server = next(s for s in sdk.compute.servers(all_projects=True) if s.name == "train-1")
    other = {"gpu-01": "gpu-02", "gpu-02": "gpu-01"}[server.compute_host]
    path = f"/allocations/{server.id}"
    before = sdk.placement.get(path).json()
    held = {id: {"resources": a["resources"]} for id, a in before["allocations"].items()}
    free = next(
        p
        for p in sdk.placement.resource_providers()
        if p.name.startswith(f"{other}_pci_")
        and not sdk.placement.get(f"/resource_providers/{p.id}/allocations").json()["allocations"]
    )

    def put(allocations: dict[str, Any]) -> None:
        now = sdk.placement.get(path).json()
        body = {key: now[key] for key in ("project_id", "user_id", "consumer_generation")}
        # as Nova writes: with a microversion that knows no type of consumers
        assert sdk.placement.put(path, json=body | {"allocations": allocations}, microversion="1.28").ok

    put(held | {free.id: {"resources": {"VGPU": 1}}})
    try:
        finding = _one(fleet, "allocation-on-other-host")
        assert f"holds 1 on {other} and is on {server.compute_host}" in finding.message
        assert f"server train-1 ({server.id}) of project ml-research" in finding.objects
    finally:
        put(held)
    assert not _told(fleet, "allocation-on-other-host")


def test_a_function_that_is_offered_twice_is_found(lab: Lab, open_fleet: Opener, sdk: Any) -> None:
    fleet = open_fleet()
    parent = "0000:42:00.7"
    made = lab.control("/hosts/gpu-02/mdevs", {"parent": parent, "type": SRIOV_TYPE, "defined": True})["uuid"]
    try:
        lab.control("/hosts/gpu-02/update", {})
        finding = _one(fleet, "provider-counts-inactive")
        assert finding.object == "provider gpu-02_pci_0000_42_00_7"
        assert "offers 2 VGPU on one virtual function" in finding.message
        assert finding.command == f"vgpu-console mdev start gpu-02 {made}"
    finally:
        lab.control(f"/hosts/gpu-02/mdevs/{made}/undefine", {})
        lab.control("/hosts/gpu-02/update", {})
    assert not _told(fleet, "provider-counts-inactive")


def test_a_server_in_error_whose_guest_runs_is_found_and_its_reset_mends_it(
    lab: Lab, open_fleet: Opener, sdk: Any
) -> None:
    """As real libvirt ends a failed migration; while it runs nothing is told."""
    fleet = open_fleet()
    server = lab.boot("mover", "a100-10c")
    try:
        target = {"gpu-01": "gpu-02", "gpu-02": "gpu-01"}[server.compute_host]
        lab.control("/migration", {"seconds": 4, "mode": "fail", "raise": True})
        sdk.compute.live_migrate_server(server, host=target, block_migration="auto")
        ours = ("error-", "guest-", "allocation-", "migration-", "server-left", "usage-leaked", "fault-")
        until(lambda: sdk.compute.get_server(server.id).status == "MIGRATING", "it is under way", 20)
        early = [f for f in fleet.snapshot().findings if f.id.startswith(ours)]
        assert not early
        until(lambda: sdk.compute.get_server(server.id).status == "ERROR", "Nova puts it into ERROR", 40)
        finding = _one(fleet, "error-while-guest-runs")
        assert f"is in ERROR, and its guest runs on {server.compute_host}" in finding.message
        assert finding.command == f"vgpu-console migrate reset {server.id}"
        sdk.compute.reset_server_state(server, "active")
        assert not _told(fleet, "error-while-guest-runs")
    finally:
        lab.delete(server.id)


def test_a_nova_compute_that_is_down_on_a_host_that_answers_is_found(lab: Lab, open_fleet: Opener, sdk: Any) -> None:
    fleet = open_fleet()
    lab.control("/hosts/gpu-03/stop", {})
    try:
        service = next(s for s in sdk.compute.services(binary="nova-compute") if s.host == "gpu-03").id
        until(
            lambda: next(s for s in sdk.compute.services(binary="nova-compute") if s.id == service).state == "down",
            "Nova takes it for down",
            90,
        )
        finding = _one(fleet, "compute-not-started")
        assert (finding.host, "Placement still offers" in finding.message) == ("gpu-03", True)
    finally:
        lab.control("/hosts/gpu-03/start", {})
        until(
            lambda: next(s for s in sdk.compute.services(binary="nova-compute") if s.id == service).state == "up",
            "it is up again",
            60,
        )
