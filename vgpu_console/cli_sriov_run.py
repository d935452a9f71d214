"""What ``vgpu-console sriov`` does: virtual functions shown, and enabled by a plan."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vgpu_console.actions.devices import find_gpu, find_host
from vgpu_console.actions.plan import PlanError
from vgpu_console.actions.sriov import plan_enable
from vgpu_console.cli_hosts import hosts_of
from vgpu_console.cli_output import write
from vgpu_console.cli_plan import Proposal, Reading, Way, change, reading
from vgpu_console.cli_run import (
    NAME,
    OK,
    PARTIAL,
    demo_of,
    is_dark,
    layout,
    no_connection,
    say,
    settings_of,
    tell_gaps,
)
from vgpu_console.views import EVERYTHING, OPENSTACK, Column, View, column

Given = Mapping[str, tuple[Any, str]]

_KINDS = EVERYTHING - {"keystone"}

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
    _KINDS,
    lambda _snapshot: "",
)


def show_functions(given: Given, hosts: Sequence[str], form: str) -> int:
    """Writes the SR-IOV GPUs of these hosts, or of all; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    with reading(settings, demo, _KINDS, frozenset(hosts) or None) as read:
        snapshot = read.snapshot
    if not snapshot.hosts and is_dark(snapshot, OPENSTACK & _KINDS):
        return no_connection(snapshot)
    try:
        wanted = hosts_of(snapshot, hosts)
    except PlanError as error:
        say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
        return error.exit
    rows = [gpu for host in wanted for gpu in host.gpus or () if gpu.sriov is not False]
    left_out = write(_FUNCTIONS, rows, form, sys.stdout, layout(settings))
    sys.stdout.flush()
    if left_out:
        say(f"no room for: {', '.join(left_out)} (a wider terminal or another -o shows them)")
    silent = [host.name for host in wanted if host.gpus is None]
    if silent:
        say(f"GPUs are not known of: {', '.join(silent)}")
    elif not rows:
        say(f"no GPU with virtual functions{' on ' + ', '.join(h.name for h in wanted) if hosts else ''}")
    tell_gaps([s for s in snapshot.sources if s.kind in _KINDS], snapshot.errors)
    return PARTIAL if silent or snapshot.errors else OK


def enable_functions(given: Given, host: str, gpu: str, over_ssh: bool, way: Way) -> int:
    """``sriov enable``; returns the exit code."""

    def make(read: Reading) -> Proposal:
        owner = find_host(read.snapshot, host)
        address = find_gpu(read.snapshot, owner.name, gpu).address
        plan = plan_enable(read.facts, read.snapshot, owner.name, address, time.time(), by_console=over_ssh)
        return Proposal([plan], several=False, noun="GPU")

    return change(given, None, way, make, kinds=EVERYTHING, hosts=frozenset({host}))
