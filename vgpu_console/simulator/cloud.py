"""The embedded cloud as its users see it: one object with the three seams, the faults and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgpu_console.simulator.builder import ADMIN, PASSWORD, Builder
from vgpu_console.simulator.compute import Compute
from vgpu_console.simulator.faults import Faults
from vgpu_console.simulator.generator import FleetSize, generate
from vgpu_console.simulator.illnesses import ILL_FOR_S, ILLNESSES, WELL, illness_of
from vgpu_console.simulator.libvirt_shape import DemoConnection, LibvirtHub
from vgpu_console.simulator.life import Life
from vgpu_console.simulator.migrating import Migrations
from vgpu_console.simulator.nova_common import Nova
from vgpu_console.simulator.resizing import Resizes
from vgpu_console.simulator.scenario import apply, load_scenario, scenario_path
from vgpu_console.simulator.shell_changes import ShellChanges
from vgpu_console.simulator.shell_shape import DemoShell
from vgpu_console.simulator.state import REGION, State
from vgpu_console.simulator.wsgi import CloudApp

if TYPE_CHECKING:
    import requests

    from vgpu_console.sources.cloud_auth import CloudSpec

BASE_URL = "http://demo.invalid"
"""Where the cloud is inside the process; a name that no resolver knows."""

_PAST_S = 900.0
"""A scenario's world begins this long before it is opened, so that its servers are not all of this second."""

_UNDER_WAY_S = 30.0
"""A scenario's migrations began this long before it is opened."""


class DemoCloud:
    """A whole simulated cloud. Everything in it moves only when ``advance`` is called, to what ``clock`` says."""

    def __init__(self, *, clock: Callable[[], float] = time.time, seed: int = 1) -> None:
        self.clock = clock
        self.state = State(clock() - _PAST_S, seed)
        self.faults = Faults()
        self.compute = Compute(self.state)
        self.migrations = Migrations(self.compute)
        self.resizes = Resizes(self.compute)
        self.life = Life(self.compute, self.migrations)
        self.builder = Builder(self.state, self.compute)
        self.hub = LibvirtHub(self.state, self.faults, self.advance, self.compute.device_changed)
        changes = ShellChanges(self.state, self.faults, self.compute.device_changed)
        self.shell = DemoShell(self.state, self.faults, self.advance, changes)
        self.app = CloudApp(self.state, Nova(self.compute, self.migrations, self.resizes), self.faults, self.advance)
        self.name = "demo"

    @property
    def wsgi(self) -> CloudApp:
        """Keystone, Nova and Placement as one WSGI application."""
        return self.app

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of all hosts."""
        return tuple(self.state.hosts)

    def advance(self) -> None:
        """Move the world to the clock's time, and tell libvirt's listeners what happened on the way."""
        self.state.advance(self.clock())
        self.hub.deliver()

    def libvirt(self, uri: str, read_only: bool = True) -> DemoConnection:
        """Open a libvirt connection to the host in the URI's authority. Raises like libvirt, or OSError."""
        return self.hub.open(uri, read_only)

    def http(self) -> requests.Session:
        """A requests session that reaches the cloud at ``http://demo.invalid`` without a socket."""
        from vgpu_console.simulator.in_process import session

        return session(self.app, BASE_URL)

    def auth(
        self, base: str = BASE_URL, *, user: str = ADMIN, project: str = "admin", system: bool = False
    ) -> dict[str, Any]:
        """An ``auth`` section as clouds.yaml has it."""
        auth: dict[str, Any] = {
            "auth_url": f"{base}/identity/v3",
            "username": user,
            "password": PASSWORD,
            "user_domain_id": "default",
        }
        if system:
            return auth | {"system_scope": "all"}
        return auth | {"project_name": project, "project_domain_id": "default"}

    def spec(self, *, user: str = ADMIN, project: str = "admin", system: bool = False) -> CloudSpec:
        """How the console's connection reaches this cloud through ``http()``."""
        from vgpu_console.sources.cloud_auth import CloudSpec

        overrides = {"auth_type": "password", "auth": self.auth(user=user, project=project, system=system)}
        return CloudSpec(cloud=self.name, region=REGION, interface="public", overrides=overrides, load_files=False)

    def expire_tokens(self) -> None:
        """Make every token that was issued invalid at once."""
        with self.state.lock:
            self.state.tokens.clear()


def open_demo(
    scenario: str | Path | int | None = None,
    *,
    clock: Callable[[], float] = time.time,
    seed: int = 1,
    living: bool | None = None,
    gpus: int = 8,
    vfs: int = 16,
    used: float = 0.4,
    projects: int | None = None,
) -> DemoCloud:
    """Open the embedded cloud: a scenario by name or file (``small`` when None), or a generated fleet of n hosts.

    ``ill-<diagnosis>`` is the healthy fleet with what the doctor's diagnosis of that id is about.

    ``living`` overrides whether things happen by themselves. ``gpus``, ``vfs``, ``used`` (the part of each GPU's real
    maximum that servers hold) and ``projects`` are for generated fleets. Raises ScenarioError.
    """
    cloud = DemoCloud(clock=clock, seed=seed)
    if isinstance(scenario, int):
        generate(cloud.builder, FleetSize(scenario, gpus, vfs, used, projects))
        cloud.name = f"demo-{scenario}"
    else:
        illness = illness_of(scenario)
        read = load_scenario(scenario_path(WELL if illness else scenario or "small"))
        apply(read, cloud.builder, cloud.life)
        cloud.faults.libvirt.update(read.get("faults", {}).get("libvirt", {}))
        cloud.faults.ssh.update(read.get("faults", {}).get("ssh", {}))
        if living is not None:
            cloud.life.living = living
        cloud.life.recall()
        if illness:
            cloud.state.advance(clock() - ILL_FOR_S)
            ILLNESSES[illness](cloud)
        cloud.state.advance(clock() - _UNDER_WAY_S)
        cloud.life.begin()
    cloud.advance()
    return cloud
