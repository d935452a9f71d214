"""The part of the world that hosts carry out: mediated devices through libvirt, constant commands over SSH."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vgpu_console.actions.plan import DeviceStep, ShellStep
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.sources.base import LibvirtOpener, Refused, SourceError
from vgpu_console.sources.host_commands import ChangingShell, HostCommands
from vgpu_console.sources.libvirt_devices import LibvirtDevices
from vgpu_console.sources.ssh_host import SshHostSource

NO_SHELL_CHANGES = "SSH may only read here: [ssh] changes is not set"
NO_LIBVIRT = "libvirt is switched off here: [libvirt] enabled = false"
NO_SSH = "SSH is switched off here: [ssh] enabled = false"


class HostWorld:
    """All hosts of a cloud, reached when a step or an observation needs them. Thread-safe; every call may block.

    ``opener`` and ``shell`` are None where libvirt or SSH is switched off. ``shell_changes`` is the right to change
    something over SSH, which is one of its own. ``on_taken`` is called with the host whenever something was sent to it,
    obeyed or not, and must return at once.
    """

    def __init__(
        self,
        *,
        read_only: bool,
        uri: Callable[[str], str] = lambda host: "",
        opener: LibvirtOpener | None = None,
        libvirt_timeout_s: float = 5.0,
        shell: Callable[[], ChangingShell] | None = None,
        ssh_timeout_s: float = 10.0,
        shell_changes: bool = False,
        on_taken: Callable[[str], None] = lambda host: None,
    ) -> None:
        self.read_only = read_only
        self.shell_changes = shell_changes and shell is not None and not read_only
        self._uri = uri
        self._opener = opener
        self._libvirt_timeout_s = libvirt_timeout_s
        self._shell = shell
        self._ssh_timeout_s = ssh_timeout_s
        self._on_taken = on_taken
        self._guard = threading.Lock()
        self._devices: dict[str, LibvirtDevices] = {}

    def refuses(self, step: DeviceStep | ShellStep) -> str:
        """Why the settings do not allow the step; "" when they do."""
        if self.read_only:
            return "this console is read-only"
        if isinstance(step, DeviceStep):
            return "" if self._opener is not None else NO_LIBVIRT
        if self._shell is None:
            return NO_SSH
        return "" if self.shell_changes else NO_SHELL_CHANGES

    def take(self, step: DeviceStep | ShellStep) -> None:
        """Take one step. Raises SourceError."""
        reason = self.refuses(step)
        if reason:
            raise Refused(f"{step.host}: {reason}")
        try:
            if isinstance(step, DeviceStep):
                self._of(step.host).take(step.call, step.uuid, step.function, step.type_id)
            elif self._shell is not None:
                HostCommands(step.host, self._shell()).take(step.call, step.address, step.value)
        finally:
            self._on_taken(step.host)

    def libvirt_facts(self, host: str) -> LibvirtFacts:
        """A fresh reading of a host's libvirt. Raises SourceError."""
        return self._of(host).facts()

    def shell_facts(self, host: str) -> SshFacts:
        """A fresh reading of a host's sysfs and configuration. Raises SourceError."""
        if self._shell is None:
            raise SourceError("unavailable", f"{host}: {NO_SSH}")
        return SshHostSource(host, self._shell(), timeout_s=self._ssh_timeout_s).fetch(None)

    def close(self) -> None:
        """Close what is open; the shell is closed by whoever made it."""
        with self._guard:
            devices, self._devices = list(self._devices.values()), {}
        for one in devices:
            one.close()

    def _of(self, host: str) -> LibvirtDevices:
        if self._opener is None:
            raise SourceError("unavailable", f"{host}: {NO_LIBVIRT}")
        with self._guard:
            if host not in self._devices:
                self._devices[host] = LibvirtDevices(
                    host,
                    self._uri(host),
                    self._opener,
                    timeout_s=self._libvirt_timeout_s,
                    read_only=self.read_only,
                )
            return self._devices[host]
