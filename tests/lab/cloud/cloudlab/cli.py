"""The ``lab`` command: set up, up, down, stop and start one service, status, env."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cloudlab import environment, processes, seed
from cloudlab.config_files import write_all
from cloudlab.processes import LabError
from cloudlab.rest import RestError
from cloudlab.settings import Settings, lab_home, load

DEFAULT_CLOUD = "lab-admin"

SERVICES = {"keystone": "cloudlab.run_keystone", "placement": "cloudlab.run_placement"}
"""What can be stopped and started by itself. Nova cannot: its hosts live in its memory."""


def main() -> int:
    """Run one command; 0 when it worked, 1 when it did not."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except (LabError, RestError, OSError, subprocess.CalledProcessError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="A real OpenStack with GPU hosts, on loopback.")
    commands = parser.add_subparsers(required=True, metavar="setup|up|down|stop|start|status|env")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    command("setup", _setup, "Install the pinned releases into the lab's own environment.")
    command("down", _down, "End every process of this lab.")
    for name, run, text in (
        ("stop", _stop_service, "End one service, as if its machine had died."),
        ("start", _start_service, "Start it again, with what it had."),
    ):
        command(name, run, text).add_argument("service", choices=sorted(SERVICES))
    command("status", _status, "Say which processes run.")
    command("env", _env, "Print the environment variables that point a client at the lab.")
    up = command("up", _up, "Bring a new lab up; one that is left over is thrown away.")
    up.add_argument("--hosts", type=int, default=3, help="compute hosts (3)")
    up.add_argument("--plain-hosts", type=int, default=1, help="of these, hosts whose GPUs have no SR-IOV (1)")
    up.add_argument("--gpus", type=int, default=2, help="GPUs per host (2)")
    up.add_argument("--vfs", type=int, default=8, help="enabled virtual functions per SR-IOV GPU, 0 to 16 (8)")
    up.add_argument("--no-servers", dest="servers", action="store_false", help="boot no servers")
    up.add_argument("--migration-seconds", type=float, default=8.0, help="how long a live migration takes (8)")
    up.add_argument("--token-seconds", type=int, default=3600, help="life of a token (3600)")
    up.add_argument("--port-base", type=int, default=15000, help="Keystone's port; the others follow (15000)")
    up.add_argument("--debug", action="store_true", help="debug logs of Nova")
    return parser


def _setup(arguments: argparse.Namespace) -> int:
    print(f"lab environment: {environment.make()}")
    return 0


def _up(arguments: argparse.Namespace) -> int:
    options = {key: value for key, value in vars(arguments).items() if key != "run"}
    settings = Settings(home=lab_home(), **options)
    if not 0 <= settings.plain_hosts <= settings.hosts or not 0 <= settings.vfs <= 16:
        raise LabError("--plain-hosts is at most --hosts, and --vfs at most 16")
    if any(processes.alive(entry) for entry in processes.recorded(settings.home).values()):
        raise LabError("it is up already; 'lab down' ends it")
    processes.require_free(settings.ports)
    environment.make()
    if (settings.home / "settings.json").exists():
        shutil.rmtree(settings.home)
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.save()
    started = time.monotonic()
    try:
        write_all(settings)
        _start(settings)
    except BaseException:
        processes.stop_all(settings.home)
        print(f"lab: the logs are in {settings.path('log')}", file=sys.stderr)
        raise
    print(f"lab up in {time.monotonic() - started:.1f} s: {settings.hosts} hosts")
    return _env(arguments)


def _start(settings: Settings) -> None:
    keystone = processes.spawn(settings, "keystone", "cloudlab.run_keystone")
    nova = processes.spawn(settings, "nova", "cloudlab.run_nova")
    placement = processes.spawn(settings, "placement", "cloudlab.run_placement")
    processes.wait_until(lambda: processes.answers(settings.keystone_url), "Keystone", [keystone], 60)
    seed.identity(settings)
    processes.wait_until(lambda: processes.answers(settings.placement_url), "Placement", [placement], 60)
    settings.path("identity-ready").touch()
    processes.wait_until(settings.path("nova/ready").exists, "Nova", [nova, keystone, placement], 180)
    seed.compute(settings)


def _down(arguments: argparse.Namespace) -> int:
    ended = processes.stop_all(lab_home())
    print(f"lab down: {ended} processes ended" if ended else "lab down: nothing ran")
    return 0


def _stop_service(arguments: argparse.Namespace) -> int:
    if not processes.stop(lab_home(), arguments.service):
        raise LabError(f"{arguments.service} does not run")
    return 0


def _start_service(arguments: argparse.Namespace) -> int:
    settings, name = load(lab_home()), arguments.service
    if name in processes.recorded(settings.home) and processes.alive(processes.recorded(settings.home)[name]):
        raise LabError(f"{name} runs already")
    url = {"keystone": settings.keystone_url, "placement": settings.placement_url}[name]
    made = processes.spawn(settings, name, SERVICES[name])
    processes.wait_until(lambda: processes.answers(url), name, [made], 60)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    known = processes.recorded(lab_home())
    running = {name: entry["pid"] for name, entry in known.items() if processes.alive(entry)}
    for name, pid in running.items():
        print(f"{name:10} pid {pid:7}  {processes.memory_mib(pid):5} MiB")
    print("up" if {"keystone", "placement", "nova"} <= set(running) else "down")
    return 0 if running else 1


def _env(arguments: argparse.Namespace) -> int:
    settings = load(lab_home())
    print(f"export OS_CLIENT_CONFIG_FILE={settings.path('clouds.yaml')}")
    print(f"export OS_CLOUD={DEFAULT_CLOUD}")
    names = [line.strip().rstrip(":") for line in _cloud_names(settings.path("clouds.yaml"))]
    print(f"# other credentials: {' '.join(name for name in names if name != DEFAULT_CLOUD)}")
    return 0


def _cloud_names(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.startswith("  lab-")]
