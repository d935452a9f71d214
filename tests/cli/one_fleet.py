"""What tests of device commands share: one embedded fleet, and everything that reaches its hosts."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from vgpu_console.simulator import DemoCloud, open_demo


class Sent(NamedTuple):
    """A change that reached a host: libvirt's call or the shell's, and what it was about."""

    host: str
    call: str
    about: str


def opened(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    """The cloud that every ``--demo`` of this test opens."""
    one = open_demo("small", living=False)
    monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: one)
    return one


def watched(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """Every change that is sent to a host from now on, in order."""
    from vgpu_console.sources.libvirt_devices import LibvirtDevices

    seen: list[Sent] = []
    take, change = LibvirtDevices.take, cloud.shell.change

    def taken(self: LibvirtDevices, call: Any, uuid: str, *more: Any) -> None:
        seen.append(Sent(self.host, call, uuid))
        take(self, call, uuid, *more)

    def changed(host: str, what: Any, *more: Any) -> str:
        seen.append(Sent(host, what.call, f"{what.address} {what.value}"))
        return change(host, what, *more)

    monkeypatch.setattr(LibvirtDevices, "take", taken)
    monkeypatch.setattr(cloud.shell, "change", changed)
    return seen


def asked_hosts(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The hosts to which a connection is opened from now on, by libvirt or SSH."""
    seen: set[str] = set()
    open_libvirt, run_shell = cloud.hub.open, cloud.shell.run

    def opened_one(uri: str, read_only: bool = True) -> Any:
        seen.add(uri.split("/")[2])
        return open_libvirt(uri, read_only)

    def ran(host: str, *more: Any) -> Any:
        seen.add(host)
        return run_shell(host, *more)

    monkeypatch.setattr(cloud.hub, "open", opened_one)
    monkeypatch.setattr(cloud.shell, "run", ran)
    return seen


def devices(cloud: DemoCloud, host: str, gpu: int = 0) -> list[tuple[str, str, bool]]:
    """What the host itself has: function, type id, whether it runs."""
    found = cloud.state.hosts[host].gpus[gpu].mdevs
    return sorted((f, m.kind.type_id, m.active) for f, mdevs in found.items() for m in mdevs)
