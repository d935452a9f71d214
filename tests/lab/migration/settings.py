"""Names, addresses and paths of the lab: everything that another lab on this machine must not share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
HOME = Path(os.environ.get("LAB_MIGRATION_HOME") or REPOSITORY / ".lab" / "migration").resolve()
GUEST_SOURCES = Path(__file__).resolve().parent / "guest"
GUEST = HOME / "beat.elf"
EMULATOR = "/usr/bin/qemu-system-x86_64"

PREFIX = "vgpumig-"
"""Begins the name of every network namespace of this lab."""

SWITCH = PREFIX + "switch"
"""The namespace with the bridge: what lies between the two hosts, and has the cables that can be cut."""


@dataclass(frozen=True)
class Host:
    """One of the two hosts. ``name`` is its host name as libvirt and the other host know it."""

    name: str
    address: str
    uuid: str

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return PREFIX + self.name

    @property
    def cable(self) -> str:
        """Its end of the network, on the bridge."""
        return f"to-{self.name}"

    @property
    def home(self) -> Path:
        """Where its /etc, /run and /var are kept."""
        return HOME / self.name

    @property
    def socket(self) -> Path:
        """libvirt's socket, reachable from this machine's own namespace."""
        return self.home / "run" / "libvirt" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """How a client on this machine reaches its libvirt."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def peer_uri(self) -> str:
        """How the other host reaches it, for a migration."""
        return f"qemu+tcp://{self.name}/system"


HOSTS = (
    Host("host-a", "10.231.7.1", "6d1f7a52-53cb-4d0e-9a35-0a53fb2f2c0a"),
    Host("host-b", "10.231.7.2", "6d1f7a52-53cb-4d0e-9a35-0a53fb2f2c0b"),
)


def host_named(name: str) -> Host:
    """Raises KeyError."""
    return {h.name: h for h in HOSTS}[name]
