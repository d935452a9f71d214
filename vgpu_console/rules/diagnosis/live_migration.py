"""What keeps a host's vGPUs from being moved: versions, and [libvirt] live_migration_… in its nova.conf."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from vgpu_console.model.evidence import host_says, libvirt_says
from vgpu_console.model.snapshot import Finding, Host
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis
from vgpu_console.rules.migration.checks_downtime import ADVISED, DEFAULTS, LEAST_GIB, flag, number
from vgpu_console.rules.migration.checks_hosts import (
    MIN_KERNEL,
    MIN_LIBVIRT,
    MIN_LIBVIRT_VARIANT,
    MIN_QEMU,
    MIN_QEMU_VARIANT,
    backports,
)
from vgpu_console.rules.migration.downtime import ladder, predict, reached_after_s
from vgpu_console.rules.migration.scene import HostScene, version

SOON_S = 600
"""A pause that is allowed only after so long keeps a guest copying in vain: with Nova's default ladder and 8 GiB it is
when the second rung comes."""

_USUAL_GIB = 8.0
"""A guest's memory, where the ladder is judged for a host and not for one server."""

KERNEL = Diagnosis(
    id="kernel-too-old",
    severity="warn",
    title="The kernel is too old for live migration of vGPUs",
    why="VFIO's migration interface came with Linux 5.18: QEMU refuses to move a vGPU from or to this host.",
    needs=("ssh",),
)
LIBVIRT = Diagnosis(
    id="libvirt-too-old",
    severity="warn",
    title="libvirt is too old for live migration of vGPUs",
    why="Nova refuses to move a server with a vGPU from or to this host.",
    needs=("libvirt",),
)
QEMU = Diagnosis(
    id="qemu-too-old",
    severity="warn",
    title="QEMU is too old for live migration of vGPUs",
    why="Nova refuses to move a server with a vGPU from or to this host.",
    needs=("libvirt",),
)
POST_COPY = Diagnosis(
    id="post-copy-permitted",
    severity="fail",
    title="Post-copy is permitted on a host with vGPUs",
    why="QEMU refuses every live migration of a VFIO device while that capability is on; Nova does not look at it, and "
    "leaves the server in ERROR.",
    needs=("ssh",),
)
LADDER = Diagnosis(
    id="downtime-ladder",
    severity="warn",
    title="The longest permitted pause is too short, or comes too late, for a vGPU",
    why="The framebuffer is sent while the guest stands still: QEMU goes on copying until a pause of that length is "
    "permitted, which may be never.",
    needs=("ssh",),
)
TIMEOUT = Diagnosis(
    id="completion-timeout",
    severity="info",
    title="Live migrations are ended by a time-out",
    why="Nova then aborts a migration that would have come to its end, or pauses the guest until it has.",
    needs=("ssh",),
)


def _versions(ground: Ground) -> Iterator[Finding]:
    for host in _with_vgpus(ground):
        variant = _mechanism(host) == "vendor-vfio"
        kernel = version(host.kernel)
        if kernel is not None and kernel < MIN_KERNEL and not backports(_end(ground, host)):
            yield KERNEL.found(
                f"host {host.name}",
                f"Linux {host.kernel} is older than {_dotted(MIN_KERNEL[:2])}: no vGPU can be moved from or to it",
                host_says(host.name, f"kernel {host.kernel}, {host.os_name or 'system unknown'}"),
                host=host.name,
                command=f"ssh {shlex.quote(host.name)} uname -r",
            )
        facts = ground.facts.libvirt.get(host.name)
        if facts is None:
            continue
        for row, word, told, least in (
            (LIBVIRT, "libvirt", facts.libvirt_version, MIN_LIBVIRT_VARIANT if variant else MIN_LIBVIRT),
            (QEMU, "QEMU", facts.qemu_version, MIN_QEMU_VARIANT if variant else MIN_QEMU),
        ):
            found = version(told)
            if found is not None and found < least:
                yield row.found(
                    f"host {host.name}",
                    f"{word} {told} is older than {_dotted(least)}: Nova moves no vGPU from or to it",
                    libvirt_says(host.name, f"{word} {told}"),
                    host=host.name,
                    command=f"virsh -c qemu+ssh://{host.name}/system version",
                )


