"""What ``vgpu-console sriov`` does: virtual functions shown, and enabled by a plan."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vgpu_console.actions.devices import find_gpu, find_host
from vgpu_console.actions.sriov import plan_enable
from vgpu_console.cli_hosts import read_hosts
from vgpu_console.cli_output import write
from vgpu_console.cli_plan import Proposal, Reading, Way, change
from vgpu_console.cli_run import (
    OK,
    PARTIAL,
    say,
    tell_gaps,
)
from vgpu_console.views import DEVICES, EVERYTHING, Column, View, column

Given = Mapping[str, tuple[Any, str]]

_FUNCTIONS = View(
    "sriov",
    "SR-IOV GPUs",
    (
        column("host"),
        Column("gpu", lambda gpu: gpu.address),
        column("model", 2),
        column("mechanism", 3),
        column("vfs_enabled", right=True),
        column("vfs_total", right=True),
        column("vgpus_created", 1, right=True),
        column("vgpus_used", 1, right=True),
        column("driver", 4),
    ),
    lambda _snapshot, _filters: [],
    DEVICES,
    lambda _snapshot: "",
)


def show_functions(given: Given, hosts: Sequence[str], form: str) -> int:
    """Writes the SR-IOV GPUs of these hosts, or of all; returns the exit code."""
    seen = read_hosts(given, hosts)
    if isinstance(seen, int):
        return seen
    snapshot, wanted, how = seen
    rows = [gpu for host in wanted for gpu in host.gpus or () if gpu.sriov is not False]
    left_out = write(_FUNCTIONS, rows, form, sys.stdout, how)
    sys.stdout.flush()
    if left_out:
        say(f"no room for: {', '.join(left_out)} (a wider terminal or another -o shows them)")
    silent = [host.name for host in wanted if host.gpus is None]
    if silent:
        say(f"GPUs are not known of: {', '.join(silent)}")
    elif not rows:
        say(f"no GPU with virtual functions{' on ' + ', '.join(h.name for h in wanted) if hosts else ''}")
    tell_gaps([s for s in snapshot.sources if s.kind in DEVICES], snapshot.errors)
    return PARTIAL if silent or snapshot.errors else OK


def enable_functions(given: Given, host: str, gpu: str, over_ssh: bool, way: Way) -> int:
    """``sriov enable``; returns the exit code."""

    def make(read: Reading) -> Proposal:
        owner = find_host(read.snapshot, host)
        address = find_gpu(read.snapshot, owner.name, gpu).address
        plan = plan_enable(read.facts, read.snapshot, owner.name, address, time.time(), by_console=over_ssh)
        return Proposal([plan], several=False, noun="GPU")

    return change(given, None, way, make, kinds=EVERYTHING, hosts=frozenset({host}))
