"""The world of all plans: a cloud behind its API and the hosts behind their own channels, behind one wall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vgpu_console.actions.cloud_world import CloudWorld
from vgpu_console.actions.host_world import HostWorld
from vgpu_console.actions.plan import HttpStep, OperatorStep, Plan, Step
from vgpu_console.actions.registry import action
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts


class FleetWorld:
    """Implements runner.World over a cloud and its hosts. Safe for several threads at once."""

    def __init__(self, cloud: CloudWorld, hosts: HostWorld) -> None:
        self._cloud = cloud
        self._hosts = hosts

    @property
    def read_only(self) -> bool:
        """Whether the wall stands: then nothing is opened for a change, and nothing is sent."""
        return self._cloud.read_only or self._hosts.read_only

    @property
    def shell_changes(self) -> bool:
        """Whether the console itself may change something on hosts over SSH."""
        return self._hosts.shell_changes and not self.read_only

    @property
    def name(self) -> str:
        """The cloud's name, for the journal."""
        return self._cloud.name

    def refuses(self, step: Step) -> str:
        """Why the settings do not allow a step; "" when they do. Asks nobody."""
        if isinstance(step, (HttpStep, OperatorStep)):
            return ""
        return self._hosts.refuses(step)

    def take(self, step: Step) -> None:
        """Take one step, where its kind is taken; an operator's own step needs nothing sent. Raises SourceError."""
        if isinstance(step, OperatorStep):
            return
        if isinstance(step, HttpStep):
            self._cloud.take(step)
        else:
            self._hosts.take(step)

    def observe(self, plan: Plan) -> dict[str, Any]:
        """Read afresh what the plan is about, as its action says. Raises SourceError."""
        return action(plan.action).observe(self, plan)

    def get(self, service: str, path: str, *, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """A fresh read of the cloud for an observation. Raises SourceError."""
        return self._cloud.get(service, path, params=params)

    def created(self, key: Mapping[str, str | None]) -> str | None:
        """The id of the limit of that key, when it was made through this world."""
        return self._cloud.created(key)

    def libvirt_facts(self, host: str) -> LibvirtFacts:
        """A fresh reading of a host's libvirt. Raises SourceError."""
        return self._hosts.libvirt_facts(host)

    def shell_facts(self, host: str) -> SshFacts:
        """A fresh reading of a host's sysfs and configuration. Raises SourceError."""
        return self._hosts.shell_facts(host)

    def close(self) -> None:
        """Close what is open towards hosts."""
        self._hosts.close()
