"""Facts of two hosts with an A100 each, and one server with a vGPU on the first: everything lets it move to the second.

Tests change one fact of it. What the rules look at is the real join's snapshot of these facts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import (
    DomainFacts,
    LibvirtFacts,
    MdevFacts,
    MdevTypeOffer,
    NvidiaGpu,
    PciDevice,
    PciSysfs,
    SshFacts,
    VgpuTypeDescription,
)
from vgpu_console.model.keystone import Endpoint, KeystoneFacts, Project, ProjectLimit, RegisteredLimit, Service
from vgpu_console.model.nova import Aggregate, ComputeService, Flavor, Hypervisor, MigrationFacts, NovaFacts, Server
from vgpu_console.model.placement import (
    Allocation,
    Candidate,
    Candidates,
    Inventory,
    PlacementFacts,
    ResourceProvider,
)
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.migration.candidates import Destination, DowntimeSettings, look_at
from vgpu_console.rules.migration.downtime import Rate
from vgpu_console.rules.migration.ground import Ground

NOW = 1_800_000_000.0
HERE, THERE, THIRD = "gpu-01", "gpu-02", "gpu-03"
SERVER = "5e12f0aa-0000-4000-8000-000000000001"
OTHER = "5e12f0aa-0000-4000-8000-000000000002"
MDEV = "ae12f0aa-0000-4000-8000-000000000001"
PF = "0000:41:00.0"
TYPE, TYPE_NAME = "nvidia-472", "GRID A100-20C"
SPECS = {"resources:VGPU": "1", "trait:CUSTOM_A100_20C": "required"}
LADDER = {
    "libvirt.live_migration_downtime": "500000",
    "libvirt.live_migration_downtime_steps": "3",
    "libvirt.live_migration_downtime_delay": "3",
    "libvirt.live_migration_completion_timeout": "0",
}
CONF = {"devices.enabled_mdev_types": TYPE, **LADDER}
SETTINGS = DowntimeSettings(rate=Rate(low=1e9, high=1e9, origin="configured"), max_downtime_ms=600_000.0)

Change = Callable[[Facts], Facts]


def vf(number: int) -> str:
    """The address of a virtual function; every host's GPU has four."""
    return f"0000:41:00.{4 + number}"


FUNCTIONS = tuple(vf(n) for n in range(4))


def libvirt(host: str, *, used: bool = False) -> LibvirtFacts:
    """What libvirt says of a host; ``used``: with the server's guest and its device on the first function."""
    free = 1 if not used else 0
    functions = tuple(
        PciDevice(
            address=address,
            vendor_id="10de",
            product_id="20f1",
            product="GA100 [A100 PCIe 40GB]",
            pci_class="030200",
            driver="nvidia",
            physical_function=PF,
            types=(MdevTypeOffer(type_id=TYPE, name=TYPE_NAME, available_instances=free if n == 0 else 1),),
        )
        for n, address in enumerate(FUNCTIONS)
    )
    gpu = PciDevice(
        address=PF,
        vendor_id="10de",
        product_id="20f1",
        product="GA100 [A100 PCIe 40GB]",
        pci_class="030200",
        driver="nvidia",
        virtual_functions=FUNCTIONS,
        max_virtual_functions=4,
    )
    device = MdevFacts(uuid=MDEV, type_id=TYPE, parent=vf(0), active=True, persistent=True, autostart=True)
    return LibvirtFacts(
        host=host,
        libvirt_version="10.0.0",
        qemu_version="8.2.2",
        devices=(gpu, *functions),
        mdevs=(device,) if used else (),
        domains=(DomainFacts(uuid=SERVER, name="instance-00000001", active=True, mdevs=(MDEV,)),) if used else (),
    )


def ssh(host: str) -> SshFacts:
    """What a host's shell says."""
    return SshFacts(
        host=host,
        kernel="6.12.0-55.el10.x86_64",
        os_id="rhel",
        os_version="10.0",
        os_name="Red Hat Enterprise Linux 10.0 (Coughlan)",
        nvidia_driver="570.86.10",
        mdev_bus=True,
        types=tuple(
            VgpuTypeDescription(
                address=a,
                type_id=TYPE,
                name=TYPE_NAME,
                framebuffer_mib=20480,
                max_instances=2,
                available_instances=1,
            )
            for a in FUNCTIONS
        ),
        pci=(
            PciSysfs(address=PF, vendor_id="10de", product_id="20f1", sriov_numvfs=4, sriov_totalvfs=4),
            *(PciSysfs(address=a, vendor_id="10de", product_id="20f1", physical_function=PF) for a in FUNCTIONS),
        ),
        nova_conf=dict(CONF),
        cpu_model="Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
        nvidia_gpus=(NvidiaGpu(address=PF, name="NVIDIA A100-PCIE-40GB", ecc_current=True, mig=False),),
        libvirt_installed="10.0.0",
        qemu_installed="8.2.2",
    )


