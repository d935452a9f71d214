"""What one lab host looks like and where it lives."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parents[4]
HERE = Path(__file__).resolve().parents[1]

Framework = Literal["mdev", "vendor"]

DEFAULT_NAME = "gpu-host"
DEFAULT_PORT_BASE = 16100


class LabError(Exception):
    """The lab host could not be had; the text says why and where to look."""


def labs_home() -> Path:
    """Where images and hosts are kept: HOST_LAB_HOME, or .lab/hosts of the repository."""
    return Path(os.environ.get("HOST_LAB_HOME") or REPOSITORY / ".lab" / "hosts").resolve()


@dataclasses.dataclass(frozen=True)
class Settings:
    """Size and behaviour of one host. Memory is in MiB; ``vfs`` is how many virtual functions of each GPU are enabled.

    ``lan`` joins hosts: a QEMU netdev without its id (``socket,mcast=230.0.0.1:1234``) and the address of this host
    there (``10.90.0.1/24``); a host without it has the one card that leads to the machine it runs on.
    """

    name: str = DEFAULT_NAME
    port_base: int = DEFAULT_PORT_BASE
    gpus: int = 2
    vfs: int = 16
    framework: Framework = "mdev"
    memory_mib: int = 1536
    cpus: int = 2
    lan: str | None = None
    lan_address: str | None = None

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum() or not self.name.isascii():
            raise LabError(f"{self.name!r} is no host name")
        if not 1 <= self.gpus <= 8 or not 0 <= self.vfs <= 16:
            raise LabError("a host has 1 to 8 GPUs, with 0 to 16 virtual functions enabled on each")

    @property
    def home(self) -> Path:
        """The folder of this host's log, keys and notes."""
        return labs_home() / self.name

    @property
    def ssh_port(self) -> int:
        """Where its sshd is reached, on 127.0.0.1."""
        return self.port_base + 22

    @property
    def libvirt_port(self) -> int:
        """Where its libvirtd is reached by TCP without authentication, on 127.0.0.1."""
        return self.port_base + 9

    @property
    def ports(self) -> dict[int, int]:
        """Port here -> port there."""
        return {self.ssh_port: 22, self.libvirt_port: 16509}

    @property
    def host_uuid(self) -> str:
        """What libvirt is told this host's identity is: two hosts with one would not migrate to each other."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.vgpu-console.lab"))

    def mac(self, card: int) -> str:
        """A hardware address that is this host's own."""
        digest = hashlib.sha256(self.name.encode()).digest()
        return f"52:54:00:{digest[0]:02x}:{digest[1]:02x}:{card:02x}"

    @property
    def gpu_addresses(self) -> list[str]:
        """The PCI addresses of its GPUs: one behind each root port."""
        return [f"0000:{bus:02x}:00.0" for bus in range(1, self.gpus + 1)]

    def save(self) -> None:
        """Write the settings beside the host's log."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "settings.json").write_text(json.dumps(dataclasses.asdict(self), indent=1))


def load(name: str) -> Settings:
    """The settings of the host of that name. Raises LabError when there is none."""
    try:
        return Settings(**json.loads((labs_home() / name / "settings.json").read_text()))
    except FileNotFoundError:
        raise LabError(f"there is no lab host {name}; 'lab up' makes one") from None
