"""A console on the embedded cloud that also reads hosts, with the world that changes devices. Nothing is mocked."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.actions.demo import CATALOGUE, NOW, Console
from vgpu_console.actions.fleet_world import FleetWorld
from vgpu_console.actions.host_world import HostWorld
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome, apply, apply_all
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.model.source import SourceStatus
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.hosts import Host
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_host import LibvirtHostSource
from vgpu_console.sources.ssh_host import SshHostSource

ONE_A100 = """
name = "one A100"
[cloud]
compute_microversion = "2.104"
[[project]]
name = "ml-research"
[[flavor]]
name = "train"
ram_mib = 4096
vcpus = 2
disk_gib = 20
extra_specs = { "resources:VGPU" = "1" }
[[host]]
name = "gpu-01"
gpus = [{ board = "A100-40", types = ["A100-20C"] }]
"""
"""One host with one idle A100 of 16 virtual functions, which nova.conf gives A100-20C."""


def demo_of(folder: Path, scenario: str) -> DemoCloud:
    """A cloud of a scenario's text, on a clock that stands still."""
    file = folder / "scenario.toml"
    file.write_text(scenario, encoding="utf-8")
    return open_demo(file, clock=lambda: NOW, living=False)


class HostConsole(Console):
    """``console.read()`` reads Keystone, Nova, Placement and every host, as far as they answer."""

    def __init__(self, cloud: DemoCloud, folder: Path, *, read_only: bool = False) -> None:
        super().__init__(cloud, folder, read_only=read_only)
        hosts = HostWorld(
            read_only=read_only,
            uri=lambda host: f"qemu+ssh://{host}/system",
            opener=cloud.libvirt,
            shell=lambda: cloud.shell,
            shell_changes=True,
        )
        self.fleet = FleetWorld(self.world, hosts)

    def read(self) -> HostConsole:
        super().read()
        statuses = list(self.facts.statuses)
        libvirt: dict[str, LibvirtFacts] = {}
        ssh: dict[str, SshFacts] = {}
        for host in self.cloud.hosts:
            errors: dict[str, str] = {}
            try:
                libvirt[host] = LibvirtHostSource(host, f"qemu+ssh://{host}/system", self.cloud.libvirt).fetch()
            except SourceError as error:
                errors["libvirt"] = str(error)
            try:
                ssh[host] = SshHostSource(host, self.cloud.shell, clock=lambda: NOW).fetch()
            except SourceError as error:
                errors["ssh"] = str(error)
            for kind in ("libvirt", "ssh"):
                good = None if kind in errors else NOW - 2
                statuses.append(
                    SourceStatus(
                        kind=kind,
                        host=host,
                        fetched_at=good,
                        attempted_at=NOW - 2,
                        error=errors.get(kind),
                        interval_s=10.0,
                    )
                )
        self.facts = msgspec.structs.replace(self.facts, libvirt=libvirt, ssh=ssh, statuses=tuple(statuses))
        return self.join()

    def join(self) -> HostConsole:
        """The snapshot of the facts as they are now."""
        self.snapshot = Joiner(CATALOGUE).join(self.facts, NOW)
        return self

    def without(self, kind: str, host: str) -> HostConsole:
        """As if that source of a host had never answered."""
        facts = dict(getattr(self.facts, kind))
        facts.pop(host, None)
        statuses = tuple(
            msgspec.structs.replace(s, fetched_at=None, error=f"{host}: no route to host")
            if (s.kind, s.host) == (kind, host)
            else s
            for s in self.facts.statuses
        )
        self.facts = msgspec.structs.replace(self.facts, statuses=statuses, **{kind: facts})
        return self.join()

    def host(self, name: str) -> Host:
        """The simulated host itself."""
        return self.cloud.state.hosts[name]

    def apply(self, plan: Plan, *, accept: bool = True) -> Outcome:
        """Apply a plan, taking its warnings upon oneself. Waits for nothing."""
        accepted = frozenset(c.id for c in plan.needs_override) if accept else frozenset()
        return apply(plan, self.fleet, self.journal, accepted=accepted, wait=lambda _: None)

    def apply_all(self, plans: tuple[Plan, ...]) -> list[Outcome]:
        """Apply several plans in order, until one does not end as planned."""
        accepted = frozenset(c.id for plan in plans for c in plan.needs_override)
        return apply_all(plans, self.fleet, self.journal, accepted=accepted, stop_at_first=True, wait=lambda _: None)
