"""What the full lab looks like and where it lives."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from cloudlab import settings as cloud
from hostlab import settings as hosts

REPOSITORY = cloud.REPOSITORY
HERE = Path(__file__).resolve().parents[1]
COMPUTE_IMAGE = HERE / "compute-image"

HOST_NAMES = ("gpu-a", "gpu-b")
BRIDGE = "vgpufull"
BROKER_USER = "nova"


class LabError(Exception):
    """The lab could not be had; the text says why and where to look."""


def home() -> Path:
    """Where the lab keeps its state: FULL_LAB_HOME, or .lab/full of the repository."""
    return Path(os.environ.get("FULL_LAB_HOME") or REPOSITORY / ".lab" / "full").resolve()


def use_own_hosts() -> None:
    """Have lab hosts and their images kept here, apart from those of the host lab."""
    os.environ["HOST_LAB_HOME"] = str(home() / "hosts")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the lab. ``network``: the first three numbers of its addresses (.1 control plane, .11 on hosts)."""

    port_base: int = 31000
    network: str = "10.93.0"
    gpus: int = 2
    vfs: int = 4
    memory_mib: int = 2048
    debug: bool = False

    @property
    def address(self) -> str:
        """Where the control plane listens."""
        return f"{self.network}.1"

    @property
    def cloud(self) -> cloud.Settings:
        """The control plane as the lab cloud knows it, without hosts of its own."""
        return cloud.Settings(
            home=home() / "cloud", port_base=self.port_base, address=self.address, hosts=0, plain_hosts=0
        )

    @property
    def glance_port(self) -> int:
        """The image service's port."""
        return self.port_base + 292

    @property
    def glance_url(self) -> str:
        """The image service."""
        return f"http://{self.address}:{self.glance_port}"

    @property
    def neutron_port(self) -> int:
        """The port of what answers for a network service."""
        return self.port_base + 696

    @property
    def neutron_url(self) -> str:
        """What answers for a network service."""
        return f"http://{self.address}:{self.neutron_port}"

    @property
    def broker_port(self) -> int:
        """RabbitMQ's port; the next two are Erlang's own, on loopback."""
        return self.port_base + 673

    @property
    def transport_url(self) -> str:
        """RabbitMQ as oslo.messaging is told of it."""
        return f"rabbit://{BROKER_USER}:{cloud.PASSWORD}@{self.address}:{self.broker_port}/"

    @property
    def bridge_ports(self) -> list[int]:
        """All ports on the bridge's address."""
        made = self.cloud
        return [
            *(made.keystone_port, made.nova_port, made.placement_port),
            *(self.glance_port, self.neutron_port, self.broker_port),
        ]

    def host_address(self, host: str) -> str:
        """A compute host's address on the bridge."""
        return f"{self.network}.{11 + HOST_NAMES.index(host)}"

    def machine(self, host: str) -> hosts.Settings:
        """The compute host as a lab host, with a second card on the bridge."""
        number = HOST_NAMES.index(host)
        return hosts.Settings(
            name=host,
            port_base=self.port_base + 100 * (number + 1),
            gpus=self.gpus,
            vfs=self.vfs,
            memory_mib=self.memory_mib,
            lan=f"tap,ifname={tap(host)},script=no,downscript=no",
            lan_address=f"{self.host_address(host)}/24",
        )

    def save(self) -> None:
        """Write the settings for the other commands and processes."""
        home().mkdir(parents=True, exist_ok=True)
        (home() / "settings.json").write_text(json.dumps(dataclasses.asdict(self), indent=1))


def load() -> Settings:
    """The settings of the lab that is there. Raises LabError when there is none."""
    try:
        return Settings(**json.loads((home() / "settings.json").read_text()))
    except FileNotFoundError:
        raise LabError("there is no full lab; 'lab up' makes one") from None


def tap(host: str) -> str:
    """The host's cable on the bridge."""
    return f"{BRIDGE}-{HOST_NAMES.index(host)}"
