"""The lab's command: setup, up, down, status, and the knobs of its cables and daemons."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.migration import hosts
from tests.lab.migration.requirements import NotPossible, as_root, compile_guest, missing, set_up
from tests.lab.migration.settings import GUEST, HOME, HOSTS, host_named

NAMES = [h.name for h in HOSTS]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status. Commands that need root are run again by sudo where they lack it."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "setup":
            print(f"migration lab: {set_up()}")
            return 0
        root = as_root()
        if root:
            again = [*root, "env", f"LAB_MIGRATION_HOME={HOME}", sys.executable, str(Path(__file__).with_name("lab"))]
            return subprocess.run([*again, *(sys.argv[1:] if arguments is None else arguments)]).returncode
        return _run(options)
    except (NotPossible, TimeoutError, ProcessLookupError) as error:
        print(f"migration lab: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"migration lab: {' '.join(map(str, error.cmd))}: {error.stderr}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install what the machine lacks, compile the guest")
    commands.add_parser("up", help="two hosts with a libvirt daemon each; a lab that is up is taken down first")
    commands.add_parser("down", help="end it, with all its guests")
    commands.add_parser("status", help="what runs; exit status 1 when it is not up")
    cable = commands.add_parser("cable", help="cut a host's network, or mend it")
    cable.add_argument("host", choices=NAMES)
    cable.add_argument("what", choices=["cut", "mend"])
    daemon = commands.add_parser("daemon", help="a host's libvirt daemon; its guests stay")
    daemon.add_argument("host", choices=NAMES)
    daemon.add_argument("what", choices=["start", "stop", "kill", "freeze", "thaw", "restart"])
    guests = commands.add_parser("kill-guests", help="kill the emulators on a host")
    guests.add_argument("host", choices=NAMES)
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.command == "up":
        lacking = list(missing())
        if lacking:
            raise NotPossible(f"missing: {', '.join(lacking)}; run setup first")
        compile_guest()
        hosts.down()
        began = time.monotonic()
        hosts.up()
        print(f"migration lab: up in {time.monotonic() - began:.1f} s")
        for host in HOSTS:
            print(f"  {host.name}  {host.uri}")
    elif options.command == "down":
        hosts.down()
    elif options.command == "status":
        return _status()
    elif options.command == "cable":
        hosts.set_cable(host_named(options.host), plugged=options.what == "mend")
    elif options.command == "kill-guests":
        for pid in hosts.emulators(host_named(options.host)):
            os.kill(pid, 9)
    else:
        _daemon(options.host, options.what)
    return 0


def _daemon(name: str, what: str) -> None:
    host = host_named(name)
    signals = {"stop": "TERM", "restart": "TERM", "kill": "KILL", "freeze": "STOP", "thaw": "CONT"}
    if what in signals:
        hosts.signal_daemon(host, signals[what])
    if what in ("start", "restart"):
        hosts.start_daemon(host)


def _status() -> int:
    there = hosts.namespaces()
    good = True
    for host in HOSTS:
        pid = hosts.daemon_pid(host) if host.namespace in there else None
        good = good and pid is not None
        daemon = f"libvirtd {pid}" if pid else "no libvirtd"
        print(f"{host.name}  {daemon}, {len(hosts.emulators(host))} guests  {host.uri}")
    print(f"guest program {'there' if GUEST.exists() else 'not compiled'}")
    return 0 if good else 1
