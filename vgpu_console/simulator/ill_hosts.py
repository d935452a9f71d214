"""Illnesses of hosts and their devices: functions, mediated devices, domains, nova.conf against what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu_console.simulator.file_tree import possible_vfs
from vgpu_console.simulator.hosts import Gpu, Guest, Host, Mdev
from vgpu_console.simulator.state import Server

if TYPE_CHECKING:
    from vgpu_console.simulator.cloud import DemoCloud

SPARE = 10
"""A virtual function that nova.conf does not name: what is made there by hand concerns no provider."""


def _host(cloud: DemoCloud, name: str) -> Host:
    return cloud.state.hosts[name]


def _gpu(cloud: DemoCloud, name: str, index: int = 0) -> Gpu:
    return _host(cloud, name).gpus[index]


def _server(cloud: DemoCloud, name: str) -> Server:
    return next(s for s in cloud.state.servers.values() if s.name == name)


def _made(cloud: DemoCloud, gpu: Gpu, type_name: str, function: int = SPARE, *, active: bool = True) -> Mdev:
    """A device that somebody made by hand."""
    kind = gpu.board.type(type_name)
    mdev = gpu.create(cloud.state.new_uuid(), kind.type_id, gpu.functions()[function], persistent=True, active=active)
    cloud.compute.device_changed(gpu.host)
    return mdev


def _first(gpu: Gpu) -> Mdev:
    return next(gpu.all_mdevs())


def _shut_off(cloud: DemoCloud, server: Server) -> Guest:
    """Its domain stays defined, and no process holds its devices."""
    host = _host(cloud, server.host or "")
    guest = host.guests[server.id]
    guest.active, guest.state = False, 5
    cloud.compute.release_devices(host, guest.mdevs + guest.pci)
    cloud.compute.set(server, "SHUTOFF", "stopped", None)
    server.power_state = 4
    return guest


# -- virtual functions -----------------------------------------------------------------------------------------


def vfs_off(cloud: DemoCloud) -> None:
    """The host was booted and sriov-manage has not run for a GPU that nobody was on."""
    _gpu(cloud, "gpu-01", 1).set_vfs(0)


def vfs_partial(cloud: DemoCloud) -> None:
    """sriov-manage was cut short, after the functions that nova.conf names."""
    _gpu(cloud, "gpu-04").set_vfs(12)


def function_unbound(cloud: DemoCloud) -> None:
    """A function that Nova does not use missed its driver when both came up at boot."""
    gpu = _gpu(cloud, "gpu-04")
    gpu.unbound = {gpu.functions()[SPARE]}


# -- mediated devices ------------------------------------------------------------------------------------------


def mdev_not_active(cloud: DemoCloud) -> None:
    """Defined by hand and not started."""
    _made(cloud, _gpu(cloud, "gpu-03"), "A40-8Q", active=False)


def mdev_cannot_start(cloud: DemoCloud) -> None:
    """Defined with another size than the GPU runs."""
    _made(cloud, _gpu(cloud, "gpu-03"), "A40-16Q", active=False)


def mdev_parent_lost(cloud: DemoCloud) -> None:
    """A definition that was left when a card moved to another slot."""
    gpu = _gpu(cloud, "gpu-04")
    gone = "0000:e2:00.4"
    gpu.mdevs[gone] = [Mdev(cloud.state.new_uuid(), gpu.enabled[0], gone, active=False)]


def mdev_uuid_twice(cloud: DemoCloud) -> None:
    """A definition was copied to a second function; mdevctl takes a uuid once for each parent."""
    gpu = _gpu(cloud, "gpu-01")
    free = next(m for m in gpu.all_mdevs() if m.uuid not in gpu.claimed)
    function = gpu.functions()[SPARE]
    gpu.mdevs[function] = [Mdev(free.uuid, free.kind, function, active=False)]


def mdev_no_autostart(cloud: DemoCloud) -> None:
    """Somebody switched it off."""
    _first(_gpu(cloud, "gpu-03")).autostart = False


def mdev_not_persistent(cloud: DemoCloud) -> None:
    """Made by a Nova before 2024.2."""
    mdev = _first(_gpu(cloud, "gpu-03"))
    mdev.persistent = mdev.autostart = False


def free_mdev_pins_type(cloud: DemoCloud) -> None:
    """A device of another size was made by hand on an idle GPU and forgotten."""
    _made(cloud, _gpu(cloud, "gpu-04"), "A40-16Q")


def type_not_enabled(cloud: DemoCloud) -> None:
    """A device was made by hand on a second GPU, of which nova.conf knows nothing."""
    _made(cloud, cloud.builder.gpu(_host(cloud, "gpu-04"), "A40"), "A40-8Q")


def mdevctl_missing(cloud: DemoCloud) -> None:
    """The package was removed."""
    _host(cloud, "gpu-04").missing_tools = {"/usr/sbin/mdevctl"}


# -- guests ----------------------------------------------------------------------------------------------------


def domain_mdev_missing(cloud: DemoCloud) -> None:
    """The device of a server that is shut off was removed."""
    gpu = _gpu(cloud, "gpu-03")
    guest = _shut_off(cloud, _server(cloud, "desk-02"))
    for uuid in guest.mdevs:
        found = gpu.host.find_mdev(uuid)
        if found is not None:
            gpu.stop(found[1])
            gpu.undefine(found[1])
    cloud.compute.device_changed(gpu.host)


def mdev_shared(cloud: DemoCloud) -> None:
    """A domain that is shut off was edited by hand."""
    guest = _shut_off(cloud, _server(cloud, "desk-02"))
    guest.mdevs = list(_host(cloud, "gpu-03").guests[_server(cloud, "desk-01").id].mdevs)


def domain_unknown(cloud: DemoCloud) -> None:
    """Somebody tries a guest of his own on a host of the cloud."""
    host, gpu = _host(cloud, "gpu-03"), _gpu(cloud, "gpu-03")
    mdev = _made(cloud, gpu, "A40-8Q")
    guest = Guest(cloud.state.new_uuid(), "trial-00000001", "trial", 4096, 2)
    guest.mdevs = [mdev.uuid]
    gpu.claimed[mdev.uuid] = guest.server_id
    host.guests[guest.server_id] = guest


def server_without_device(cloud: DemoCloud) -> None:
    """Its domain was edited by hand, and started without the device that would not start."""
    host = _host(cloud, "gpu-03")
    guest = host.guests[_server(cloud, "desk-02").id]
    cloud.compute.release_devices(host, guest.mdevs)
    guest.mdevs = []


def allocation_elsewhere(cloud: DemoCloud) -> None:
    """A hard reboot gave the server another device than the one on the function that Placement knows of."""
    gpu, server = _gpu(cloud, "gpu-03"), _server(cloud, "desk-02")
    guest = gpu.host.guests[server.id]
    cloud.compute.release_devices(gpu.host, guest.mdevs)
    mdev = _made(cloud, gpu, "A40-8Q", 3)
    guest.mdevs = [mdev.uuid]
    gpu.claimed[mdev.uuid] = server.id


def device_without_allocation(cloud: DemoCloud) -> None:
    """Somebody cleaned up Placement, and took too much."""
    server, placement = _server(cloud, "desk-02"), cloud.state.placement
    held = placement.consumers[server.id].allocations
    rest = {uuid: dict(given) for uuid, given in held.items() if not placement.providers[uuid].device}
    placement.allocate(server.id, rest, server.project_id, server.user_id)


# -- nova.conf -------------------------------------------------------------------------------------------------


def conf_address_twice(cloud: DemoCloud) -> None:
    """A second type was added for the same functions; nova-compute runs since before."""
    gpu = _gpu(cloud, "gpu-04")
    gpu.written = (*gpu.enabled, gpu.board.type("A40-16Q"))


def conf_address_malformed(cloud: DemoCloud) -> None:
    """An address was typed without its zero; nova-compute runs since before."""
    gpu = _gpu(cloud, "gpu-04")
    gpu.named = (*(gpu.named or ()), "0000:41:1.2")


def conf_address_unknown(cloud: DemoCloud) -> None:
    """Addresses of another host were copied."""
    gpu = _gpu(cloud, "gpu-04")
    gpu.named = (*(gpu.named or ()), "0000:c1:00.4", "0000:c1:00.5")


def type_not_offered(cloud: DemoCloud) -> None:
    """The number of another board's type."""
    gpu = _gpu(cloud, "gpu-04")
    gpu.host.nova_conf = gpu.host.nova_conf | {
        "devices": {"enabled_mdev_types": f"{gpu.enabled[0].type_id},nvidia-999"},
        "mdev_nvidia-999": {"device_addresses": gpu.functions()[SPARE]},
    }


