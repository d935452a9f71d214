"""The capacity view of a real cloud: one command of the console beside the openstack commands that give the same."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.client import TREE, console, openstack
from tests.bench.figures import Figure, best_of, faster

LAB = TREE / "tests" / "lab" / "cloud" / "lab"
GPUS = 4


def _lab_env() -> dict[str, str]:
    """The environment that points at the lab: what ``lab env`` prints as export lines."""
    text = subprocess.run([str(LAB), "env"], check=True, stdout=subprocess.PIPE, text=True).stdout
    pairs = (line.removeprefix("export ").split("=", 1) for line in text.splitlines() if line.startswith("export "))
    return {key: value.strip("'\"") for key, value in pairs}


def _loop(client: str, env: dict[str, str]) -> tuple[float, int]:
    """Seconds and number of openstack commands that give hosts, GPUs, used, totals and quota: one after the other."""
    commands = 0

    def ask(*words: str) -> list[str]:
        nonlocal commands
        commands += 1
        done = subprocess.run(
            [client, "--os-placement-api-version", "1.39", *words, "-f", "value"],
            env={**os.environ, **env},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.splitlines()

    began = time.perf_counter()
    ask("hypervisor", "list")
    providers = [line.split()[:2] for line in ask("resource", "provider", "list", "-c", "uuid", "-c", "name")]
    for uuid, name in providers:
        if "_pci_" in name:
            ask("resource", "provider", "inventory", "list", uuid)
            ask("resource", "provider", "usage", "show", uuid)
    ask("registered", "limit", "list")
    ask("limit", "list")
    for project in ask("project", "list", "-c", "ID"):
        ask("resource", "usage", "show", project)
    return time.perf_counter() - began, commands


def figures() -> Iterator[Figure]:
    """Brings a lab of four plain GPUs up, measures, and takes it down."""
    client = openstack()
    subprocess.run([str(LAB), "setup"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [str(LAB), "up", "--hosts", "2", "--plain-hosts", "2", "--gpus", "2", "--no-servers"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        env = {**_lab_env(), "VGPU_CONSOLE_SSH_ENABLED": "false", "VGPU_CONSOLE_LIBVIRT_ENABLED": "false"}
        command = [console(), "snapshot"]
        ours = best_of(5, command, env)
        theirs, count = _loop(client, env)
        yield faster(f"capacity view of {GPUS} GPUs on a real cloud", ours, f"{count} openstack commands", theirs, 20)
    finally:
        subprocess.run([str(LAB), "down"], check=False, stdout=subprocess.DEVNULL)


def available() -> bool:
    """Whether the lab's recipe is in this tree (a source distribution leaves it out)."""
    return Path(LAB).exists()
