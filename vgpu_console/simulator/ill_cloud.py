"""Illnesses of the cloud's services: Placement's providers and allocations, Nova's flavors, hosts and capacity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from vgpu_console.simulator import ill_moves
from vgpu_console.simulator.providers import Inventory, Provider

if TYPE_CHECKING:
    from vgpu_console.simulator.cloud import DemoCloud
    from vgpu_console.simulator.hosts import Host
    from vgpu_console.simulator.state import Server

OWN = "OWNER_NOVA"
A40 = {"trait:CUSTOM_A40_8Q": "required"}


def _host(cloud: DemoCloud, name: str) -> Host:
    return cloud.state.hosts[name]


def _server(cloud: DemoCloud, name: str) -> Server:
    return next(s for s in cloud.state.servers.values() if s.name == name)


def _devices(cloud: DemoCloud, name: str) -> Iterator[Provider]:
    """The providers of a host's devices."""
    for provider in cloud.state.placement.trees[_host(cloud, name).root_uuid].values():
        if provider.device:
            yield provider


# -- providers ---------------------------------------------------------------------------------------------------------


def ghost_provider(cloud: DemoCloud) -> None:
    """A card moved to another slot: what Nova had made of a function of it stays."""
    host = _host(cloud, "gpu-04")
    name = f"{host.name}_pci_0000_e2_00_4"
    gone = Provider(cloud.state.new_uuid(), name, root=host.root_uuid, host=host.name, device="0000:e2:00.4")
    cloud.state.placement.add(gone)
    cloud.state.placement.set_inventories(gone, {"VGPU": Inventory(1)})
    cloud.state.placement.set_traits(gone, {OWN, "CUSTOM_A40_8Q"})


def provider_undeletable(cloud: DemoCloud) -> None:
    """A function that a server holds was taken out of device_addresses."""
    gpu = _host(cloud, "gpu-03").gpus[0]
    used = next(p.device for p in _devices(cloud, "gpu-03") if p.allocations)
    gpu.named = tuple(function for function in gpu.novas_functions() if function != used)
    cloud.compute.device_changed(gpu.host)


def provider_counts_inactive(cloud: DemoCloud) -> None:
    """A device was defined by hand on a function that Nova offers, and not started."""
    gpu = _host(cloud, "gpu-04").gpus[0]
    gpu.create(cloud.state.new_uuid(), gpu.enabled[0].type_id, gpu.novas_functions()[0], persistent=True, active=False)
    cloud.compute.device_changed(gpu.host)


def trait_lost(cloud: DemoCloud) -> None:
    """Nova deleted a provider and made it anew."""
    free = next(p for p in _devices(cloud, "gpu-04") if not p.allocations)
    cloud.state.placement.set_traits(free, {OWN})


# -- capacity ----------------------------------------------------------------------------------------------------------


def _all_functions(cloud: DemoCloud, name: str, trait: str) -> None:
    """nova.conf names no functions any more: each one counts, and has the operator's trait."""
    host = _host(cloud, name)
    for gpu in host.gpus:
        gpu.named = None
    cloud.compute.update_inventories(host)
    for provider in _devices(cloud, name):
        cloud.state.placement.set_traits(provider, {OWN, trait})


def capacity_over_reported(cloud: DemoCloud) -> None:
    """Neither device_addresses nor max_instances: a vGPU for each virtual function."""
    _all_functions(cloud, "gpu-04", "CUSTOM_A40_8Q")


def _cap(cloud: DemoCloud, name: str, number: int) -> Host:
    host = _host(cloud, name)
    host.max_instances = {host.gpus[0].enabled[0].type_id: number}
    cloud.compute.device_changed(host)
    return host


def capacity_stranded(cloud: DemoCloud) -> None:
    """What one GPU carries was taken for the cap, on a host of two."""
    _cap(cloud, "gpu-01", 2)


def cap_below_use(cloud: DemoCloud) -> None:
    """The cap was lowered under two servers."""
    _cap(cloud, "gpu-02", 1)


def cap_order_unstable(cloud: DemoCloud) -> None:
    """The cap is right, and the functions are left to libvirt's order."""
    _cap(cloud, "gpu-03", 6)
    _all_functions(cloud, "gpu-03", "CUSTOM_A40_8Q")


# -- allocations -------------------------------------------------------------------------------------------------------