def no_mdev_bus(cloud: DemoCloud) -> None:
    """nova.conf as it was before the host got a newer kernel."""
    host = _host(cloud, "gpu-05")
    host.nova_conf = host.nova_conf | {"devices": {"enabled_mdev_types": host.gpus[0].enabled[0].type_id}}


def no_mdev_types(cloud: DemoCloud) -> None:
    """NVIDIA's vGPU manager is down."""
    _gpu(cloud, "gpu-04").manager_up = False


# -- vendor VFIO -----------------------------------------------------------------------------------------------


def vendor_types_lost(cloud: DemoCloud) -> None:
    """The host was booted and nobody has set the types again."""
    for name in ("frame-1", "frame-2"):
        _shut_off(cloud, _server(cloud, name))
    _gpu(cloud, "gpu-05").current_types = {}


def vendor_no_types(cloud: DemoCloud) -> None:
    """The host was booted, and NVIDIA's vGPU manager did not come up."""
    vendor_types_lost(cloud)
    _gpu(cloud, "gpu-05").manager_up = False


def vendor_vf_untyped(cloud: DemoCloud) -> None:
    """The type of a free function was cleared."""
    gpu = _gpu(cloud, "gpu-05")
    del gpu.current_types[gpu.functions()[3]]


def vendor_vf_not_in_spec(cloud: DemoCloud) -> None:
    """A function was forgotten in nova.conf."""
    gpu = _gpu(cloud, "gpu-05")
    gpu.named = gpu.functions()[:3]
    cloud.compute.update_inventories(gpu.host)


