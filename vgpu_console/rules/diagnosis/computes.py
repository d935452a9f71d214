"""nova-compute: dead on a host that is well, and hosts that Nova itself took out of use."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.evidence import libvirt_says, nova_says, placement_says
from vgpu_console.model.snapshot import Finding, Host
from vgpu_console.rules.diagnosis import compute_start, mediated_devices
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.provider_census import census
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

NOT_STARTED = Diagnosis(
    id="compute-not-started",
    severity="fail",
    title="nova-compute is down on a host that answers",
    why="A nova-compute that fails at its start does not exit: systemd shows it as active, and only its log says why. "
    "Its providers stay in Placement, and nothing that runs there can be changed through Nova.",
    needs=("nova", "libvirt"),
    fleeting=True,
)
AUTO_DISABLED = Diagnosis(
    id="host-auto-disabled",
    severity="warn",
    title="Nova itself has disabled a host",
    why="Nothing is scheduled there until somebody enables it again: Nova disables a host after several failed builds "
    "in a row, which on a GPU host are mostly vGPUs that Placement offers and the host cannot make.",
    needs=("nova",),
    action="service.enable",
)

AUTO = "Auto-disabled"
"""Begins the reason that nova-compute gives after [compute] consecutive_build_service_disable_threshold failures."""

LIBVIRT_LOST = "AUTO:"
"""Begins the reason of a host whose nova-compute lost libvirt; it enables the host again by itself."""

_STOP_THE_START = frozenset({"conf-address-twice", "conf-address-malformed", "mdev-parent-lost", "mdev-uuid-twice"})
"""What nova-compute does not start with."""


def _down(ground: Ground) -> Iterator[Finding]:
    forced = {s.host for s in (ground.facts.nova.services if ground.facts.nova else None) or () if s.forced_down}
    down = [
        host
        for host in ground.snapshot.hosts
        if host.service_state == "down" and host.gpus and host.name not in forced and ground.heard("libvirt", host.name)
    ]
    reasons = _reasons(ground) if down else {}
    for host in down:
        yield _not_started(ground, host, reasons.get(host.name, []))


def _reasons(ground: Ground) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = defaultdict(list)
    for chapter in (compute_start.CHAPTER, mediated_devices.CHAPTER):
        for look in chapter.looks:
            for finding in look(ground):
                if finding.id in _STOP_THE_START:
                    found[finding.host].append(finding)
    return found


def _not_started(ground: Ground, host: Host, reasons: list[Finding]) -> Finding:
    one = census(ground).hosts.get(host.name)
    offered = sum(one.offered.values()) if one is not None else 0
    name = shlex.quote(host.name)
    why = "; ".join(f"{f.object}: {f.message}" for f in reasons[:2])
    still = f"; Placement still offers {offered} vGPUs of it" if offered and ground.heard("placement") else ""
    words = f"nova-compute is down and the host's libvirt answers{still}"
    words += f"; it does not start because of {why}" if why else "; its log says why it stopped or did not start"
    evidence = [
        nova_says(f"nova-compute on {host.name}: down, {host.service_status or 'status unknown'}"),
        libvirt_says(host.name, f"answers; {len(host.gpus or ())} GPUs"),
        *(e for f in reasons[:2] for e in f.evidence),
    ]
    if still:
        evidence.append(placement_says(f"{offered} offered on {host.name}"))
    return NOT_STARTED.found(
        f"host {host.name}",
        words,
        *evidence,
        host=host.name,
        objects=tuple(dict.fromkeys((f"host {host.name}", *(f.object for f in reasons)))),
        command=reasons[0].command
        if reasons and reasons[0].command
        else f"ssh {name} sudo journalctl -u nova-compute -p err -n 100 --no-pager",
    )


def _disabled(ground: Ground) -> Iterator[Finding]:
    for host in ground.snapshot.hosts:
        reason = host.disabled_reason or ""
        if host.service_status != "disabled" or not reason.startswith((AUTO, LIBVIRT_LOST)):
            continue
        lost = reason.startswith(LIBVIRT_LOST)
        words = (
            "nova-compute lost its libvirt and enables the host again when that is back"
            if lost
            else "find out why builds fail there before it is enabled again"
        )
        yield AUTO_DISABLED.found(
            f"host {host.name}",
            f"disabled by Nova itself ({reason}): {words}",
            nova_says(f"nova-compute on {host.name}: disabled, {reason}"),
            host=host.name,
            command=f"ssh {shlex.quote(host.name)} systemctl status libvirtd virtqemud"
            if lost
            else shlex.join(["openstack", "compute", "service", "set", "--enable", host.name, "nova-compute"]),
        )


CHAPTER = Chapter((NOT_STARTED, AUTO_DISABLED), (_down, _disabled))
