"""A host of A100s under a nova.conf, joined as the console joins it: for rules about what Nova is told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import (
    DomainFacts,
    LibvirtFacts,
    MdevFacts,
    MdevTypeOffer,
    PciDevice,
    PciSysfs,
    SshFacts,
    VgpuTypeDescription,
)
from vgpu_console.model.nova import Hypervisor, NovaFacts, Server
from vgpu_console.model.placement import Allocation, Inventory, PlacementFacts, ResourceProvider
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue

NOW = 1_800_000_000.0
HOST = "gpu-01"
A100_10C, A100_20C, T4_4Q = "nvidia-471", "nvidia-472", "nvidia-232"
A100 = {A100_10C: ("GRID A100-10C", 4, 10240), A100_20C: ("GRID A100-20C", 2, 20480)}
T4 = {T4_4Q: ("GRID T4-4Q", 4, 4096)}
GPU0, GPU1 = "0000:41:00.0", "0000:81:00.0"
ROOT = str(uuid.uuid5(uuid.NAMESPACE_DNS, HOST))


def vf(gpu: str, number: int) -> str:
    """The numbered virtual function of a GPU, counted from 0."""
    return f"{gpu.rpartition(':')[0]}:{(4 + number) // 8:02x}.{(4 + number) % 8}"


def mdev(parent: str, type_id: str = A100_20C, *, active: bool = True) -> MdevFacts:
    """A device on a function; its uuid follows from where it is."""
    made = str(uuid.uuid5(uuid.NAMESPACE_DNS, parent + type_id))
    return MdevFacts(uuid=made, type_id=type_id, parent=parent, active=active, persistent=True, autostart=True)


def guest(*devices: MdevFacts, name: str = "vm-train-1") -> DomainFacts:
    """A running guest with these devices."""
    made = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    return DomainFacts(uuid=made, name=name, active=True, mdevs=tuple(d.uuid for d in devices))


def server(domain: DomainFacts) -> Server:
    """The server that a guest is to Nova."""
    return Server(id=domain.uuid, name=domain.name, project_id="p1", host=HOST, hypervisor=HOST, extra_specs={})


def host_facts(
    gpus: Sequence[str],
    *,
    vfs: int = 16,
    types: dict[str, tuple[str, int, int]] | None = None,
    described: bool = True,
    mdevs: Sequence[MdevFacts] = (),
    domains: Sequence[DomainFacts] = (),
    conf: dict[str, str] | None = None,
) -> tuple[LibvirtFacts, SshFacts]:
    """GPUs with ``vfs`` virtual functions each (0: not SR-IOV), and what their driver still offers, by its own rule."""
    kinds = A100 if types is None else types
    devices: list[PciDevice] = []
    sysfs: list[PciSysfs] = []
    descriptions: list[VgpuTypeDescription] = []
    for gpu in gpus:
        functions = [vf(gpu, n) for n in range(vfs)]
        on = [m for m in mdevs if m.parent in (gpu, *functions) and m.active]
        for address in functions or [gpu]:
            offers = []
            for kind, (name, most, mib) in kinds.items():
                left = most - len(on) if all(m.type_id == kind for m in on) else 0
                if functions:
                    left = 0 if any(m.parent == address for m in on) else min(1, left)
                offers.append(MdevTypeOffer(type_id=kind, name=name, available_instances=left))
                if described:
                    descriptions.append(
                        VgpuTypeDescription(
                            address=address, type_id=kind, name=name, framebuffer_mib=mib, max_instances=most
                        )
                    )
            devices.append(
                PciDevice(
                    address=address,
                    vendor_id="10de",
                    product_id="20f1" if functions else "1eb8",
                    pci_class="030200",
                    driver="nvidia",
                    physical_function=gpu if functions else None,
                    types=tuple(offers),
                )
            )
        if functions:
            devices.append(
                PciDevice(
                    address=gpu,
                    vendor_id="10de",
                    product_id="20f1",
                    pci_class="030200",
                    driver="nvidia",
                    virtual_functions=tuple(functions),
                    max_virtual_functions=vfs,
                )
            )
        sysfs.append(
            PciSysfs(
                address=gpu, vendor_id="10de", driver="nvidia", sriov_numvfs=vfs or None, sriov_totalvfs=vfs or None
            )
        )
        sysfs += [PciSysfs(address=f, vendor_id="10de", physical_function=gpu) for f in functions]
    libvirt = LibvirtFacts(
        host=HOST,
        libvirt_version="10.0.0",
        qemu_version="8.2.2",
        devices=tuple(devices),
        mdevs=tuple(mdevs),
        domains=tuple(domains),
    )
    ssh = SshFacts(
        host=HOST,
        kernel="5.14.0-427.el9",
        nvidia_driver="550.90.05",
        mdev_bus=True,
        types=tuple(descriptions),
        pci=tuple(sysfs),
        nova_conf=conf,
    )
    return libvirt, ssh


def provider(address: str, total: int = 1, consumer: str | None = None) -> ResourceProvider:
    """The provider that Nova has made of a function; ``consumer`` holds one of it."""
    name = f"{HOST}_pci_{address.replace(':', '_').replace('.', '_')}"
    return ResourceProvider(
        uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        name=name,
        generation=1,
        parent_uuid=ROOT,
        root_uuid=ROOT,
        inventories=(Inventory(resource_class="VGPU", total=total),),
        allocations=(Allocation(consumer, {"VGPU": 1}),) if consumer else (),
        traits=(),
    )


def snapshot_of(
    libvirt: LibvirtFacts | None,
    ssh: SshFacts | None,
    providers: Sequence[ResourceProvider] | None = (),
    servers: Sequence[Server] = (),
) -> Snapshot:
    """The joined view. ``providers`` None: Placement never answered."""
    root = ResourceProvider(
        uuid=ROOT, name=HOST, generation=1, root_uuid=ROOT, inventories=(), allocations=(), traits=()
    )
    placement = None if providers is None else PlacementFacts(providers=(root, *providers))
    statuses = [
        SourceStatus(kind="placement", fetched_at=None if providers is None else NOW),
        SourceStatus(kind="libvirt", host=HOST, fetched_at=NOW if libvirt else None),
        SourceStatus(kind="ssh", host=HOST, fetched_at=NOW if ssh else None),
    ]
    facts = Facts(
        nova=NovaFacts(
            services=(),
            hypervisors=(Hypervisor(id="1", name=HOST, service_host=HOST, state="up", status="enabled"),),
            servers=tuple(servers),
            migrations=(),
        ),
        placement=placement,
        libvirt={HOST: libvirt} if libvirt else {},
        ssh={HOST: ssh} if ssh else {},
        statuses=tuple(statuses),
    )
    return Joiner(load_catalogue()).join(facts, NOW)


def conf_of(*types: str, **options: str) -> dict[str, str]:
    """nova.conf with these types; ``nvidia_472__device_addresses`` is that option of [mdev_nvidia-472]."""
    conf = {"devices.enabled_mdev_types": ", ".join(types)}
    for name, value in options.items():
        kind, _, option = name.partition("__")
        conf[f"mdev_{kind.replace('_', '-')}.{option}"] = value
    return conf
