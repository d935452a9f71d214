"""The full lab as the tests hold it: up and down, servers, what libvirt says, and the ways to break it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.lab.lab import REPOSITORY, Lab, until

COMMAND = REPOSITORY / "tests" / "lab" / "full" / "lab"
HOME = Path(os.environ.get("FULL_LAB_HOME") or REPOSITORY / ".lab" / "full")
HOSTS = ("gpu-a", "gpu-b")
SOURCE, DESTINATION = HOSTS
TYPE = "nvidia-471"
PORT_BASE = 31000

MDEV, INACTIVE, ACTIVE_DEVICES = 1 << 14, 1 << 30, 1 << 31
"""Of virConnectListAllNodeDeviceFlags: mediated devices, also those that are defined and not started."""

_TRAIT = str.maketrans("-:.", "___")
_NODE = str.maketrans(":.", "__")


class FullLab(Lab):
    """The running lab. Its servers, clouds.yaml and openstacksdk are those of the lab cloud; its hosts are real."""

    def __init__(self) -> None:
        super().__init__(HOME / "cloud", PORT_BASE)
        self.key = HOME / "hosts" / SOURCE / "id"
        self.known_hosts = HOME / "hosts" / SOURCE / "known_hosts"
        self._libvirt: dict[str, Any] = {}

    def _run(self, *arguments: str) -> None:
        subprocess.run([sys.executable, str(COMMAND), *arguments], check=True, timeout=900)

    def up(self, *options: str) -> None:
        """Bring a new one up. Raises CalledProcessError."""
        self._run("up", *options)

    @property
    def is_up(self) -> bool:
        """Whether one is up already."""
        return subprocess.run([sys.executable, str(COMMAND), "status"], capture_output=True).returncode == 0

    # -- the hosts -----------------------------------------------------------------------------------------------------

    def ahead_s(self, host: str) -> float:
        """How far a host's clock is ahead of this machine's, as the quickest of some askings tells it."""
        asked = []
        for _ in range(5):
            began = time.time()
            told = float(self.run(host, "date +%s.%N"))
            ended = time.time()
            asked.append((ended - began, told - (began + ended) / 2))
        return min(asked)[1]

    def run(self, host: str, command: str, *, check: bool = True) -> str:
        """Standard output of a shell command on a host. AssertionError when it fails."""
        full = [str(HOME / "hosts" / host / "ssh"), f"root@{host}", "--", command]
        done = subprocess.run(full, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    def uri(self, host: str) -> str:
        """A host's libvirt."""
        return f"qemu+tcp://{host}/system"

    def libvirt(self, host: str) -> Any:
        """libvirt-python's connection that may write: the other opinion of what is true. Raises libvirtError."""
        from vgpu_console.sources.libvirt_open import open_libvirt

        known = self._libvirt.get(host)
        if known is None or not known.isAlive():
            known = self._libvirt[host] = open_libvirt(self.uri(host), False)
        return known

    def guests(self, host: str) -> dict[str, int]:
        """Domains of a host: uuid -> virDomainState (1 runs, 3 paused, 5 shut off)."""
        return {d.UUIDString(): d.state()[0] for d in self.libvirt(host).listAllDomains()}

    def mdevs(self, host: str) -> dict[str, str]:
        """Active mediated devices of a host by the kernel's own word: uuid -> address of the function."""
        lines = self.run(host, "cd /sys/bus/mdev/devices && for d in *; do [ -e $d ] && readlink -f $d; done; true")
        return {Path(line).name: Path(line).parent.name for line in lines.splitlines()}

    def held(self, host: str, server_id: str) -> list[str]:
        """The devices that a server's guest has on a host by its description: uuids."""
        xml = self.libvirt(host).lookupByUUIDString(server_id).XMLDesc()
        return re.findall(r"<hostdev [^>]*type='mdev'.*?<address uuid='([^']+)'", xml, re.DOTALL)

    def set(self, host: str, **values: str) -> None:
        """Change a host: ``libvirt__live_migration_bandwidth="8"`` of nova.conf, ``module__migratable="N"``."""
        self._run("set", host, *(f"{key.replace('__', '.')}={value}" for key, value in values.items()))

    def restart_compute(self, host: str) -> None:
        """Restart nova-compute and wait until it reports."""
        self._run("restart-compute", host)

    def kill_compute(self, host: str) -> None:
        """nova-compute crashes (SIGKILL)."""
        self.run(host, "fulllab-compute kill")

    def forget_devices(self, host: str) -> None:
        """Take away a host's mediated devices that no guest holds."""
        held = "".join(d.XMLDesc() for d in self.libvirt(host).listAllDomains())
        for device in self.libvirt(host).listAllDevices(MDEV | INACTIVE | ACTIVE_DEVICES):
            uuid = device.name().removeprefix("mdev_")[:36].replace("_", "-")
            if device.name().startswith("mdev_") and uuid not in held:
                self.run(
                    host, f"virsh -q nodedev-destroy {device.name()}; virsh -q nodedev-undefine {device.name()}; true"
                )
        until(lambda: all(uuid in held for uuid in self.mdevs(host)), f"free devices of {host} are gone", 30)

    # -- servers -------------------------------------------------------------------------------------------------------

    def boot(
        self,
        name: str,
        flavor: str = "a100-10c",
        *,
        cloud: str = "lab-admin",
        host: str | None = SOURCE,
        image: str = "slow",
    ) -> Any:
        """A server that is ACTIVE, with the guest that dirties memory at the image's rate."""
        user = self.connect(cloud)
        zone = {"availability_zone": f"nova:{host}"} if host else {}
        images = {i.name: i.id for i in user.image.images()}
        made = user.compute.create_server(
            name=name,
            flavor_id=user.compute.find_flavor(flavor).id,
            image_id=images[image],
            networks="none",
            **zone,
        )
        admin = self.connect()

        def active() -> Any:
            server = admin.compute.get_server(made.id)
            assert server.status != "ERROR", server.fault
            return server if server.status == "ACTIVE" and not server.task_state else None

        return until(active, f"{name} ACTIVE", 180)

    def flavor_on(self, host: str, function: str) -> str:
        """A flavor whose vGPU can only be on this function (0000:01:00.1), by a trait of its provider; its name."""
        admin, trait = self.connect(), f"CUSTOM_AT_{host}_{function}".upper().translate(_TRAIT)
        name = f"at-{host}-{function}"
        provider = f"{host}_pci_{function.translate(_NODE)}"
        placement = {"headers": {"OpenStack-API-Version": "placement 1.39"}}
        assert admin.placement.put(f"/traits/{trait}", **placement).status_code < 300
        (row,) = admin.placement.get(f"/resource_providers?name={provider}", **placement).json()["resource_providers"]
        path = f"/resource_providers/{row['uuid']}/traits"
        now = admin.placement.get(path, **placement).json()
        body = {**now, "traits": sorted({*now["traits"], trait})}
        assert admin.placement.put(path, json=body, **placement).status_code < 300
        made = admin.compute.create_flavor(name=name, ram=96, vcpus=1, disk=0)
        admin.compute.create_flavor_extra_specs(made, {"resources1:VGPU": "1", f"trait1:{trait}": "required"})
        return name

    def clean(self) -> None:
        """No servers and no allocations of any: what the next test finds. Free devices stay, as Nova leaves them."""
        admin = self.connect()
        for server in list(admin.compute.servers(all_projects=True)):
            self._delete(admin, server.id)
        for host in HOSTS:
            for name in (n.name() for n in self.libvirt(host).listAllDomains()):
                self.run(host, f"virsh -q destroy {name}; virsh -q undefine {name}; true")

    def _delete(self, admin: Any, server_id: str) -> None:
        admin.compute.post(f"/servers/{server_id}/action", json={"os-resetState": {"state": "active"}})
        for _ in range(3):
            admin.compute.delete_server(server_id, ignore_missing=True)
            deadline = time.monotonic() + 40
            while time.monotonic() < deadline:
                if admin.compute.find_server(server_id, all_projects=True) is None:
                    return
                time.sleep(0.5)
        raise AssertionError(f"server {server_id} cannot be deleted")
