"""The ``lab`` command of the full lab: set up, up, down, status, env, restart-compute, set."""

from __future__ import annotations

import argparse
import calendar
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloudlab import environment, processes
from cloudlab.rest import RestError, Session
from hostlab import image, machine
from hostlab.settings import LabError as HostError

from fulllab import broker, computes, config_files, network, seed
from fulllab.settings import COMPUTE_IMAGE, HERE, HOST_NAMES, LabError, Settings, home, load, use_own_hosts
from tests.lab.migration import requirements as guest
from tests.lab.migration.settings import GUEST

GLANCE_LOCK = HERE / "requirements.lock"
COMPUTES_S = 240.0


def main() -> int:
    """Run one command; 0 when it worked, 1 when it did not."""
    arguments = _parser().parse_args()
    use_own_hosts()
    try:
        if arguments.root and os.geteuid() != 0:
            return _as_root()
        return int(arguments.run(arguments) or 0)
    except (
        *(LabError, HostError, processes.LabError, RestError, guest.NotPossible),
        *(OSError, subprocess.CalledProcessError),
    ) as error:
        print(f"full lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    text = "A real OpenStack with two GPU hosts that are machines of their own, on this machine alone."
    parser = argparse.ArgumentParser(prog="lab", description=text)
    commands = parser.add_subparsers(required=True, metavar="setup|up|down|status|env|restart-compute|set")

    def command(name: str, run: object, text: str, *, root: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run, root=root)
        return made

    command("setup", _setup, "Install what it takes and build the hosts' image, unless that is done.", root=True)
    up = command("up", _up, "Bring a new lab up; one that is left over is thrown away.", root=True)
    up.add_argument("--port-base", type=int, default=31000, help="Keystone's port; the others follow (31000)")
    up.add_argument("--network", default="10.93.0", help="first three numbers of the bridge's addresses (10.93.0)")
    up.add_argument("--gpus", type=int, default=2, help="GPUs per host (2)")
    up.add_argument("--vfs", type=int, default=4, help="enabled virtual functions per GPU (4)")
    up.add_argument("--memory-mib", type=int, default=2048, help="memory of a host (2048)")
    up.add_argument("--debug", action="store_true", help="debug logs of nova-compute")
    command("down", _down, "End all of it.", root=True)
    command("status", _status, "Say what runs, and how it is reached.")
    command("env", _env, "Print the environment variables that point a client at the lab.")
    restart = command("restart-compute", _restart, "Restart a host's nova-compute and wait until it reports.")
    restart.add_argument("host", choices=HOST_NAMES)
    change = command("set", _set, "Change a host: section.option=value of nova.conf, module.parameter=value.")
    change.add_argument("host", choices=HOST_NAMES)
    change.add_argument("values", nargs="+", metavar="key=value")
    return parser


def _as_root() -> int:
    if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
        raise LabError("bridges, cables and the hosts' image need root, or sudo without a password")
    kept = [f"{key}={value}" for key, value in os.environ.items() if key.startswith(("FULL_LAB_", "LAB_", "SETUP_"))]
    return subprocess.run(["sudo", "-n", "env", *kept, sys.executable, *sys.argv]).returncode


def _glance_venv() -> Path:
    return home() / "glance-venv"


def _setup(arguments: argparse.Namespace) -> int:
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for what, make in (
            ("control plane", environment.make),
            ("image service", lambda: environment.make(_glance_venv(), GLANCE_LOCK)),
            ("RabbitMQ", broker.install),
            ("guest", guest.set_up),
            ("hosts' image", lambda: image.make(COMPUTE_IMAGE)),
        ):
            print(f"full lab: {what}: {make()}", flush=True)
    return 0


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"full lab: {what} ({time.monotonic() - started:.1f} s)", flush=True)


def _up(arguments: argparse.Namespace) -> int:
    names = ("port_base", "network", "gpus", "vfs", "memory_mib", "debug")
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    _setup(arguments)
    _end(load() if (home() / "settings.json").exists() else settings)
    for file in home().glob("*.changes.json"):
        file.unlink()
    if settings.cloud.home.exists():
        shutil.rmtree(settings.cloud.home)
    settings.cloud.home.mkdir(parents=True)
    settings.cloud.save()
    settings.save()
    started = time.monotonic()
    try:
        network.up(settings)
        processes.require_free(settings.bridge_ports, settings.address)
        config_files.write(settings, _glance_venv())
        with ThreadPoolExecutor(1) as pool:
            booting = pool.submit(_boot, settings)
            _control_plane(settings)
            booting.result()
        with _timed("nova-compute runs on both hosts and reports its vGPUs"):
            for host in HOST_NAMES:
                computes.start_nova(settings, host)
            _wait_for(settings, HOST_NAMES)
    except BaseException:
        if os.environ.get("LAB_KEEP") != "1":
            _end(settings)
        print(f"full lab: the logs are in {settings.cloud.path('log')}", file=sys.stderr)
        raise
    _give_back()
    print(f"full lab up in {time.monotonic() - started:.0f} s")
    return _tell(settings)


def _boot(settings: Settings) -> None:
    with _timed("both hosts booted"):
        computes.boot(settings)


