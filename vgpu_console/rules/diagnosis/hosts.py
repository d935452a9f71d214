"""Hosts as a whole: their service, and their clocks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from statistics import median

from vgpu_console.model.evidence import host_says, nova_says
from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

CLOCKS_APART_S = 1.0
"""A migration's downtime is the time between two hosts' words: clocks that differ by this much spoil any of seconds."""

SERVICE_DOWN = Diagnosis(
    id="service-down",
    severity="fail",
    title="nova-compute is down, or forced down",
    why="Nova schedules nothing there, and nothing that runs there can be moved, changed or deleted through Nova.",
    needs=("nova",),
)
CLOCK = Diagnosis(
    id="clock-differs",
    severity="warn",
    title="A host's clock differs from the others'",
    why="A downtime that is measured across two hosts is wrong by the difference, and so is every order of events that "
    "is read from logs; tokens and certificates may count as expired.",
    needs=("ssh",),
)


def _services(ground: Ground) -> Iterator[Finding]:
    """Those whose libvirt answers are another diagnosis, with its own reason: a nova-compute that did not start."""
    nova = ground.facts.nova
    forced = {s.host for s in (nova.services if nova else None) or () if s.forced_down}
    for host in ground.snapshot.hosts:
        alone = host.name not in forced and host.gpus and ground.heard("libvirt", host.name)
        if host.service_state != "down" or alone:
            continue
        name = shlex.quote(host.name)
        why = "nova-compute is forced down" if host.name in forced else "nova-compute is down"
        lift = f"openstack compute service set --up {name} nova-compute"
        yield SERVICE_DOWN.found(
            f"host {host.name}",
            f"{why}: Nova takes the host for dead, and lets its servers be evacuated"
            if host.name in forced
            else f"{why}, and its libvirt is not heard of either",
            nova_says(
                f"nova-compute on {host.name}: {why.rpartition(' is ')[2]}, {host.service_status or 'status unknown'}"
            ),
            host=host.name,
            command=lift if host.name in forced else f"ssh {name} sudo journalctl -u nova-compute -n 100 --no-pager",
        )


def _clocks(ground: Ground) -> Iterator[Finding]:
    told = [h for h in ground.snapshot.hosts if h.clock_skew_s is not None and h.clock_error_s is not None]
    if len(told) < 2:
        return
    usual = median(h.clock_skew_s or 0.0 for h in told)
    for host in told:
        apart = (host.clock_skew_s or 0.0) - usual
        error = host.clock_error_s or 0.0
        which = "ahead of" if apart > 0 else "behind"
        if abs(apart) - error < CLOCKS_APART_S:
            continue
        yield CLOCK.found(
            f"host {host.name}",
            f"its clock is {abs(apart):.1f} s {which} most hosts' (to within {error:.1f} s)",
            host_says(host.name, f"{host.clock_skew_s:+.1f} s against this machine's clock; most hosts {usual:+.1f} s"),
            host=host.name,
            command=f"ssh {shlex.quote(host.name)} chronyc tracking",
        )


CHAPTER = Chapter((SERVICE_DOWN, CLOCK), (_services, _clocks))