def providers(host: str, holder: str | None = None) -> tuple[ResourceProvider, ...]:
    """A host's provider tree: the root and one provider for each function."""
    root = f"{host}-root"
    base = {"VCPU": 8, "MEMORY_MB": 16384, "DISK_GB": 40}
    found = [
        ResourceProvider(
            uuid=root,
            name=host,
            generation=2,
            root_uuid=root,
            inventories=tuple(Inventory(resource_class=c, total=n * 16, max_unit=n * 16) for c, n in base.items()),
            allocations=(Allocation(holder, base),) if holder else (),
            traits=("COMPUTE_NODE",),
        )
    ]
    for n, address in enumerate(FUNCTIONS):
        found.append(
            ResourceProvider(
                uuid=f"{host}-vf{n}",
                name=f"{host}_pci_{address.replace(':', '_').replace('.', '_')}",
                generation=1,
                parent_uuid=root,
                root_uuid=root,
                inventories=(Inventory(resource_class="VGPU", total=1, max_unit=1),),
                allocations=(Allocation(holder, {"VGPU": 1}),) if holder and n == 0 else (),
                traits=("CUSTOM_A100_20C",),
            )
        )
    return tuple(found)


def server(**changes: Any) -> Server:
    """Nova's row of the server."""
    known: dict[str, Any] = {
        "id": SERVER,
        "name": "vm-train-1",
        "project_id": "p-ml",
        "host": HERE,
        "hypervisor": HERE,
        "status": "ACTIVE",
        "vm_state": "active",
        "power_state": 1,
        "flavor": "train",
        "ram_mib": 16384,
        "vcpus": 8,
        "extra_specs": dict(SPECS),
        "locked": False,
        "pinned_zone": "",
    }
    return Server(**(known | changes))


def move(number: int, source: str, destination: str | None, status: str = "running") -> MigrationFacts:
    """Another server's live migration."""
    return MigrationFacts(
        id=number, uuid=f"m-{number}", server_id=OTHER, source=source, destination=destination, status=status
    )


def facts() -> Facts:
    """Everything in order."""
    hosts = (HERE, THERE)
    return Facts(
        nova=NovaFacts(
            microversion="2.100",
            max_microversion="2.100",
            services=tuple(
                ComputeService(id=f"c-{h}", host=h, state="up", status="enabled", zone="nova") for h in hosts
            ),
            hypervisors=tuple(Hypervisor(id=h, name=h, service_host=h, state="up", version=8002002) for h in hosts),
            servers=(server(),),
            migrations=(),
            other_migrations=(),
            flavors=(Flavor(id="f1", name="train", ram_mib=16384, vcpus=8, disk_gib=40, extra_specs=dict(SPECS)),),
            aggregates=(),
        ),
        placement=PlacementFacts(
            providers=(*providers(HERE, SERVER), *providers(THERE)),
            usages={"p-ml": {"VGPU": 1}},
            max_microversion="1.39",
        ),
        keystone=KeystoneFacts(
            projects=(Project(id="p-ml", name="ml", domain_id="default"),),
            services=(Service(id="s-nova", type="compute", name="nova"),),
            endpoints=(
                Endpoint(
                    id="e1", service_id="s-nova", interface="public", region_id="RegionOne", url="http://nova.test"
                ),
            ),
            registered_limits=(
                RegisteredLimit(
                    id="r1",
                    service_id="s-nova",
                    region_id="RegionOne",
                    resource_name="class:VGPU",
                    default_limit=10,
                ),
            ),
            project_limits=(
                ProjectLimit(
                    id="l1",
                    project_id="p-ml",
                    domain_id=None,
                    service_id="s-nova",
                    region_id="RegionOne",
                    resource_name="class:VGPU",
                    resource_limit=10,
                ),
            ),
            enforcement_model="flat",
        ),
        libvirt={HERE: libvirt(HERE, used=True), THERE: libvirt(THERE)},
        ssh={HERE: ssh(HERE), THERE: ssh(THERE)},
        statuses=(
            *(SourceStatus(kind=k, fetched_at=NOW - 3.0, interval_s=5.0) for k in ("nova", "placement", "keystone")),
            *(SourceStatus(kind=k, host=h, fetched_at=NOW - 7.0) for h in hosts for k in ("libvirt", "ssh")),
        ),
    )


