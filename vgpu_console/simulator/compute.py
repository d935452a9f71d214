"""What Nova does in the embedded cloud: inventories, scheduling, quota, boots and deletes."""

from __future__ import annotations

from collections.abc import Iterator

from vgpu_console.simulator.flavors import Group, device_groups, resources_of
from vgpu_console.simulator.gpu_models import VgpuType
from vgpu_console.simulator.hosts import Gpu, Guest, Host, KernelRefusal, Mdev
from vgpu_console.simulator.providers import Inventory, PlacementConflict, Provider
from vgpu_console.simulator.state import Action, ActionEvent, Flavor, Server, State

NO_VALID_HOST = "No valid host was found. There are not enough hosts available."
RETRIES_EXHAUSTED = (
    "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance {}."
)
MDEV_UNAVAILABLE = "Insufficient compute resources: mdev-capable resource is not available."

_ONE_VGPU = {"VGPU": Inventory(1)}
_OWNER = frozenset({"OWNER_NOVA"})


class OverQuota(Exception):
    """A request that the project's limits do not allow; the text is oslo.limit's."""


class Compute:
    """Nova's control plane and every nova-compute."""

    def __init__(self, state: State) -> None:
        self.state = state

    # -- inventories -------------------------------------------------------------------------------------------

    def nova_type(self, gpu: Gpu) -> VgpuType | None:
        """The type that nova.conf enables on a GPU."""
        return gpu.enabled[0] if gpu.enabled else None

    def add_root(self, host: Host) -> Provider:
        """The compute node's own provider, with the inventories every node has."""
        root = Provider(host.root_uuid, host.name, host=host.name)
        root.traits = frozenset({"COMPUTE_NODE", "HW_CPU_X86_AVX2", "COMPUTE_TRUSTED_CERTS"})
        root.inventories = {
            "VCPU": Inventory(host.vcpus, allocation_ratio=4.0),
            "MEMORY_MB": Inventory(host.memory_mib, reserved=4096),
            "DISK_GB": Inventory(host.disk_gib),
        }
        root.generation = 2
        self.state.placement.traits.update(root.traits)
        return self.state.placement.add(root)

    def provider_name(self, host: Host, gpu: Gpu, function: str) -> str:
        """How Nova names the provider of a device: by libvirt's node device, or by PCI address on vendor VFIO."""
        if gpu.mechanism == "vendor-vfio":
            return f"{host.name}_{gpu.address.upper()}"
        return f"{host.name}_pci_{function.replace(':', '_').replace('.', '_')}"

    def update_inventories(self, host: Host) -> list[str]:
        """nova-compute's periodic update of its device providers. Returns the lines it would log as errors.

        As Nova does, it looks only at devices that are present: the provider of a vanished function stays.
        """
        errors: list[str] = []
        left = dict(host.max_instances)
        for gpu in host.gpus:
            kind = self.nova_type(gpu)
            if kind is None:
                continue
            if gpu.mechanism == "vendor-vfio":
                # Nova counts what device_spec matches: whether a type is set on it, it does not know
                total = len(gpu.novas_functions()) if gpu.named is not None else self._typed(gpu, kind)
                self._offer(host, gpu, gpu.address, f"CUSTOM_{_class_name(kind)}", total, errors)
                continue
            if not gpu.manager_up:
                continue  # no function is a parent of mediated devices any more: Nova does not look at it
            running = gpu.running()
            spare = gpu.spare(kind, running)
            untouched = min(1, spare) if gpu.sriov else spare
            for function in gpu.novas_functions():
                if function in gpu.unbound:
                    continue
                mdevs = gpu.mdevs.get(function)
                total = untouched
                if mdevs:
                    total = sum(1 for mdev in mdevs if mdev.kind is kind) + gpu.available(function, kind, running)
                if kind.type_id in left:
                    if total > left[kind.type_id]:
                        total = 0
                    left[kind.type_id] -= total
                self._offer(host, gpu, function, "VGPU", total, errors)
        return errors

    def _typed(self, gpu: Gpu, kind: VgpuType) -> int:
        return sum(1 for set_type in gpu.current_types.values() if set_type is kind)

    def _offer(
        self, host: Host, gpu: Gpu, function: str, resource_class: str, total: int, errors: list[str]
    ) -> Provider | None:
        placement = self.state.placement
        name = self.provider_name(host, gpu, function)
        provider = placement.by_name.get(name)
        if total == 0:
            if provider is not None:
                try:
                    placement.remove(provider)
                except PlacementConflict as conflict:
                    errors.append(str(conflict))
            return None
        if provider is None:
            provider = Provider(self.state.new_uuid(), name, root=host.root_uuid, host=host.name, device=function)
            provider.traits = _OWNER
            if gpu.mechanism == "vendor-vfio":
                provider.traits = frozenset({"COMPUTE_MANAGED_PCI_DEVICE", "HW_PCI_LIVE_MIGRATABLE"})
            placement.add(provider)
        inventory = provider.inventories.get(resource_class)
        if inventory is None or inventory.total != total:
            fresh = _ONE_VGPU if resource_class == "VGPU" and total == 1 else {resource_class: Inventory(total)}
            placement.set_inventories(provider, fresh)
        return provider

    def device_changed(self, host: Host) -> None:
        """Have nova-compute notice at its next periodic update that its devices changed."""
        if host.inventory_due is not None:
            return
        interval = self.state.inventory_interval_s
        delay = interval - self.state.now % interval
        host.inventory_due = self.state.now + delay

        def update() -> None:
            host.inventory_due = None
            if host.up:
                self.update_inventories(host)

        self.state.after(delay, update)

    # -- quota -------------------------------------------------------------------------------------------------

    def check_quota(self, project_id: str, flavor: Flavor, count: int = 1) -> None:
        """Nova's check against unified limits. Raises OverQuota with oslo.limit's text.

        A class without a registered limit is not enforced (unified_limits_resource_strategy "require" with its default
        list), -1 is unlimited, and the use of a class is what Placement says, so a running migration counts twice.
        """
        if self.state.quota_driver != "unified":
            return
        usage = self.state.placement.usages.get(project_id, {})
        servers = sum(1 for s in self.state.servers.values() if s.project_id == project_id and s.deleted is None)
        deltas = [("servers", servers, count)]
        deltas += [
            (f"class:{name}", usage.get(name, 0), amount * count) for name, amount in resources_of(flavor).items()
        ]
        over = []
        for name, used, delta in deltas:
            limit, origin = self.state.limit_of(project_id, name)
            if limit < 0 or (origin == "missing" and name != "servers"):
                continue
            if used + delta > limit:
                over.append(f"Resource {name} is over limit of {limit} due to current usage {used} and delta {delta}")
        if over:
            raise OverQuota(f"Project {project_id} is over a limit for [{', '.join(over)}]")

    # -- scheduling --------------------------------------------------------------------------------------------

    def fit(self, host: Host, flavor: Flavor) -> dict[str, dict[str, int]] | None:
        """Allocations for a server on a host, as Placement would offer them first; None when there are none."""
        placement = self.state.placement
        root = placement.providers.get(host.root_uuid)
        if root is None:
            return None
        base = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mib, "DISK_GB": flavor.disk_gib}
        base = {name: amount for name, amount in base.items() if amount}
        if not all(root.can_take(name, amount) for name, amount in base.items()):
            return None
        allocations = {root.uuid: base}
        for group in device_groups(flavor):
            provider = next(
                (p for p in self._suppliers(placement.trees[root.uuid].values(), group) if p.uuid not in allocations),
                None,
            )
            if provider is None:
                return None
            allocations[provider.uuid] = dict(group.resources)
        return allocations

    def _suppliers(self, providers: object, group: Group) -> Iterator[Provider]:
        for provider in list(providers):  # type: ignore[call-overload]
            if (
                provider.parent is not None
                and group.required <= provider.traits
                and all(provider.can_take(name, amount) for name, amount in group.resources.items())
            ):
                yield provider

    def candidates(self) -> Iterator[Host]:
        """Hosts the scheduler considers."""
        return (host for host in self.state.hosts.values() if host.up and host.status == "enabled")

    # -- devices -----------------------------------------------------------------------------------------------

    def take_devices(self, host: Host, allocations: dict[str, dict[str, int]], owner: str) -> list[str]:
        """Give a server the devices of its allocations; reuses free handles, as Nova does. Raises KernelRefusal."""
        taken: list[str] = []
        try:
            for uuid in allocations:
                provider = self.state.placement.providers[uuid]
                if provider.device:
                    taken += self._take(host, provider, sum(allocations[uuid].values()), owner)
        except KernelRefusal:
            self.release_devices(host, taken)
            raise
        return taken

    def _take(self, host: Host, provider: Provider, amount: int, owner: str) -> list[str]:
        gpu = host.gpu_of(provider.device)
        kind = self.nova_type(gpu) if gpu else None
        if gpu is None or kind is None:
            raise KernelRefusal(MDEV_UNAVAILABLE)
        if gpu.mechanism == "vendor-vfio":
            free = [a for a, set_type in gpu.current_types.items() if set_type is kind and a not in gpu.claimed]
            if len(free) < amount:
                raise KernelRefusal("Insufficient compute resources: Claim pci failed.")
            gpu.claimed.update(dict.fromkeys(free[:amount], owner))
            return free[:amount]
        taken = []
        for _ in range(amount):
            mdev = self._free_mdev(gpu, kind, provider.device)
            if mdev is None:
                if not gpu.available(provider.device, kind):
                    raise KernelRefusal(MDEV_UNAVAILABLE)
                mdev = gpu.create(self.state.new_uuid(), kind.type_id, provider.device, persistent=True)
                notify_device(host, mdev.name, 0)
                notify_device(host, mdev.name, 2)
                self.device_changed(host)
            if not mdev.active:
                raise KernelRefusal(f"device not found: mediated device '{mdev.uuid}' not found")
            gpu.claimed[mdev.uuid] = owner
            taken.append(mdev.uuid)
        return taken

    def _free_mdev(self, gpu: Gpu, kind: VgpuType, function: str) -> Mdev | None:
        for mdev in gpu.mdevs.get(function, ()):
            if mdev.kind is kind and mdev.uuid not in gpu.claimed:
                return mdev
        return None

    def release_devices(self, host: Host, devices: list[str]) -> None:
        """Take devices away from whoever holds them. The handles stay, as Nova leaves them."""
        for gpu in host.gpus:
            for device in devices:
                gpu.claimed.pop(device, None)

    def add_guest(self, host: Host, server: Server, devices: list[str]) -> Guest:
        """The server's libvirt domain on a host."""
        guest = Guest(server.id, server.instance_name, server.name, server.flavor.ram_mib, server.flavor.vcpus)
        for device in devices:
            (guest.mdevs if "-" in device else guest.pci).append(device)
        host.guests[server.id] = guest
        return guest

    # -- servers -----------------------------------------------------------------------------------------------

    def new_server(self, name: str, project_id: str, user_id: str, flavor: Flavor, action: bool = True) -> Server:
        """A server that is about to be scheduled."""
        state = self.state
        server = Server(
            id=state.new_uuid(),
            number=next(state.server_numbers),
            name=name,
            project_id=project_id,
            user_id=user_id,
            flavor=flavor,
            created=state.now,
            updated=state.now,
        )
        state.servers[server.id] = server
        if action:
            self.act(server, "create")
        return server

    def act(self, server: Server, action: str, user_id: str | None = None) -> Action:
        """Record an instance action."""
        record = Action(
            request_id=f"req-{self.state.new_uuid()}",
            action=action,
            start=self.state.now,
            updated=self.state.now,
            user_id=user_id or server.user_id,
            project_id=server.project_id,
        )
        server.actions.append(record)
        return record

    def event(
        self, action: Action, name: str, result: str = "Success", host: str | None = None, details: str | None = None
    ) -> None:
        """Record an event of an action."""
        now = self.state.now
        action.events.append(ActionEvent(name, now, now, result, host, details))
        action.updated = now

    def boot(self, server: Server, host_name: str | None = None) -> None:
        """Schedule and build a server over the next seconds."""
        self.state.after(0.5, lambda: self._build(server, host_name))

    def boot_now(self, server: Server, host: Host, allocations: dict[str, dict[str, int]]) -> None:
        """Put a server on a host at once: how scenarios are built. Raises KernelRefusal, PlacementConflict."""
        self.state.placement.allocate(server.id, allocations, server.project_id, server.user_id)
        devices = self.take_devices(host, allocations, server.id)
        self._running(server, host, devices)

    def _running(self, server: Server, host: Host, devices: list[str]) -> None:
        server.host = host.name
        self.add_guest(host, server, devices)
        self.set(server, "ACTIVE", "active", None)
        server.power_state = 1
        server.launched = self.state.now
        notify_domain(host, server.id, 2, 0)

    def set(self, server: Server, status: str, vm_state: str, task_state: str | None) -> None:
        """Change a server's states."""
        server.status, server.vm_state, server.task_state = status, vm_state, task_state
        server.updated = self.state.now

    def _build(self, server: Server, host_name: str | None) -> None:
        if server.deleted is not None:
            return
        for host in self.candidates():
            if host_name is not None and host.name != host_name:
                continue
            allocations = self.fit(host, server.flavor)
            if allocations is None:
                continue
            self.state.placement.allocate(server.id, allocations, server.project_id, server.user_id)
            server.host = host.name
            self.set(server, "BUILD", "building", "spawning")
            self.state.after(2.0, lambda host=host, wanted=allocations: self._spawn(server, host, wanted))  # type: ignore[misc]
            return
        self.fail(server, NO_VALID_HOST)

    def _spawn(self, server: Server, host: Host, allocations: dict[str, dict[str, int]]) -> None:
        if server.deleted is not None:
            return
        try:
            devices = self.take_devices(host, allocations, server.id)
        except KernelRefusal:
            self.state.placement.allocate(server.id, {}, server.project_id, server.user_id)
            server.host = None
            self.fail(server, RETRIES_EXHAUSTED.format(server.id))
            return
        self.add_guest(host, server, devices)

        def finish() -> None:
            if server.deleted is None and server.status == "BUILD":
                if server.actions:
                    self.event(server.actions[0], "compute__do_build_and_run_instance", host=host.name)
                self._running(server, host, devices)

        self.state.after(6.0, finish)

    def fail(self, server: Server, text: str) -> None:
        """Put a server into ERROR with a fault."""
        self.set(server, "ERROR", "error", None)
        server.fault, server.fault_at = text, self.state.now

    def delete(self, server: Server) -> None:
        """Delete a server: its domain and its allocations go, its mediated devices stay as free handles."""
        host = self.state.hosts.get(server.host or "")
        if host is not None:
            guest = host.guests.pop(server.id, None)
            if guest is not None:
                self.release_devices(host, guest.mdevs + guest.pci)
                notify_domain(host, server.id, 5, 0)
            for gpu in host.gpus:
                self.release_devices(host, [device for device, owner in gpu.claimed.items() if owner == server.id])
        self.state.placement.allocate(server.id, {}, server.project_id, server.user_id)
        self.set(server, "DELETED", "deleted", None)
        server.deleted = self.state.now
        server.power_state = 0


def _class_name(kind: VgpuType) -> str:
    return kind.short_name.upper().replace("-", "_")


def notify_device(host: Host, name: str, event: int) -> None:
    """Tell a host's libvirt connections of a node device event (0 created, 1 deleted, 2 defined, 3 undefined)."""
    for listener in host.listeners:
        listener.device_event(name, event)  # type: ignore[attr-defined]


def notify_domain(host: Host, server_id: str, event: int, detail: int) -> None:
    """Tell a host's libvirt connections of a domain's life-cycle event."""
    for listener in host.listeners:
        listener.domain_event(server_id, event, detail)  # type: ignore[attr-defined]
