"""The embedded cloud's one state: everything the three seams show is read from here and changed here."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from vgpu_console.simulator.hosts import Host
from vgpu_console.simulator.providers import Placement

REGION = "RegionOne"

LEGACY_DEFAULTS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
}
"""Defaults of nova.conf's [quota] section."""


def iso(moment: float) -> str:
    """Seconds since the epoch as Nova writes times: ``2026-08-04T12:00:00Z``."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro(moment: float) -> str:
    """The same with a fraction and no zone, as Nova's older views write it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


class Domain(msgspec.Struct, eq=False):
    """A Keystone domain."""

    id: str
    name: str


class Project(msgspec.Struct, eq=False):
    """A Keystone project."""

    id: str
    name: str
    domain_id: str = "default"
    enabled: bool = True
    description: str = ""


class User(msgspec.Struct, eq=False):
    """A Keystone user with its roles: (scope kind, scope id) -> role names; the system's id is ``all``."""

    id: str
    name: str
    password: str
    domain_id: str = "default"
    roles: dict[tuple[str, str], tuple[str, ...]] = {}


class Service(msgspec.Struct, eq=False):
    """A service of the catalogue."""

    id: str
    type: str
    name: str
    path: str  # below the cloud's base URL


class Endpoint(msgspec.Struct, eq=False):
    """An endpoint of a service; its URL is the base URL and the service's path."""

    id: str
    service_id: str
    interface: str
    region_id: str | None = REGION


class RegisteredLimit(msgspec.Struct, eq=False):
    """A default limit."""

    id: str
    service_id: str
    region_id: str | None
    resource_name: str
    default_limit: int
    description: str | None = None


class Limit(msgspec.Struct, eq=False):
    """A project's own limit."""

    id: str
    project_id: str | None
    domain_id: str | None
    service_id: str
    region_id: str | None
    resource_name: str
    resource_limit: int
    description: str | None = None


class Flavor(msgspec.Struct, eq=False):
    """A Nova flavor."""

    id: str
    name: str
    ram_mib: int
    vcpus: int
    disk_gib: int
    extra_specs: dict[str, str] = {}


class Aggregate(msgspec.Struct, eq=False):
    """A host aggregate. One with a zone puts its hosts into that availability zone."""

    id: int
    uuid: str
    name: str
    hosts: list[str] = []
    metadata: dict[str, str] = {}
    zone: str | None = None


class ActionEvent(msgspec.Struct, eq=False):
    """An event of an instance action."""

    event: str
    start: float
    finish: float | None = None
    result: str | None = None
    host: str | None = None
    details: str | None = None


class Action(msgspec.Struct, eq=False):
    """An instance action."""

    request_id: str
    action: str
    start: float
    user_id: str
    project_id: str
    message: str | None = None
    updated: float = 0.0
    events: list[ActionEvent] = []


class Server(msgspec.Struct, eq=False):
    """A Nova server."""

    id: str
    number: int
    name: str
    project_id: str
    user_id: str
    flavor: Flavor
    created: float
    updated: float
    host: str | None = None
    status: str = "BUILD"
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    progress: int = 0
    launched: float | None = None
    deleted: float | None = None
    fault: str | None = None
    fault_code: int = 500
    fault_at: float | None = None  # None: when the server last changed
    locked: bool = False
    pinned_zone: str | None = None  # the zone that was asked for when it was created
    description: str | None = None
    metadata: dict[str, str] = {}
    actions: list[Action] = []

    @property
    def instance_name(self) -> str:
        """The name of the server's libvirt domain."""
        return f"instance-{self.number:08x}"


MigrationFault = Literal[
    "destination-dies",  # its QEMU ends while memory is sent
    "qemu-refuses",  # to begin
    "stuck",  # libvirt's job stands still
    "never-converges",  # the guest writes faster than can be sent
    "no-job",  # Nova says that it runs, and libvirt knows of nothing
    "source-compute-dies",  # libvirt goes on alone
    "guest-dies",
    "post-fails",  # moved, but Nova fails while it tidies up
]