def allocation_on_other_host(cloud: DemoCloud) -> None:
    """A server is on gpu-03, and its vGPU in Placement is of gpu-04: somebody wrote its allocations by hand."""
    server = _server(cloud, "desk-01")
    placement = cloud.state.placement
    free = next(p for p in _devices(cloud, "gpu-04") if not p.allocations)
    held = {
        uuid: dict(resources)
        for uuid, resources in placement.consumers[server.id].allocations.items()
        if not placement.providers[uuid].device
    }
    placement.allocate(server.id, held | {free.uuid: {"VGPU": 1}}, server.project_id, server.user_id)


# -- flavors -----------------------------------------------------------------------------------------------------------


def _flavor(cloud: DemoCloud, name: str, specs: Mapping[str, str]) -> None:
    cloud.builder.flavor(name, 16384, 8, 60, specs)


def flavor_asks_too_many(cloud: DemoCloud) -> None:
    """Two at once, of devices that give one each."""
    _flavor(cloud, "desktop.two", {"resources:VGPU": "2", **A40})


def flavor_without_group_policy(cloud: DemoCloud) -> None:
    """Two groups, and nothing says whether they may share a device."""
    _flavor(cloud, "desktop.two", {"resources1:VGPU": "1", "resources2:VGPU": "1"})


def flavor_needs_newer_nova(cloud: DemoCloud) -> None:
    """Two groups on a Nova of 2025.2."""
    cloud.state.compute_max = (2, 100)
    _flavor(cloud, "desktop.two", {"resources1:VGPU": "1", "resources2:VGPU": "1", "group_policy": "none"})


def flavor_trait_nowhere(cloud: DemoCloud) -> None:
    """A trait that was misspelled."""
    _flavor(cloud, "desktop.a40-8q.new", {"resources:VGPU": "1", "trait:CUSTOM_A40_8_Q": "required"})


def flavor_class_nowhere(cloud: DemoCloud) -> None:
    """A class of boards that are ordered and not there yet; its limit is registered already."""
    cloud.builder.default_limits({"class:CUSTOM_H100_10C": 0})
    _flavor(cloud, "train.h100-10c", {"resources:CUSTOM_H100_10C": "1"})


def types_not_told_apart(cloud: DemoCloud) -> None:
    """A second GPU with another type, no trait on either, and a flavor that asks for any vGPU."""
    host = _host(cloud, "gpu-04")
    gpu = cloud.builder.gpu(host, "A40", ("A40-16Q",))
    gpu.named = gpu.functions()[:3]
    cloud.compute.update_inventories(host)
    for provider in _devices(cloud, "gpu-04"):
        cloud.state.placement.set_traits(provider, {OWN})
    _flavor(cloud, "desktop.any", {"resources:VGPU": "1"})


# -- hosts -------------------------------------------------------------------------------------------------------------


def compute_not_started(cloud: DemoCloud) -> None:
    """nova-compute failed at its start; the process is there."""
    _host(cloud, "gpu-04").up = False


def host_auto_disabled(cloud: DemoCloud) -> None:
    """Ten builds failed there, one after the other."""
    host = _host(cloud, "gpu-04")
    host.status, host.disabled_reason = "disabled", "Auto-disabled due to 10 build failures"
    host.disabled_at = cloud.state.now


ILL: dict[str, Callable[[DemoCloud], None]] = {
    "ghost-provider": ghost_provider,
    "provider-undeletable": provider_undeletable,
    "provider-counts-inactive": provider_counts_inactive,
    "trait-lost": trait_lost,
    "capacity-over-reported": capacity_over_reported,
    "capacity-stranded": capacity_stranded,
    "cap-below-use": cap_below_use,
    "cap-order-unstable": cap_order_unstable,
    "allocation-on-other-host": allocation_on_other_host,
    "flavor-asks-too-many": flavor_asks_too_many,
    "flavor-without-group-policy": flavor_without_group_policy,
    "flavor-needs-newer-nova": flavor_needs_newer_nova,
    "flavor-trait-nowhere": flavor_trait_nowhere,
    "flavor-class-nowhere": flavor_class_nowhere,
    "types-not-told-apart": types_not_told_apart,
    "compute-not-started": compute_not_started,
    "host-auto-disabled": host_auto_disabled,
    **ill_moves.ILL,
}
"""Diagnosis -> what makes the healthy fleet ill of it."""
