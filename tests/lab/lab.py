"""The lab cloud as the tests hold it: bring it up and down, turn its knobs, and ask its services with openstacksdk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = Path(os.environ.get("LAB_VENV") or REPOSITORY / ".lab" / "venv")
COMMAND = REPOSITORY / "tests" / "lab" / "cloud" / "lab"
SRIOV_TYPE = "nvidia-471"
PLAIN_TYPE = "nvidia-232"
IMAGE = "155d900f-4e14-4e4c-a73d-069cbf4541e6"

T = TypeVar("T")


class Lab:
    """One lab cloud. It has its own home and ports, so that a lab that a developer keeps up is left alone."""

    def __init__(self, home: Path, port_base: int) -> None:
        self.home = home
        self.port_base = port_base
        self.control_url = f"http://127.0.0.1:{port_base + 999}"
        self.clouds_yaml = home / "clouds.yaml"

    def up(self, *options: str) -> None:
        """Bring it up; raises CalledProcessError with what it said."""
        self._run("down")
        self._run("up", "--port-base", str(self.port_base), *options)

    def down(self) -> None:
        """End its processes."""
        self._run("down")

    def stop(self, service: str) -> None:
        """End keystone or placement, as if its machine had died."""
        self._run("stop", service)

    def start(self, service: str) -> None:
        """Start it again, with what it had."""
        self._run("start", service)

    def nova_manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Nova's own command, on the lab's databases and with its nova.conf; never raises."""
        command = [
            str(VENV / "bin" / "nova-manage"),
            "--config-file",
            str(self.home / "nova" / "nova.conf"),
            *arguments,
        ]
        environment = {**os.environ, "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1", "PYTHONWARNINGS": "ignore"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)

    def _run(self, *arguments: str) -> None:
        environment = {**os.environ, "LAB_HOME": str(self.home)}
        subprocess.run([sys.executable, str(COMMAND), *arguments], env=environment, check=True)

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET a knob, or POST to it when there is a body."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.control_url + path, data=data), timeout=60
            ) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"knob {path}: {error.code} {error.read().decode()}") from error

    def hosts(self) -> dict[str, Any]:
        """What is true of every host: GPUs, types, mediated devices, domains."""
        return dict(self.control("/hosts"))

    def fault(self, service: str, **values: Any) -> None:
        """Make a service (identity, compute, placement) slow or ill; nothing but its name makes it well."""
        self.control("/faults", {"service": service, **values})

    def connect(self, cloud: str = "lab-admin") -> Any:
        """An openstacksdk connection that asks for the newest of every answer."""
        import openstack
        from openstack.config import OpenStackConfig

        config = OpenStackConfig(config_files=[str(self.clouds_yaml)], load_envvars=False).get_one(cloud)
        connection = openstack.connection.Connection(config=config)
        connection.compute.default_microversion = "2.96"
        connection.placement.default_microversion = "1.39"
        return connection

    def boot(self, name: str, flavor: str, *, cloud: str = "lab-member", host: str | None = None) -> Any:
        """A server that is ACTIVE. A host can be named by an administrator only."""
        user = self.connect(cloud)
        zone = {"availability_zone": f"nova:{host}"} if host else {}
        made = user.compute.create_server(
            name=name, flavor_id=user.compute.find_flavor(flavor).id, image_id=IMAGE, networks="none", **zone
        )
        admin = self.connect()

        def active() -> Any:
            server = admin.compute.get_server(made.id)
            assert server.status != "ERROR", server.fault
            return server if server.status == "ACTIVE" and not server.task_state else None

        return until(active, f"{name} ACTIVE")

    def delete(self, server_id: str) -> None:
        """Delete a server and wait until Nova knows it no more and Placement has taken its allocations away."""
        admin = self.connect()
        admin.compute.delete_server(server_id, ignore_missing=True)
        until(lambda: admin.compute.find_server(server_id, all_projects=True) is None, f"{server_id} deleted")
        path = f"/allocations/{server_id}"
        until(lambda: not admin.placement.get(path).json()["allocations"], f"{server_id} holds nothing")


def until(ready: Callable[[], T], what: str, timeout_s: float = 60.0, every_s: float = 0.2) -> T:
    """Wait until a value is true-ish and give it back; AssertionError when time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = ready()
        if value:
            return value
        assert time.monotonic() < deadline, f"not after {timeout_s:.0f} s: {what}"
        time.sleep(every_s)


def settled(read: Callable[[], Any], wanted: Any, what: str, timeout_s: float = 90.0) -> None:
    """Wait until a reading is what is wanted; AssertionError with the last one when time is up.

    libvirt lags behind the kernel: it runs mdevctl twice for each event of a function, which is a tenth of a second
    on an emulated host, and a GPU whose functions come or go makes some fifty events.
    """
    seen: list[Any] = []

    def same() -> bool:
        seen[:] = [read()]
        return bool(seen[0] == wanted)

    try:
        until(same, what, timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen[0]!r} instead of {wanted!r}") from None