def vendor_managed(cloud: DemoCloud) -> None:
    """device_spec as for a card that is passed through."""
    _gpu(cloud, "gpu-05").spec = {"live_migratable": "yes"}


def vendor_not_migratable(cloud: DemoCloud) -> None:
    """device_spec as it was written for Nova before 2025.1."""
    _gpu(cloud, "gpu-05").spec = {"managed": "no"}


def live_migratable_too_old(cloud: DemoCloud) -> None:
    """QEMU was put back by a release; nova-compute runs since before."""
    _host(cloud, "gpu-05").qemu_version = 8_002_000


# -- GPUs ------------------------------------------------------------------------------------------------------


def _a30(cloud: DemoCloud, type_name: str, *, mig: bool) -> None:
    """A host more, with a GPU that can be cut into instances."""
    host = cloud.builder.host("gpu-06")
    host.nova_conf = dict(_host(cloud, "gpu-01").nova_conf)
    gpu = cloud.builder.gpu(host, "A30", (type_name,))
    gpu.named = tuple(possible_vfs(gpu.board, gpu.address)[:2])
    gpu.mig = mig
    cloud.builder.inventories(host)


def mig_off(cloud: DemoCloud) -> None:
    """MIG mode was not switched on again after a boot."""
    _a30(cloud, "A30-2-12C", mig=False)


def mig_on(cloud: DemoCloud) -> None:
    """A GPU that was cut into instances before it came here."""
    _a30(cloud, "A30-12C", mig=True)


def ecc_pending(cloud: DemoCloud) -> None:
    """ECC was switched off on one GPU."""
    _gpu(cloud, "gpu-04").ecc_pending = False


def mixed_mode_off(cloud: DemoCloud) -> None:
    """nova.conf gives some functions another size."""
    gpu = _gpu(cloud, "gpu-04")
    other = gpu.board.type("A40-16Q")
    gpu.host.nova_conf = gpu.host.nova_conf | {
        "devices": {"enabled_mdev_types": f"{gpu.enabled[0].type_id},{other.type_id}"},
        f"mdev_{other.type_id}": {"device_addresses": ",".join(gpu.functions()[SPARE : SPARE + 3])},
    }


def mixed_mode_on(cloud: DemoCloud) -> None:
    """The mode was left on after a trial."""
    _gpu(cloud, "gpu-04").mixed = True


ILL: dict[str, Callable[[DemoCloud], None]] = {
    "vfs-off": vfs_off,
    "vfs-partial": vfs_partial,
    "function-unbound": function_unbound,
    "mdev-not-active": mdev_not_active,
    "mdev-cannot-start": mdev_cannot_start,
    "mdev-parent-lost": mdev_parent_lost,
    "mdev-uuid-twice": mdev_uuid_twice,
    "mdev-no-autostart": mdev_no_autostart,
    "mdev-not-persistent": mdev_not_persistent,
    "free-mdev-pins-type": free_mdev_pins_type,
    "type-not-enabled": type_not_enabled,
    "mdevctl-missing": mdevctl_missing,
    "domain-mdev-missing": domain_mdev_missing,
    "mdev-shared": mdev_shared,
    "domain-unknown": domain_unknown,
    "server-without-device": server_without_device,
    "allocation-elsewhere": allocation_elsewhere,
    "device-without-allocation": device_without_allocation,
    "conf-address-twice": conf_address_twice,
    "conf-address-malformed": conf_address_malformed,
    "conf-address-unknown": conf_address_unknown,
    "type-not-offered": type_not_offered,
    "no-mdev-bus": no_mdev_bus,
    "no-mdev-types": no_mdev_types,
    "vendor-types-lost": vendor_types_lost,
    "vendor-no-types": vendor_no_types,
    "vendor-vf-untyped": vendor_vf_untyped,
    "vendor-vf-not-in-spec": vendor_vf_not_in_spec,
    "vendor-managed": vendor_managed,
    "vendor-not-migratable": vendor_not_migratable,
    "live-migratable-too-old": live_migratable_too_old,
    "mig-off": mig_off,
    "mig-on": mig_on,
    "ecc-pending": ecc_pending,
    "mixed-mode-off": mixed_mode_off,
    "mixed-mode-on": mixed_mode_on,
}
"""Diagnosis -> what makes the healthy fleet ill of it."""