def _control_plane(settings: Settings) -> None:
    made, here = settings.cloud, (HERE,)
    with _timed("RabbitMQ, Keystone, Placement, Glance and Nova serve"):
        rabbit = broker.start(settings)
        keystone = processes.spawn(made, "keystone", "cloudlab.run_keystone")
        placement = processes.spawn(made, "placement", "cloudlab.run_placement")
        port = str(settings.glance_port)
        glance = processes.spawn(made, "glance", "fulllab.run_glance", port, venv=_glance_venv(), paths=here)
        processes.spawn(made, "neutron-stub", "fulllab.run_neutron_stub", str(settings.neutron_port), paths=here)
        processes.wait_until(lambda: processes.answers(made.keystone_url), "Keystone", [keystone], 90)
        seed.identity(settings)
        broker.wait(settings, rabbit)
        nova = processes.spawn(made, "nova", "fulllab.run_nova", paths=here)
        processes.wait_until(lambda: processes.answers(made.placement_url), "Placement", [placement], 90)
        processes.wait_until(lambda: processes.answers(settings.glance_url), "Glance", [glance], 90)
        seed.images(settings, GUEST.read_bytes())
        processes.wait_until(made.path("nova/ready").exists, "Nova", [nova, keystone], 180)
        processes.wait_until(lambda: processes.answers(made.nova_url), "Nova's API", [nova], 60)
        seed.flavors(settings)


def _wait_for(settings: Settings, hosts: tuple[str, ...], since: float = 0.0) -> None:
    """Wait until these hosts' nova-compute is up, has said so after ``since``, and Placement has their vGPUs.

    nova-compute reports a last time while it is being stopped, so ``since`` is to be after that.
    """
    admin = Session(settings.cloud, "admin", "admin")
    deadline = time.monotonic() + COMPUTES_S
    while True:
        services = admin("GET", "compute", "/os-services?binary=nova-compute", version="2.96")["services"]
        up = {row["host"] for row in services if row["state"] == "up" and _heard(row["updated_at"]) > since}
        known = {row["hypervisor_hostname"] for row in admin("GET", "compute", "/os-hypervisors")["hypervisors"]}
        providers = admin("GET", "placement", "/resource_providers", version="1.39")["resource_providers"]
        offering = {row["name"].partition("_pci_")[0] for row in providers if "_pci_" in row["name"]}
        missing = set(hosts) - (up & known & offering)
        if not missing:
            return
        if time.monotonic() > deadline:
            raise LabError(f"nova-compute does not report on {', '.join(sorted(missing))}: /var/log/nova there")
        time.sleep(0.5)


def _heard(stamp: str | None) -> float:
    """When a service reported, as seconds since the epoch: Nova's times are of UTC."""
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) if stamp else 0.0


def _give_back() -> None:
    """What root has made belongs to the one who asked for it: keys must be his, and his to delete."""
    if owner := os.environ.get("SUDO_UID"):
        subprocess.run(["chown", "-R", owner, str(home())], check=False)


def _end(settings: Settings) -> list[str]:
    ended = computes.end(settings)
    broker.stop(settings)
    if processes.stop_all(settings.cloud.home):
        ended.append("control plane")
    network.down()
    return ended


def _down(arguments: argparse.Namespace) -> int:
    if not (home() / "settings.json").exists():
        print("full lab down: there is none")
        return 0
    started = time.monotonic()
    ended = _end(load())
    print(f"full lab down: {', '.join(ended) or 'nothing ran'} ({time.monotonic() - started:.1f} s)")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    settings = load()
    known = processes.recorded(settings.cloud.home)
    running = {name: entry["pid"] for name, entry in known.items() if processes.alive(entry)}
    for name, pid in running.items():
        print(f"{name:14} pid {pid:7}  {processes.memory_mib(pid):5} MiB")
    up = [host for host in HOST_NAMES if computes.alive(settings, host)]
    for host in up:
        print(f"{host:14} machine      {machine.memory_mib(settings.machine(host)):5} MiB")
    if len(up) < len(HOST_NAMES) or "nova" not in running:
        print("down")
        return 1
    print("up")
    return _tell(settings)


def _env(arguments: argparse.Namespace) -> int:
    print(f"export OS_CLIENT_CONFIG_FILE={load().cloud.path('clouds.yaml')}")
    print("export OS_CLOUD=lab-admin")
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    settings, started = load(), time.monotonic()
    computes.restart_nova(settings, arguments.host)
    _wait_for(settings, (arguments.host,), time.time())
    print(f"full lab: nova-compute on {arguments.host} reports again ({time.monotonic() - started:.1f} s)")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    settings, started = load(), time.monotonic()
    values = {}
    for word in arguments.values:
        key, equals, value = word.partition("=")
        if not equals:
            raise LabError(f"{word}: not key=value")
        values[key] = value
    for line in computes.change(settings, arguments.host, values):
        print(f"full lab: {line}")
    if any(not key.startswith("module.") for key in values):
        _wait_for(settings, (arguments.host,), time.time())
        print(f"full lab: it reports again ({time.monotonic() - started:.1f} s)")
    return 0


def _tell(settings: Settings) -> int:
    first = settings.machine(HOST_NAMES[0])
    print(f"""
  eval "$({HERE / "lab"} env)"      other credentials: {settings.cloud.path("clouds.yaml")}
  shells: {"  ".join(str(settings.machine(host).home / "ssh") + " " + host for host in HOST_NAMES)}

vgpu-console reaches the hosts with these settings, and the key in an agent (ssh-add {first.home / "id"}):

  [libvirt]
  uri = "qemu+tcp://{{host}}/system"
  [ssh]
  user = "root"
  known_hosts = "{first.home / "known_hosts"}"
""")
    return 0
