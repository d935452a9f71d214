"""A console of one real GPU host: facts as its own sources read them, and the world that changes its devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab.host_machine import GpuHost
from tests.lab.lab import until
from vgpu_console.actions.host_world import HostWorld
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.mdev_change import plan_autostart, plan_remove, plan_start, plan_stop
from vgpu_console.actions.mdev_create import plan_create
from vgpu_console.actions.plan import OperatorStep, Plan, Step
from vgpu_console.actions.registry import action
from vgpu_console.actions.runner import Outcome, Progress, apply, apply_all
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.model.snapshot import PhysicalGpu, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.mdev_room import TypeRoom, type_rooms
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_host import LibvirtHostSource, open_libvirt
from vgpu_console.sources.ssh_host import SshHostSource


class OneHostWorld:
    """What plans are applied to where there is no cloud: the host alone, behind the same wall."""

    def __init__(self, hosts: HostWorld) -> None:
        self.hosts = hosts

    @property
    def read_only(self) -> bool:
        return self.hosts.read_only

    @property
    def name(self) -> str:
        return "lab-host"

    def refuses(self, step: Step) -> str:
        return "" if isinstance(step, OperatorStep) else self.hosts.refuses(step)  # type: ignore[arg-type]

    def take(self, step: Step) -> None:
        if not isinstance(step, OperatorStep):
            self.hosts.take(step)  # type: ignore[arg-type]

    def observe(self, plan: Plan) -> dict[str, Any]:
        return action(plan.action).observe(self, plan)

    def libvirt_facts(self, host: str) -> LibvirtFacts:
        return self.hosts.libvirt_facts(host)

    def shell_facts(self, host: str) -> SshFacts:
        return self.hosts.shell_facts(host)

    def get(self, service: str, path: str, **more: Any) -> dict[str, Any]:
        raise SourceError("unavailable", "there is no cloud here")

    def created(self, key: Mapping[str, str | None]) -> str | None:
        return None


class DeviceConsole:
    """``read()`` asks the host's libvirt and SSH; plans are made from that and applied over both."""

    def __init__(
        self, host: GpuHost, folder: Path, *, user: str = "root", read_only: bool = False, changes: bool = True
    ) -> None:
        self.host = host
        self.name = host.address
        self._shell = host.shell(user, changes=changes)
        uri = host.libvirt_uri if user == "root" else host.libvirt_ssh_uri(user)
        self._libvirt = LibvirtHostSource(self.name, uri, timeout_s=20)
        self._ssh = SshHostSource(self.name, self._shell, timeout_s=60)
        self.world = OneHostWorld(
            HostWorld(
                read_only=read_only,
                uri=lambda _: uri,
                opener=open_libvirt,
                libvirt_timeout_s=20,
                shell=lambda: self._shell,
                ssh_timeout_s=60,
                shell_changes=changes,
            )
        )
        self.journal = Journal(folder / "journal.jsonl")
        self.facts = Facts()
        self.snapshot = Snapshot()

    def read(self) -> DeviceConsole:
        """Read the host once."""
        libvirt, ssh = self._libvirt.fetch(None), self._ssh.fetch(None)
        now = time.time()
        statuses = tuple(
            SourceStatus(kind=kind, host=self.name, fetched_at=now, attempted_at=now, interval_s=30.0)
            for kind in ("libvirt", "ssh")
        )
        self.facts = Facts(
            libvirt={self.name: libvirt}, ssh={self.name: ssh}, statuses=statuses, expected_hosts=(self.name,)
        )
        self.snapshot = Joiner(load_catalogue()).join(self.facts, now)
        return self

    def read_with(self, gpu: str, vfs: int) -> DeviceConsole:
        """Read until libvirt has so many functions of a GPU: its events come seconds after the kernel's.

        Twice the same, for it passes that number also on its way to fewer, and lists some twice as new.
        """
        before: list[Any] = [None]

        def seen() -> bool:
            facts = self.read().facts.libvirt[self.name]
            before.append((facts.devices, facts.mdevs))
            there = sum(d.physical_function == gpu and bool(d.types) for d in facts.devices)
            return there == vfs and before[-2] == before[-1]

        until(seen, f"libvirt shows {vfs} functions of {gpu}")
        return self

    def gpu(self, address: str) -> PhysicalGpu:
        """One GPU as it was last read."""
        host = self.snapshot.host(self.name)
        return next(g for g in (host.gpus if host is not None else None) or () if g.address == address)

    def room(self, gpu: str, type_id: str) -> TypeRoom:
        """What could be made of a type on a GPU, as it was last read."""
        return next(r for r in type_rooms(self.snapshot, self.name, gpu) if r.type_id == type_id)

    def create(self, gpu: str, type_text: str, count: int = 1, **more: Any) -> tuple[Plan, ...]:
        """``mdev create``, of what was last read. Raises PlanError."""
        return plan_create(self.facts, self.snapshot, self.name, gpu, type_text, count, now=time.time(), **more)

    def remove(self, uuid: str) -> Plan:
        """``mdev remove``."""
        return plan_remove(self.facts, self.snapshot, self.name, uuid, time.time())

    def start(self, uuid: str) -> Plan:
        """``mdev start``."""
        return plan_start(self.facts, self.snapshot, self.name, uuid, time.time())

    def stop(self, uuid: str) -> Plan:
        """``mdev stop``."""
        return plan_stop(self.facts, self.snapshot, self.name, uuid, time.time())

    def autostart(self, uuid: str, on: bool) -> Plan:
        """``mdev autostart``."""
        return plan_autostart(self.facts, self.snapshot, self.name, uuid, time.time(), on=on)

    def apply(self, plan: Plan, **more: Any) -> Outcome:
        """Apply it, taking its warnings upon oneself."""
        return apply(plan, self.world, self.journal, accepted=_all(plan), **more)

    def done(self, plan: Plan) -> Outcome:
        """Apply it and be sure that it was done and read back."""
        outcome = self.apply(plan)
        assert (outcome.result, outcome.message) == ("done", "applied and read back"), outcome.message
        return outcome

    def apply_all(self, plans: tuple[Plan, ...], progress: Progress | None = None) -> list[Outcome]:
        """Apply several in order, until one does not end as planned."""
        more: dict[str, Any] = {"progress": progress} if progress is not None else {}
        accepted = frozenset().union(*map(_all, plans))
        return apply_all(plans, self.world, self.journal, accepted=accepted, stop_at_first=True, **more)

    def close(self) -> None:
        """End the connections."""
        self.world.hosts.close()
        self._libvirt.close()
        self._shell.close()


OpenConsole = Callable[..., DeviceConsole]


def _all(plan: Plan) -> frozenset[str]:
    return frozenset(check.id for check in plan.needs_override)


@pytest.fixture
def open_device_console(gpu_host: GpuHost, tmp_path: Path) -> Iterator[Callable[..., DeviceConsole]]:
    """Makes consoles of the host and closes them."""
    made: list[DeviceConsole] = []

    def make(**options: Any) -> DeviceConsole:
        made.append(DeviceConsole(gpu_host, tmp_path, **options))
        return made[-1]

    yield make
    for console in made:
        console.close()
