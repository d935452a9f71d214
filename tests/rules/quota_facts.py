"""Facts of a small cloud whose limits are in order: one host with a GPU of four functions, two projects, one server."""

from __future__ import annotations

from typing import Any

import msgspec

from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import CloudIdentity, Facts
from vgpu_console.model.host_facts import LibvirtFacts, MdevTypeOffer, PciDevice, SshFacts, VgpuTypeDescription
from vgpu_console.model.keystone import (
    Domain,
    Endpoint,
    KeystoneFacts,
    Project,
    ProjectLimit,
    RegisteredLimit,
    Service,
    SystemRole,
)
from vgpu_console.model.nova import ComputeService, Flavor, Hypervisor, MigrationFacts, NovaFacts, Server
from vgpu_console.model.placement import Allocation, Inventory, PlacementFacts, ResourceProvider
from vgpu_console.model.snapshot import Finding, ProjectQuota, Snapshot

UNIFIED = {"quota.driver": "nova.quota.UnifiedLimitsDriver"}
PF = "0000:41:00.0"
SPECS = {"resources:VGPU": "1", "trait:CUSTOM_A100_10C": "required"}
TYPE = "nvidia-471"


def registered(resource: str, default: int, **changes: Any) -> RegisteredLimit:
    """A registered limit where Nova looks for it."""
    place: dict[str, Any] = {"id": f"r-{resource}", "service_id": "svc-nova", "region_id": "RegionOne"}
    return RegisteredLimit(**(place | {"resource_name": resource, "default_limit": default} | changes))


def own(project: str, value: int, resource: str = "class:VGPU", **changes: Any) -> ProjectLimit:
    """A project's own limit where Nova looks for it."""
    place: dict[str, Any] = {"id": f"l-{project}", "project_id": project, "domain_id": None, "service_id": "svc-nova"}
    rest: dict[str, Any] = {"region_id": "RegionOne", "resource_name": resource, "resource_limit": value}
    return ProjectLimit(**(place | rest | changes))


def vf(number: int) -> str:
    """The address of a virtual function."""
    return f"0000:41:00.{4 + number}"


def provider(number: int, *holders: tuple[str, int], total: int = 1, host: str = "gpu-01") -> ResourceProvider:
    """The provider of a virtual function, with who holds how many vGPUs of it."""
    return ResourceProvider(
        uuid=f"{host}-vf{number}",
        name=f"{host}_pci_{vf(number).replace(':', '_').replace('.', '_')}",
        generation=1,
        parent_uuid=f"{host}-root",
        root_uuid=f"{host}-root",
        inventories=(Inventory(resource_class="VGPU", total=total, max_unit=total),),
        allocations=tuple(Allocation(consumer, {"VGPU": n}) for consumer, n in holders),
        traits=("CUSTOM_A100_10C",),
    )


def root(host: str = "gpu-01") -> ResourceProvider:
    """A compute host's own provider."""
    return ResourceProvider(
        uuid=f"{host}-root",
        name=host,
        generation=1,
        root_uuid=f"{host}-root",
        inventories=(),
        traits=("COMPUTE_NODE",),
    )


def server(name: str, project: str = "p-ml", host: str = "gpu-01", **changes: Any) -> Server:
    """A running server of the vGPU flavor; its id is its name."""
    plain: dict[str, Any] = {
        "id": name,
        "name": name,
        "project_id": project,
        "host": host,
        "status": "ACTIVE",
        "flavor": "vgpu.small",
        "ram_mib": 1024,
        "vcpus": 2,
        "extra_specs": SPECS,
    }
    return Server(**(plain | changes))


def migration(server_id: str, status: str, uuid: str = "mig-1", **changes: Any) -> MigrationFacts:
    """A live migration of a server, started by an administrator: the project in Nova's record is theirs."""
    plain: dict[str, Any] = {"id": 1, "uuid": uuid, "server_id": server_id, "source": "gpu-01", "destination": "gpu-02"}
    return MigrationFacts(**(plain | {"status": status, "project_id": "p-admin"} | changes))


def libvirt(host: str = "gpu-01", functions: int = 4) -> LibvirtFacts:
    """A GPU with four virtual functions, each of which offers the type."""
    offer = (MdevTypeOffer(type_id=TYPE, name="GRID A100-10C", available_instances=1),)
    parts = tuple(
        PciDevice(address=vf(n), vendor_id="10de", product_id="20f1", physical_function=PF, types=offer)
        for n in range(functions)
    )
    board = PciDevice(
        address=PF,
        vendor_id="10de",
        product_id="20f1",
        product="GA100 [A100 PCIe 40GB]",
        virtual_functions=tuple(f.address for f in parts),
        max_virtual_functions=functions,
    )
    return LibvirtFacts(host=host, libvirt_version="10.0.0", devices=(board, *parts))


