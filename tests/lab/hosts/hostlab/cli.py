"""The ``lab`` command of the hosts: set up, up, down, status, ssh, reset, restart libvirtd."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from hostlab import image, machine
from hostlab.settings import DEFAULT_NAME, DEFAULT_PORT_BASE, LabError, Settings, labs_home, load


def main() -> int:
    """Run one command; 0 when it worked, 1 when it did not."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments) or 0)
    except (LabError, OSError, subprocess.CalledProcessError) as error:
        print(f"lab host: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="A GPU host with a real kernel and libvirt, on loopback.")
    commands = parser.add_subparsers(required=True, metavar="setup|up|down|status|ssh|reset|restart-libvirtd")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        if name != "setup":
            made.add_argument("--name", default=DEFAULT_NAME, help=f"the host ({DEFAULT_NAME})")
        return made

    command("setup", _setup, "Install what it takes and build the image, unless that is done.")
    down = command("down", _down, "End the host; what it wrote is lost.")
    down.add_argument("--all", action="store_true", help="all hosts")
    command("status", _status, "Say whether it runs, and how to reach it.")
    command("restart-libvirtd", _restart_libvirtd, "Restart the host's libvirtd.")
    command("reset", _reset, "Take away guests and devices, enable all virtual functions, restore nova.conf.")
    ssh = command("ssh", _ssh, "Log in as root, or run a command there.")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    up = command("up", _up, "Bring a new host up.")
    up.add_argument("--keep", action="store_true", help="be content with one that is up already and would be the same")
    up.add_argument("--gpus", type=int, default=2, help="GPUs (2)")
    up.add_argument("--vfs", type=int, default=16, help="enabled virtual functions per GPU, 0 to 16 (16)")
    up.add_argument("--framework", choices=("mdev", "vendor"), default="mdev", help="how vGPUs are made (mdev)")
    up.add_argument("--memory-mib", type=int, default=1536, help="memory (1536)")
    up.add_argument("--cpus", type=int, default=2, help="processors (2)")
    up.add_argument("--port-base", type=int, default=DEFAULT_PORT_BASE, help="+22 is ssh, +9 libvirt (16100)")
    up.add_argument("--lan", help="a QEMU netdev without id that joins hosts, as socket,mcast=230.0.0.1:16199")
    up.add_argument("--lan-address", help="this host's address there, as 10.90.0.1/24")
    return parser


def _setup(arguments: argparse.Namespace) -> int:
    print(f"lab host's image: {image.make()}")
    return 0


def _up(arguments: argparse.Namespace) -> int:
    settings = Settings(**{key: value for key, value in vars(arguments).items() if key not in ("run", "keep")})
    image.make()
    if arguments.keep and machine.runs_as(settings, image.image()):
        print(f"{settings.name} is up already")
        return _tell(settings)
    if arguments.keep:
        machine.stop(settings)
    started = time.monotonic()
    machine.start(settings, image.image())
    print(f"{settings.name} up in {time.monotonic() - started:.1f} s")
    return _tell(settings)


def _down(arguments: argparse.Namespace) -> int:
    names = [path.parent.name for path in sorted(labs_home().glob("*/settings.json"))]
    for name in names if arguments.all else [arguments.name]:
        ended = name in names and machine.stop(load(name))
        print(f"{name} down" if ended else f"{name} down: it did not run")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    settings = load(arguments.name)
    if not machine.alive(settings):
        print(f"{settings.name}: down")
        return 1
    print(f"{settings.name}: up, {machine.memory_mib(settings)} MiB")
    return _tell(settings)


def _ssh(arguments: argparse.Namespace) -> int:
    command = [*machine.ssh_command(load(arguments.name)), *arguments.command]
    os.execv(command[0], command)


def _reset(arguments: argparse.Namespace) -> int:
    return subprocess.run([*machine.ssh_command(load(arguments.name)), "hostlab-reset"]).returncode


def _restart_libvirtd(arguments: argparse.Namespace) -> int:
    return subprocess.run([*machine.ssh_command(load(arguments.name)), "hostlab-libvirtd", "restart"]).returncode


def _tell(settings: Settings) -> int:
    print(f"""
  shell     {" ".join(machine.ssh_command(settings))}
  libvirt   {machine.libvirt_tcp_uri(settings)}
            {machine.libvirt_ssh_uri(settings)}
  GPUs      {" ".join(settings.gpu_addresses)}

vgpu-console reaches it with these settings, and a key in the agent (ssh-add {settings.home / "id"}):

  [hosts]
  extra = ["127.0.0.1"]
  [libvirt]
  uri = "{machine.libvirt_tcp_uri(settings)}"
  [ssh]
  user = "root"
  port = {settings.ssh_port}
  known_hosts = "{settings.home / "known_hosts"}"
""")
    return 0