def _post_copy(ground: Ground) -> Iterator[Finding]:
    for host in _with_vgpus(ground):
        if flag(host.nova_conf, "permit_post_copy"):
            yield POST_COPY.found(
                f"host {host.name}",
                "live_migration_permit_post_copy is on: QEMU refuses to move any vGPU",
                host_says(host.name, "nova.conf: [libvirt] live_migration_permit_post_copy = true"),
                host=host.name,
                command=_set(host, {"permit_post_copy": "false"}),
            )


def _ladders(ground: Ground) -> Iterator[Finding]:
    for host in _with_vgpus(ground):
        conf = host.nova_conf
        if conf is None:
            continue
        needed, why = _needed(host)
        downtime, steps = max(100, number(conf, "downtime")), max(3, number(conf, "downtime_steps"))
        delay = max(3, number(conf, "downtime_delay"))
        rungs = ladder(downtime, steps, delay, _USUAL_GIB)
        shown = f"{downtime} ms / {steps} / {delay}"
        if needed is not None:
            at = reached_after_s(rungs, needed)
            if at is not None and at < SOON_S:
                continue
            late = "never permitted" if at is None else f"permitted only after {at} s"
            message = f"{shown} (downtime, steps, delay): {why}, which is {late}"
        else:
            if any(number(conf, name) != DEFAULTS[name] for name in ADVISED):
                continue  # somebody has set them, and what they must allow is not known
            message = f"{shown} (downtime, steps, delay) are the defaults, with which a vGPU does not converge"
        yield LADDER.found(
            f"host {host.name}",
            message,
            host_says(host.name, f"nova.conf: live_migration_downtime {downtime}, _steps {steps}, _delay {delay}"),
            host=host.name,
            command=_set(host, {name: str(value) for name, value in ADVISED.items()}),
        )


def _timeouts(ground: Ground) -> Iterator[Finding]:
    for host in _with_vgpus(ground):
        conf = host.nova_conf
        per_gib = number(conf, "completion_timeout") if conf is not None else 0
        if conf is None or per_gib <= 0:
            continue
        aborts = conf.get("libvirt.live_migration_timeout_action", "abort") == "abort"
        what = "aborts the migration" if aborts else "pauses the guest until all is sent"
        yield TIMEOUT.found(
            f"host {host.name}",
            f"live_migration_completion_timeout is {per_gib} s for each GiB of memory: Nova then {what}",
            host_says(host.name, f"nova.conf: live_migration_completion_timeout {per_gib}"),
            host=host.name,
            command=_set(host, {"completion_timeout": "0"}),
        )


def _with_vgpus(ground: Ground) -> Iterator[Host]:
    """Hosts with a GPU that makes vGPUs."""
    for host in ground.snapshot.hosts:
        if any(gpu.mechanism in ("mdev", "vendor-vfio") for gpu in host.gpus or ()):
            yield host


def _mechanism(host: Host) -> str:
    kinds = {gpu.mechanism for gpu in host.gpus or ()} - {"none"}
    return kinds.pop() if len(kinds) == 1 else "unknown"


def _needed(host: Host) -> tuple[float | None, str]:
    """The least pause that the largest type in force there needs, in milliseconds; None: its size is not known."""
    sizes = {
        t.framebuffer_mib: short_type_name(t.type_name)
        for gpu in host.gpus or ()
        for t in gpu.types
        if t.type_id == gpu.active_type and t.framebuffer_mib
    }
    if not sizes:
        return None, ""
    most = max(sizes)
    pause = predict(
        ram_mib=int(LEAST_GIB * 1024),
        framebuffer_mib=most,
        tracked=None,
        type_name=sizes[most],
        source=host.name,
        destination="",
    )
    if pause.low_ms is None:
        return None, ""
    return pause.low_ms, f"{sizes[most]} has {most // 1024} GiB to send, at least {pause.low_ms / 1000:.0f} s"


def _end(ground: Ground, host: Host) -> HostScene:
    return HostScene(host=host, status={}, ssh=ground.facts.ssh.get(host.name))


def _set(host: Host, values: Mapping[str, str]) -> str:
    """Commands that set options in that host's nova.conf; nova-compute reads them when it is restarted."""
    path = "/etc/nova/nova.conf"
    lines = [f"crudini --set {path} libvirt live_migration_{name} {value}" for name, value in values.items()]
    return "\n".join(f"ssh {shlex.quote(host.name)} sudo {line}" for line in lines)


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


CHAPTER = Chapter((KERNEL, LIBVIRT, QEMU, POST_COPY, LADDER, TIMEOUT), (_versions, _post_copy, _ladders, _timeouts))