class Migration(msgspec.Struct, eq=False):
    """A migration. Of a live one ``started`` is when its memory began to move; the byte counts follow from the clock.

    ``kind`` is Nova's migration_type; ``old_flavor`` is what a resize goes back to when it is reverted.
    """

    id: int
    uuid: str
    server_id: str
    source: str
    destination: str | None
    created: float
    updated: float
    project_id: str
    user_id: str
    status: str = "accepted"
    duration_s: float = 60.0  # of the memory phase
    started: float | None = None
    ended: float | None = None
    downtime_ms: int | None = None
    clocks_apart_ms: int = 0  # the destination's clock against the source's: libvirt counts a downtime over both
    suspended: float | None = None  # since when its guest stands still on the source
    switching: bool = False  # the memory is copied, the device's state and the last of it follow
    iteration: int = 0  # of the memory's passes the last one that libvirt has told of
    figures_read_away: bool = False  # somebody read the completed job's statistics without keeping them
    fault: MigrationFault | None = None  # how it goes wrong
    cancelled: bool = False  # aborted while the destination prepares: it ends as soon as that is done
    action: Action | None = None  # the instance action whose events tell of it
    job_total: int = 0  # the memory as libvirt's job counts it, from its first moment; Nova writes its counts later
    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    devices: dict[str, str] = {}  # source mdev uuid -> destination mdev uuid
    rollback: dict[str, dict[str, int]] = {}
    kind: str = "live-migration"
    old_flavor: Flavor | None = None

    @property
    def ended_status(self) -> bool:
        """Whether the migration is over."""
        return self.status in ("completed", "failed", "cancelled", "error", "confirmed", "reverted")


class Token(msgspec.Struct, eq=False):
    """An issued token."""

    id: str
    user: User
    scope: tuple[str, str] | None  # ("project", id), ("domain", id), ("system", "all")
    roles: tuple[str, ...]
    issued: float
    expires: float

    @property
    def project_id(self) -> str | None:
        """The project of a project-scoped token."""
        return self.scope[1] if self.scope and self.scope[0] == "project" else None

    @property
    def system(self) -> bool:
        """Whether the token has the system's scope."""
        return self.scope is not None and self.scope[0] == "system"


class State:
    """The whole cloud. ``now`` moves only in ``advance``; everything random comes from one seeded source."""

    def __init__(self, now: float, seed: int) -> None:
        self.lock = threading.RLock()
        self.now = now
        self.random = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self.hosts: dict[str, Host] = {}
        self.domains: dict[str, Domain] = {}
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.services: dict[str, Service] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.registered_limits: dict[str, RegisteredLimit] = {}
        self.limits: dict[str, Limit] = {}
        self.tokens: dict[str, Token] = {}
        self.token_life_s = 3600.0
        self.placement = Placement()
        self.flavors: dict[str, Flavor] = {}
        self.aggregates: list[Aggregate] = []
        self.servers: dict[str, Server] = {}  # in order of creation
        self.migrations: dict[int, Migration] = {}  # in order of creation
        self.compute_max = (2, 104)
        self.placement_max = (1, 39)
        self.sees_all_limits = False  # Keystone 29 and later show all limits to a project-scoped admin
        self.enforcement_model = "flat"
        self.quota_driver = "unified"  # or "db": then Nova has no VGPU quota at all
        self.legacy_defaults = dict(LEGACY_DEFAULTS)  # of the quota class "default", in Nova's database
        self.legacy_quotas: dict[str, dict[str, int]] = {}  # project id -> its own, there
        self.inventory_interval_s = 60.0  # nova-compute's periodic update
        self.migration_seconds = 60.0  # of the memory phase of a live migration
        self.server_numbers = itertools.count(1)
        self.migration_numbers = itertools.count(1)
        self._ticket = itertools.count()
        self._schedule: list[tuple[float, int, Callable[[], None]]] = []

    def new_uuid(self) -> str:
        """A random uuid (version 4) from the seeded source."""
        text = "%032x" % self.random.getrandbits(128)  # noqa: UP031 - twice as fast, and there are 100,000 of them
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def new_id(self) -> str:
        """An id as Keystone makes them: 32 hexadecimal digits."""
        return f"{self.random.getrandbits(128):032x}"

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        """Do something when the clock has moved on by that much."""
        heapq.heappush(self._schedule, (self.now + delay_s, next(self._ticket), what))

    def advance(self, to: float) -> None:
        """Move the world to a moment, doing on the way all that was due. A clock that went back changes nothing."""
        with self.lock:
            while self._schedule and self._schedule[0][0] <= to:
                due, _, what = heapq.heappop(self._schedule)
                self.now = max(self.now, due)
                what()
            self.now = max(self.now, to)

    def service(self, kind: str) -> Service:
        """The catalogue's service of a type."""
        return next(service for service in self.services.values() if service.type == kind)

    def limit_of(self, project_id: str, resource: str) -> tuple[int, str]:
        """A project's limit of a resource and where it comes from: ``project``, ``default`` or ``missing``.

        oslo.limit filters by the service and region of Nova's endpoint, so limits of another region do not count.
        """
        service_id = self.service("compute").id
        for limit in self.limits.values():
            if (limit.project_id, limit.resource_name, limit.service_id, limit.region_id) == (
                project_id,
                resource,
                service_id,
                REGION,
            ):
                return limit.resource_limit, "project"
        for registered in self.registered_limits.values():
            if (registered.resource_name, registered.service_id, registered.region_id) == (
                resource,
                service_id,
                REGION,
            ):
                return registered.default_limit, "default"
        return 0, "missing"
