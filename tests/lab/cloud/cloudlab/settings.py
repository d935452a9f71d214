"""What one lab looks like and where it lives: read from the command line once, then from a file by every process."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]
REGION = "RegionOne"
PASSWORD = "labpw"
"""Of every user. The lab listens on loopback only and holds nothing."""


def lab_home() -> Path:
    """Where this lab keeps its state: LAB_HOME, or .lab/cloud of the repository."""
    return Path(os.environ.get("LAB_HOME") or REPOSITORY / ".lab" / "cloud").resolve()


def lab_venv() -> Path:
    """The lab's own environment; shared by all labs of this repository."""
    return Path(os.environ.get("LAB_VENV") or REPOSITORY / ".lab" / "venv")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Size and behaviour of a lab. Counts are per lab (hosts) or per host (gpus) or per GPU (vfs).

    ``address`` is where its services listen: loopback, but for a lab whose computes are other machines.
    """

    home: Path
    port_base: int = 15000
    address: str = "127.0.0.1"
    hosts: int = 3
    plain_hosts: int = 1
    gpus: int = 2
    vfs: int = 8
    servers: bool = True
    migration_seconds: float = 8.0
    token_seconds: int = 3600
    debug: bool = False

    @property
    def keystone_port(self) -> int:
        """Keystone's port."""
        return self.port_base

    @property
    def nova_port(self) -> int:
        """The compute API's port."""
        return self.port_base + 774

    @property
    def placement_port(self) -> int:
        """Placement's port."""
        return self.port_base + 778

    @property
    def control_port(self) -> int:
        """The port of the lab's own knobs; without authentication."""
        return self.port_base + 999

    @property
    def ports(self) -> list[int]:
        """All ports that the lab listens on."""
        return [self.keystone_port, self.nova_port, self.placement_port, self.control_port]

    @property
    def keystone_url(self) -> str:
        """Keystone's public endpoint."""
        return f"http://{self.address}:{self.keystone_port}/v3"

    @property
    def nova_url(self) -> str:
        """The compute endpoint of the catalogue."""
        return f"http://{self.address}:{self.nova_port}/v2.1"

    @property
    def placement_url(self) -> str:
        """The placement endpoint of the catalogue."""
        return f"http://{self.address}:{self.placement_port}"

    @property
    def control_url(self) -> str:
        """Where the knobs are."""
        return f"http://{self.address}:{self.control_port}"

    @property
    def host_names(self) -> list[str]:
        """``gpu-01`` and on; the last ``plain_hosts`` of them have GPUs without SR-IOV."""
        return [f"gpu-{number:02d}" for number in range(1, self.hosts + 1)]

    def is_plain(self, host: str) -> bool:
        """Whether this host's GPUs are of the kind without virtual functions."""
        return self.host_names.index(host) >= self.hosts - self.plain_hosts

    def path(self, *parts: str) -> Path:
        """A path below the lab's home."""
        return self.home.joinpath(*parts)

    def save(self) -> None:
        """Write the settings for the other processes of this lab."""
        values = dataclasses.asdict(self) | {"home": str(self.home)}
        self.path("settings.json").write_text(json.dumps(values, indent=1))


def load(home: str | Path) -> Settings:
    """The settings of the lab that lives there. Raises FileNotFoundError when there is none."""
    values = json.loads((Path(home) / "settings.json").read_text())
    return Settings(**values | {"home": Path(values["home"])})
