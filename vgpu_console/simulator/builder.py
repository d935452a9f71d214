"""Puts a cloud together: what scenario files and the fleet generator have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vgpu_console.simulator.compute import Compute
from vgpu_console.simulator.gpu_models import BOARDS
from vgpu_console.simulator.hosts import Gpu, Host, Mechanism, gpu_address
from vgpu_console.simulator.state import (
    REGION,
    Aggregate,
    Domain,
    Endpoint,
    Flavor,
    Limit,
    Project,
    RegisteredLimit,
    Server,
    Service,
    State,
    User,
)

PASSWORD = "demo"  # noqa: S105 - the embedded cloud keeps nothing that is worth a secret
ADMIN = "admin"

_SERVICES = (
    ("identity", "keystone", "/identity"),
    ("compute", "nova", "/compute/v2.1"),
    ("placement", "placement", "/placement"),
)


class Builder:
    """Adds identity, hosts, devices and servers to a state, always through the rules that hold later too."""

    def __init__(self, state: State, compute: Compute) -> None:
        self.state = state
        self.compute = compute
        self.domain("default", "Default")
        for kind, name, path in _SERVICES:
            service = Service(state.new_id(), kind, name, path)
            state.services[service.id] = service
            for interface in ("public", "internal", "admin"):
                endpoint = Endpoint(state.new_id(), service.id, interface)
                state.endpoints[endpoint.id] = endpoint
        self.project("admin")
        self.user(ADMIN, {"admin": ("admin",)}, system=("admin",))
        nova = User(b"nova".hex() * 4, "nova", PASSWORD)  # reads limits for oslo.limit
        nova.roles["system", "all"] = ("reader",)
        self.state.users[nova.id] = nova

    # -- identity ----------------------------------------------------------------------------------------------

    def domain(self, domain_id: str, name: str) -> Domain:
        """Add a domain."""
        domain = self.state.domains[domain_id] = Domain(domain_id, name)
        return domain

    def project(self, name: str, limits: Mapping[str, int] | None = None, domain_id: str = "default") -> Project:
        """Add a project with its own limits."""
        project = Project(self.state.new_id(), name, domain_id)
        self.state.projects[project.id] = project
        for resource, value in (limits or {}).items():
            limit = Limit(
                self.state.new_id(), project.id, None, self.state.service("compute").id, REGION, resource, value
            )
            self.state.limits[limit.id] = limit
        return project

    def project_named(self, name: str) -> Project:
        """A project by its name. Raises KeyError."""
        for project in self.state.projects.values():
            if project.name == name:
                return project
        raise KeyError(f"no project {name!r}")

    def user(self, name: str, projects: Mapping[str, Sequence[str]], system: Sequence[str] = ()) -> User:
        """Add a user with roles on projects (by name) and on the system."""
        user = User(self.state.new_id(), name, PASSWORD)
        for project, roles in projects.items():
            user.roles["project", self.project_named(project).id] = tuple(roles)
        if system:
            user.roles["system", "all"] = tuple(system)
        self.state.users[user.id] = user
        return user

    def default_limits(self, limits: Mapping[str, int]) -> None:
        """Register Nova's limits."""
        service_id = self.state.service("compute").id
        for resource, value in limits.items():
            registered = RegisteredLimit(self.state.new_id(), service_id, REGION, resource, value)
            self.state.registered_limits[registered.id] = registered

    # -- hardware ----------------------------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        """Add a compute host without GPUs."""
        number = len(self.state.hosts) + 1
        host = Host(name)
        host.service_id = self.state.new_uuid()
        host.service_number = number
        host.root_uuid = self.state.new_uuid()
        host.ip = f"10.0.{number // 250}.{number % 250 + 1}"
        self.state.hosts[name] = host
        self.compute.add_root(host)
        return host

    def aggregate(
        self, name: str, hosts: Sequence[str], metadata: Mapping[str, str] | None = None, zone: str | None = None
    ) -> Aggregate:
        """Add a host aggregate; with a zone its hosts are in that availability zone."""
        number = len(self.state.aggregates) + 1
        one = Aggregate(number, self.state.new_uuid(), name, list(hosts), dict(metadata or {}), zone)
        self.state.aggregates.append(one)
        for host in hosts if zone else ():
            self.state.hosts[host].zone = zone or ""
        return one

    def gpu(
        self,
        host: Host,
        board: str,
        types: Sequence[str] = (),
        *,
        mechanism: Mechanism = "mdev",
        vfs: int | None = None,
    ) -> Gpu:
        """Add a GPU to a host; ``types`` are what nova.conf enables on it, ``vfs`` caps the board's VFs."""
        index = len(host.gpus)
        gpu = Gpu(host, BOARDS[board], gpu_address(index), mechanism=mechanism, numa=index % 2)
        if vfs is not None and gpu.sriov:
            gpu.vfs_enabled = vfs
        gpu.enabled = tuple(gpu.board.type(name) for name in types)
        host.gpus.append(gpu)
        return gpu

    # -- servers -----------------------------------------------------------------------------------------------

    def flavor(self, name: str, ram_mib: int, vcpus: int, disk_gib: int, extra_specs: Mapping[str, str]) -> Flavor:
        """Add a flavor."""
        flavor = Flavor(self.state.new_uuid(), name, ram_mib, vcpus, disk_gib, dict(extra_specs))
        self.state.flavors[flavor.id] = flavor
        return flavor

    def server(self, name: str, project: Project, flavor: Flavor, host: Host, gpu: Gpu | None = None) -> Server:
        """Put a running server on a host, its device on a certain GPU where one is given. Raises ValueError."""
        user = next(iter(self.state.users))
        for candidate in self.state.users.values():
            if ("project", project.id) in candidate.roles and candidate.name != ADMIN:
                user = candidate.id
                break
        server = self.compute.new_server(name, project.id, user, flavor)
        allocations = self._fit(host, flavor, gpu)
        if allocations is None:
            raise ValueError(f"server {name}: {host.name} has no room for {flavor.name}")
        self.compute.boot_now(server, host, allocations)
        self.compute.event(server.actions[0], "compute__do_build_and_run_instance", host=host.name)
        return server

    def _fit(self, host: Host, flavor: Flavor, gpu: Gpu | None) -> dict[str, dict[str, int]] | None:
        allocations = self.compute.fit(host, flavor)
        if allocations is None or gpu is None:
            return allocations
        placement = self.state.placement
        device = next((uuid for uuid in allocations if placement.providers[uuid].device), None)
        if device is None:
            return allocations
        wanted = allocations.pop(device)
        functions = (gpu.address,) if gpu.mechanism == "vendor-vfio" else gpu.functions()
        for function in functions:
            provider = placement.by_name.get(self.compute.provider_name(host, gpu, function))
            if provider is not None and all(provider.can_take(name, amount) for name, amount in wanted.items()):
                allocations[provider.uuid] = wanted
                return allocations
        return None

    def inventories(self, host: Host) -> None:
        """Write the host's device providers as nova-compute does when it starts."""
        self.compute.update_inventories(host)
