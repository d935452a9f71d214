"""The joined view: what is true of the fleet at one moment, as far as it is known."""

from __future__ import annotations

from typing import Literal

import msgspec

from vgpu_console.model.evidence import Evidence
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.host_facts import Mechanism
from vgpu_console.model.placement import Allocation, Inventory
from vgpu_console.model.source import SourceKind, SourceStatus

SCHEMA_VERSION = 1
"""Raised when a field of the written snapshot changes its meaning or goes away."""

Severity = Literal["info", "warn", "fail"]
LimitOrigin = Literal["project", "default", "missing", "unknown"]
MaxSource = Literal["host", "catalogue", "unknown"]
DeviceState = Literal["active", "defined", "unknown"]
MissingWord = Literal["unlimited", "zero", "unknown"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator should know, with a stable id, the object it is about and what each side says of it."""

    id: str
    severity: Severity
    object: str  # "host gpu-01", "gpu gpu-01 0000:41:00.0"
    message: str
    host: str = ""
    command: str = ""  # what mends it, or tells more where that is the first thing to do; copyable into a shell
    key: str = ""  # the console's key that mends it
    action: str = ""  # the action of the registry that mends it
    objects: tuple[str, ...] = ()  # all it is about, where that is more than one; ``object`` is the first
    evidence: tuple[Evidence, ...] = ()
    why: str = ""  # why it matters


class Unlooked(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be looked at: the diagnoses that need a source which has not answered, and what would show it."""

    source: SourceKind
    hosts: tuple[str, ...]  # empty for the OpenStack services
    ids: tuple[str, ...]  # of diagnoses that need it
    reason: str  # "not configured", or the source's own error
    access: str  # what would let the console look


class TypeCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """A vGPU type on one physical GPU. Field names of the first eleven are a promise of ``vgpu-console types -o json``.

    ``max`` is the real maximum on one GPU, from the host's own description or the catalogue, never from Placement;
    ``available`` is what could be created now, given what is there.
    """

    host: str
    gpu: str
    type_id: str
    type_name: str
    framebuffer_mib: int | None
    max: int | None
    max_source: MaxSource
    created: int | None
    used: int | None
    available: int | None
    enabled: bool | None = None  # named in nova.conf for this GPU; None: nova.conf not readable
    max_evidence: str = ""  # where the maximum was read: a sysfs path, a catalogue row


class VirtualFunction(msgspec.Struct, frozen=True, kw_only=True):
    """An enabled SR-IOV virtual function of a physical GPU: at most one vGPU lives on it."""

    host: str
    gpu: str
    address: str
    mdevs: tuple[str, ...] = ()
    current_vgpu_type: int | None = None  # vendor VFIO only; 0: none set
    creatable: tuple[str, ...] = ()  # type ids that could be created on it now
    provider_uuid: str | None = None


class PhysicalGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as a board function: the physical function of an SR-IOV card, or the whole of an older one.

    ``active_type`` is the type that its vGPUs have now, or, when it has none, the one type that nova.conf gives it;
    ``vgpus_max`` is that type's real maximum on this GPU. Both None when it cannot be known.
    """

    host: str
    address: str
    model: str  # "A100 PCIe 40GB"; empty when no source names it
    mechanism: Mechanism
    vfs_enabled: int | None  # 0 without SR-IOV; None: unknown
    vfs_total: int | None
    sriov: bool | None
    functions: tuple[VirtualFunction, ...] = ()
    types: tuple[TypeCapacity, ...] = ()
    active_type: str | None = None  # type id
    active_type_name: str | None = None
    mixed_types: bool = False
    vgpus_created: int | None = None
    vgpus_used: int | None = None
    vgpus_max: int | None = None
    max_source: MaxSource = "unknown"
    driver: str | None = None
    vendor_id: str = ""
    product_id: str = ""
    numa_node: int | None = None
    provider_uuid: str | None = None  # only where the GPU itself is a provider (not SR-IOV)
    ecc: bool | None = None
    ecc_pending: bool | None = None  # after the GPU's next reset
    mig: bool | None = None  # cut into instances, which MIG-backed types need
    mixed_sizes: bool | None = None  # vGPUs of different framebuffer sizes may be on it at once
    gsp: bool | None = None  # its system processor runs firmware of the driver

    @property
    def vgpus_free(self) -> int | None:
        """What could still be handed out of the active type; 0 while the virtual functions it needs are off."""
        if self.sriov and self.vfs_enabled == 0:
            return 0
        if self.vgpus_max is None or self.vgpus_used is None:
            return None
        return max(0, self.vgpus_max - self.vgpus_used)


class MediatedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A vGPU: a mediated device, or, on vendor VFIO, a virtual function with a type (then ``uuid`` is None)."""

    uuid: str | None
    host: str
    parent: str | None  # the function it lives on
    gpu: str | None
    type_id: str
    type_name: str
    mechanism: Mechanism
    state: DeviceState
    persistent: bool | None = None
    autostart: bool | None = None
    server_id: str | None = None
    server: str | None = None
    project_id: str | None = None
    project: str | None = None
    domain: str | None = None  # libvirt's name of the guest that holds it
    used: bool | None = None  # None: the domains of this host could not be read
    provider_uuid: str | None = None


class VgpuServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server that asks for, holds or is allocated vGPUs."""

    id: str
    name: str
    project_id: str
    project: str
    host: str | None
    status: str | None
    vgpus: int | None  # what its flavor asks for, else what Placement gave it
    task_state: str | None = None
    power_state: int | None = None
    flavor: str | None = None
    ram_mib: int | None = None
    types: tuple[str, ...] = ()  # type names of the devices it holds
    devices: tuple[str, ...] = ()  # mdev uuids or VF addresses
    allocated: int | None = None
    allocated_on: tuple[str, ...] = ()  # provider uuids
    requested: dict[str, int] = {}  # resource class -> amount in the flavor
    created: str | None = None


class ProjectQuota(msgspec.Struct, frozen=True, kw_only=True):
    """One project's limit and use of one resource. ``limit`` None with origin ``missing`` or ``unknown``."""

    project_id: str
    project: str
    resource: str  # "class:VGPU"
    limit: int | None  # -1: unlimited
    origin: LimitOrigin
    used: int | None
    limit_id: str | None = None
    default: int | None = None
    used_by_instances: int | None = None
    used_by_migrations: int | None = None  # of live migrations that run; a resize in the making counts here too
    leaked: int | None = None  # held by migrations that have ended and by consumers that Nova does not know
    free: int | None = None  # None: unknown, unlimited, or no limit is registered
    in_flight: int | None = None  # the part of ``used`` that is counted twice because a migration runs
    missing_means: MissingWord | None = None  # with origin ``missing``: what that means for this resource


class QuotaTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One resource over all projects, against what the hosts really have."""

    resource: str
    promised: int | None  # the sum of all known limits; None when none is known
    unlimited: int  # projects without an end
    unknown: int  # projects whose limit is not known
    capacity: int | None  # the real maximum over the hosts that offer it; None when one of them is unknown
    used: int | None
    unreserved: int | None  # capacity that no limit promises; None when a figure is unknown or a project unlimited


class MissingMeaning(msgspec.Struct, frozen=True):
    """What it means on this cloud that a resource has no registered limit, and how that is known."""

    word: MissingWord
    why: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """A live migration, running or ended. ``progress`` is per cent of guest RAM (Nova's), None when not running."""

    uuid: str
    server_id: str
    server: str
    project: str
    source: str | None
    destination: str | None
    status: str | None
    running: bool
    vgpu: bool | None  # the server has vGPUs; None: not known
    progress: int | None = None
    downtime_ms: int | None = None  # measured; None: not measured
    id: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    memory_total_bytes: int | None = None
    memory_processed_bytes: int | None = None
    memory_remaining_bytes: int | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A resource provider that offers vGPUs, or is the root of one that does, tied to the device it stands for."""

    uuid: str
    name: str
    host: str  # the root provider's name
    generation: int
    parent_uuid: str | None = None
    device: str | None = None  # PCI address in its name
    gpu: str | None = None  # the GPU that device belongs to, when the host could be asked
    inventories: tuple[Inventory, ...] | None = None
    allocations: tuple[Allocation, ...] | None = None
    traits: tuple[str, ...] | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A compute host. Counts are None when no source that could know them has answered."""

    name: str
    service_state: str | None = None
    service_status: str | None = None
    disabled_reason: str | None = None
    gpus: tuple[PhysicalGpu, ...] | None = None  # None: unknown; empty: asked, and there are none
    vfs_enabled: int | None = None
    vfs_total: int | None = None
    mdevs_created: int | None = None
    mdevs_used: int | None = None
    mdevs_max: int | None = None
    driver: str | None = None
    kernel: str | None = None
    os_name: str | None = None
    libvirt: str | None = None
    qemu: str | None = None
    cpu_model: str | None = None
    clock_skew_s: float | None = None  # the host's clock is this far ahead of this machine's
    clock_error_s: float | None = None  # to within this
    nova_conf: dict[str, str] | None = None
    findings: tuple[Finding, ...] = ()
    known_from: tuple[str, ...] = ()  # kinds of the sources that know this host
    errors: tuple[str, ...] = ()  # why parts of it are unknown, a line per source
    zone: str | None = None
    stale: bool = False  # the figures are from an earlier answer; the last attempt failed

    used_source: str = ""  # "libvirt"; "placement" where the host's libvirt never answered

    @property
    def mdevs_free(self) -> int | None:
        """What could still be handed out, summed over the GPUs; None when any of them is unknown."""
        if self.gpus:
            free = [gpu.vgpus_free for gpu in self.gpus]
            return None if None in free else sum(n for n in free if n is not None)
        if self.mdevs_max is None or self.mdevs_used is None:
            return None
        return max(0, self.mdevs_max - self.mdevs_used)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole fleet at ``taken_at`` (seconds since the epoch), with how each source fares."""

    schema_version: int = SCHEMA_VERSION
    taken_at: float = 0.0
    identity: CloudIdentity = CloudIdentity()
    sources: tuple[SourceStatus, ...] = ()
    hosts: tuple[Host, ...] = ()
    mdevs: tuple[MediatedDevice, ...] = ()
    servers: tuple[VgpuServer, ...] = ()
    quotas: tuple[ProjectQuota, ...] = ()
    quota_totals: tuple[QuotaTotals, ...] = ()
    quota_findings: tuple[Finding, ...] = ()  # those that concern the cloud as a whole are among ``findings`` too
    missing_limit: MissingMeaning = MissingMeaning("unknown", "nothing has been read")  # of class:VGPU
    migrations: tuple[Migration, ...] = ()
    providers: tuple[Provider, ...] = ()
    findings: tuple[Finding, ...] = ()
    unlooked: tuple[Unlooked, ...] = ()

    @property
    def errors(self) -> tuple[SourceStatus, ...]:
        """The sources whose last attempt failed: what this snapshot may be missing."""
        return tuple(s for s in self.sources if s.error is not None)

    def host(self, name: str) -> Host | None:
        """The host of that name."""
        return next((h for h in self.hosts if h.name == name), None)