def candidates(known: Facts) -> Candidates:
    """What Placement would answer for the flavor: one way for each free function that has the trait."""
    every = known.placement.providers if known.placement is not None else ()
    open_ = [p for p in every if p.parent_uuid and not p.allocations and "CUSTOM_A100_20C" in (p.traits or ())]
    return Candidates(
        candidates=tuple(Candidate({p.root_uuid: {"VCPU": 8, "MEMORY_MB": 16384}, p.uuid: {"VGPU": 1}}) for p in open_),
        roots={p.uuid: p.root_uuid for p in every},
    )


def joined(known: Facts) -> Snapshot:
    """The snapshot of these facts."""
    return Joiner(load_catalogue()).join(known, NOW)


ASKED: Any = object()


def look(known: Facts, settings: DowntimeSettings = SETTINGS, answer: Any = ASKED) -> Destination:
    """The pre-checks of the move; ``answer`` is Placement's, by default what it would say of these facts."""
    found = candidates(known) if answer is ASKED else answer
    return look_at(Ground(joined(known), known, NOW), SERVER, THERE, candidates=found, settings=settings)


def statuses(one: Destination) -> dict[str, str]:
    """Check -> status, without the common prefix."""
    return {c.id.removeprefix("migrate."): c.status for c in one.checks}


# --- changes ----------------------------------------------------------------------------------------------------------


def of_server(**changes: Any) -> Change:
    """Another row of the server."""
    return of_nova(servers=(server(**changes),))


def of_nova(**changes: Any) -> Change:
    """Other answers of Nova."""

    def change(known: Facts) -> Facts:
        assert known.nova is not None
        return msgspec.structs.replace(known, nova=msgspec.structs.replace(known.nova, **changes))

    return change


def of_service(host: str, **changes: Any) -> Change:
    """Another state of a host's nova-compute."""

    def change(known: Facts) -> Facts:
        services = known.nova.services if known.nova is not None else None
        rows = [msgspec.structs.replace(s, **changes) if s.host == host else s for s in services or ()]
        return of_nova(services=tuple(rows))(known)

    return change


def of_ssh(host: str, **changes: Any) -> Change:
    """Other words of a host's shell."""

    def change(known: Facts) -> Facts:
        told = msgspec.structs.replace(known.ssh[host], **changes)
        return msgspec.structs.replace(known, ssh={**known.ssh, host: told})

    return change


def of_conf(host: str, **changes: str | None) -> Change:
    """Other options in a host's nova.conf: group__option=value, None takes one out."""

    def change(known: Facts) -> Facts:
        conf = dict(known.ssh[host].nova_conf or {})
        for key, value in changes.items():
            option = key.replace("__", ".", 1)
            if value is None:
                conf.pop(option, None)
            else:
                conf[option] = value
        return of_ssh(host, nova_conf=conf)(known)

    return change


def of_libvirt(host: str, **changes: Any) -> Change:
    """Other words of a host's libvirt."""

    def change(known: Facts) -> Facts:
        told = msgspec.structs.replace(known.libvirt[host], **changes)
        return msgspec.structs.replace(known, libvirt={**known.libvirt, host: told})

    return change


def of_providers(change_one: Callable[[ResourceProvider], ResourceProvider]) -> Change:
    """Every provider as the function makes it."""

    def change(known: Facts) -> Facts:
        assert known.placement is not None
        found = tuple(change_one(p) for p in known.placement.providers)
        return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=found))

    return change


def of_status(kind: str, host: str = "", **changes: Any) -> Change:
    """Another state of a source."""

    def change(known: Facts) -> Facts:
        rows = [
            msgspec.structs.replace(s, **changes) if (s.kind, s.host) == (kind, host) else s for s in known.statuses
        ]
        return msgspec.structs.replace(known, statuses=tuple(rows))

    return change


def all_of(*changes: Change) -> Change:
    """Several changes, one after the other."""

    def change(known: Facts) -> Facts:
        for one in changes:
            known = one(known)
        return known

    return change


def aggregate(*hosts: str, **metadata: str) -> Aggregate:
    """A host aggregate."""
    return Aggregate(id="a1", name="gpus", hosts=hosts, metadata=metadata)


def difference(change: Change, settings: DowntimeSettings = SETTINGS, answer: Any = ASKED) -> dict[str, str | None]:
    """The checks whose status is another after the change than with everything in order; None: it is left out."""
    before, after = statuses(look(facts())), statuses(look(change(facts()), settings, answer))
    return {word: after.get(word) for word in {**before, **after} if before.get(word) != after.get(word)}


def evidence(change: Change, word: str, **more: Any) -> str:
    """What the check of that word says after the change."""
    return next(c.evidence for c in look(change(facts()), **more).checks if c.id == f"migrate.{word}")