def ssh(maximum: int = 4, /, **conf: str) -> SshFacts:
    """The host's sysfs with the type's real maximum on a GPU, and its nova.conf."""
    described = tuple(
        VgpuTypeDescription(
            address=vf(n), type_id=TYPE, name="GRID A100-10C", max_instances=maximum, framebuffer_mib=10240
        )
        for n in range(4)
    )
    return SshFacts(
        host="gpu-01",
        types=described,
        mdev_bus=True,
        nova_conf={"devices.enabled_mdev_types": TYPE} | {k.replace("__", "."): v for k, v in conf.items()},
    )


KEYSTONE = KeystoneFacts(
    domains=(Domain("default", "Default"),),
    projects=(
        Project(id="p-ml", name="ml-research", domain_id="default", enabled=True),
        Project(id="p-vdi", name="vdi", domain_id="default", enabled=True),
    ),
    services=(Service("svc-nova", "compute", "nova"), Service("svc-glance", "image", "glance")),
    endpoints=(
        Endpoint(id="e1", service_id="svc-nova", region_id="RegionOne", interface="public", url="http://nova"),
        Endpoint(id="e2", service_id="svc-nova", region_id="RegionOne", interface="internal", url="http://nova"),
    ),
    registered_limits=(
        registered("servers", 10),
        registered("class:VCPU", 20),
        registered("class:MEMORY_MB", 51200),
        registered("class:DISK_GB", 1000),
        registered("class:VGPU", 1),
    ),
    project_limits=(own("p-ml", 3),),
    limits_complete=True,
    enforcement_model="flat",
    limits_scope="system",
    system_roles=(SystemRole(user="nova", domain="Default", role="reader"),),
)
NOVA = NovaFacts(
    max_microversion="2.104",
    services=(ComputeService(id="s1", host="gpu-01", state="up", status="enabled"),),
    hypervisors=(Hypervisor(id="h1", name="gpu-01", service_host="gpu-01"),),
    servers=(server("vm-1"),),
    migrations=(),
    flavors=(Flavor(id="f1", name="vgpu.small", ram_mib=1024, vcpus=2, disk_gib=10, extra_specs=SPECS),),
)
PLACEMENT = PlacementFacts(
    providers=(root(), provider(0, ("vm-1", 1)), *(provider(n) for n in range(1, 4))),
    usages={"p-ml": {"VGPU": 1}},
)
IN_ORDER = Facts(
    identity=CloudIdentity(cloud="prod", region="RegionOne", user="admin", roles=("admin",)),
    keystone=KEYSTONE,
    nova=NOVA,
    placement=PLACEMENT,
    libvirt={"gpu-01": libvirt()},
    ssh={"gpu-01": ssh(quota__driver=UNIFIED["quota.driver"])},
)


class _NoCatalogue:
    def lookup(self, type_name: str, product_id: str | None = None) -> None:
        return None


def snapshot_of(facts: Facts) -> Snapshot:
    """The facts joined, as the console does it."""
    return Joiner(_NoCatalogue()).join(facts, 100.0)


def with_keystone(**changes: Any) -> Facts:
    """The cloud in order, but for some of Keystone's answers."""
    return msgspec.structs.replace(IN_ORDER, keystone=msgspec.structs.replace(KEYSTONE, **changes))


def with_registered(*changed: RegisteredLimit, without: str = "") -> Facts:
    """With registered limits replaced by id or added, and those of one resource taken away."""
    kept = {r.id: r for r in KEYSTONE.registered_limits or () if r.resource_name != without}
    kept.update({r.id: r for r in changed})
    return with_keystone(registered_limits=tuple(kept.values()))


def with_nova(**changes: Any) -> Facts:
    """The cloud in order, but for some of Nova's answers."""
    return msgspec.structs.replace(IN_ORDER, nova=msgspec.structs.replace(NOVA, **changes))


def with_conf(**conf: str) -> Facts:
    """With other options in the compute host's nova.conf (``quota__driver`` is quota.driver)."""
    return msgspec.structs.replace(IN_ORDER, ssh={"gpu-01": ssh(4, **conf)})


def with_placement(*providers: ResourceProvider, facts: Facts = IN_ORDER, **changes: Any) -> Facts:
    """With other providers below the root."""
    placement = msgspec.structs.replace(PLACEMENT, providers=(root(), *providers), **changes)
    return msgspec.structs.replace(facts, placement=placement)


def findings(facts: Facts) -> list[Finding]:
    """What the audit says of these facts."""
    return list(snapshot_of(facts).quota_findings)


def row(facts: Facts, project: str = "ml-research", resource: str = "class:VGPU") -> ProjectQuota:
    """One quota row."""
    return next(q for q in snapshot_of(facts).quotas if (q.project, q.resource) == (project, resource))
