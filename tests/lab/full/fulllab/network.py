"""The bridge between the control plane and the hosts, and the hosts' names on this machine. Everything needs root.

Nothing is forwarded, and no other interface is on the bridge.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from fulllab.settings import BRIDGE, HOST_NAMES, LabError, Settings, tap

NAMES = Path("/etc/hosts")
MARK = "# full lab of vgpu-console"


def up(settings: Settings) -> None:
    """Make the bridge with a cable for each host, and name the hosts. Raises LabError."""
    down()
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("addr", "add", f"{settings.address}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    for host in HOST_NAMES:
        _ip("tuntap", "add", tap(host), "mode", "tap")
        _ip("link", "set", tap(host), "master", BRIDGE, "up")
    lines = [f"{settings.host_address(host)} {host} {MARK}" for host in HOST_NAMES]
    NAMES.write_text("\n".join([*_others(), *lines]) + "\n")


def down() -> None:
    """Take away what ``up`` made, as far as it is there."""
    for device in (*map(tap, HOST_NAMES), BRIDGE):
        subprocess.run(["ip", "link", "del", device], capture_output=True)
    if any(MARK in line for line in NAMES.read_text().splitlines()):
        NAMES.write_text("\n".join(_others()) + "\n")


def cable(host: str, *, plugged: bool) -> None:
    """Pull a host's cable, or plug it in again."""
    _ip("link", "set", tap(host), "up" if plugged else "down")


def _others() -> list[str]:
    return [line for line in NAMES.read_text().splitlines() if MARK not in line]


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
