"""Mediated devices: active, able to start, there after the next boot, and of a type that Nova hands out."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from vgpu_console.model.evidence import host_says, libvirt_says
from vgpu_console.model.snapshot import Finding, MediatedDevice, PhysicalGpu
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

NOT_ACTIVE = Diagnosis(
    id="mdev-not-active",
    severity="warn",
    title="A mediated device is defined but not active",
    why="nova-compute starts it only at its own start; until then its function's provider counts it beside what can be "
    "created, and boots there fail.",
    needs=("libvirt",),
    action="mdev.start",
    fleeting=True,
)
CANNOT_START = Diagnosis(
    id="mdev-cannot-start",
    severity="fail",
    title="A mediated device is defined where it can never start",
    why="nova-compute starts every defined device when it starts itself, and does not get over one that refuses: after "
    "its next restart this host is down for Nova.",
    needs=("libvirt",),
    action="mdev.remove",
    fleeting=True,
)
PARENT_LOST = Diagnosis(
    id="mdev-parent-lost",
    severity="fail",
    title="A mediated device is defined on a function that is gone",
    why="nova-compute starts every defined device when it starts itself, and fails at the first whose function is not "
    "there: it stays alive, and its service is down.",
    needs=("libvirt",),
    action="mdev.remove",
    fleeting=True,
)
UUID_TWICE = Diagnosis(
    id="mdev-uuid-twice",
    severity="fail",
    title="Two mediated devices have the same uuid",
    why="mdevctl allows it on two functions; nova-compute refuses to work with it (InvalidLibvirtMdevConfig).",
    needs=("libvirt",),
)
NO_AUTOSTART = Diagnosis(
    id="mdev-no-autostart",
    severity="info",
    title="Mediated devices are not started with their functions",
    why="After the next boot they stay inactive until nova-compute starts, which guests that libvirt starts by itself "
    "do not wait for.",
    needs=("libvirt",),
    action="mdev.autostart",
    fleeting=True,
)
NOT_PERSISTENT = Diagnosis(
    id="mdev-not-persistent",
    severity="info",
    title="Mediated devices in use are gone after the next boot",
    why="Nova before 2024.2 makes them so. A server then starts again only after a hard reboot, and only if its flavor "
    "asks for resources:VGPU itself.",
    needs=("libvirt",),
    fleeting=True,
)
FREE_PINS = Diagnosis(
    id="free-mdev-pins-type",
    severity="warn",
    title="Free mediated devices keep a GPU at a size that Nova does not want there",
    why="Nova never removes a mediated device: while free ones of another size are left, this GPU takes no vGPU of the "
    "type that nova.conf enables, and its providers disappear.",
    needs=("libvirt", "ssh"),
    action="mdev.remove",
)
TYPE_NOT_ENABLED = Diagnosis(
    id="type-not-enabled",
    severity="warn",
    title="A GPU carries a type that nova.conf does not enable there",
    why="Nova neither hands these devices out nor accounts for them, and they keep other types off the GPU.",
    needs=("libvirt", "ssh"),
)

_NAMED_FUNCTION = re.compile(r"_([0-9a-f]{4})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])$")


def _where(mdev: MediatedDevice) -> str:
    return f"mdev {mdev.host} {mdev.uuid}"


def _kind(mdev: MediatedDevice) -> str:
    return mdev.type_name or mdev.type_id


def _command(word: str, *mdevs: MediatedDevice) -> str:
    """``word`` is a command of ``vgpu-console mdev``; the devices are of one host."""
    return shlex.join(["vgpu-console", "mdev", *word.split(), mdevs[0].host, *(m.uuid or "" for m in mdevs)])


def _states(ground: Ground) -> Iterator[Finding]:
    """Devices that are defined and do not run: each is told once, by the worst that is true of it."""
    for host, mdevs in ground.devices.items():
        twice = _twice(mdevs)
        for uuid, same in twice.items():
            yield UUID_TWICE.found(
                f"mdev {host} {uuid}",
                f"there is one on each of {', '.join(sorted(m.parent or 'a function that is gone' for m in same))}",
                libvirt_says(host, "; ".join(f"{_kind(m)} on {m.parent}: {m.state}" for m in same)),
                host=host,
                command=f"ssh {shlex.quote(host)} sudo mdevctl list --defined",
            )
        for mdev in mdevs:
            if mdev.mechanism == "mdev" and mdev.state == "defined" and mdev.uuid not in twice:
                yield from _one_state(ground, mdev)


def _twice(mdevs: Sequence[MediatedDevice]) -> Mapping[str, Sequence[MediatedDevice]]:
    by_uuid: dict[str, list[MediatedDevice]] = {}
    for mdev in mdevs:
        if mdev.uuid is not None:
            by_uuid.setdefault(mdev.uuid, []).append(mdev)
    return {uuid: same for uuid, same in by_uuid.items() if len(same) > 1}


def _one_state(ground: Ground, mdev: MediatedDevice) -> Iterator[Finding]:
    held = (ground.server_words(mdev.server_id),) if mdev.server_id else ()
    needs = f"; {held[0]} cannot start without it" if held else ""
    objects = (_where(mdev), *held)
    if mdev.gpu is None:  # libvirt names the function still, or says "computer", or nothing
        function = _lost_function(ground, mdev)
        on = f"on {function}" if function else "on a function"
        yield PARENT_LOST.found(
            _where(mdev),
            f"defined {on}, which is not there{needs}",
            libvirt_says(
                mdev.host, f"{_kind(mdev)}: inactive, its function {f'{function} ' if function else ''}is not there"
            ),
            host=mdev.host,
            command=_bring_back(ground, mdev, function),
            key="x",
            objects=objects,
        )
        return
    if _being_made(ground, mdev):
        return
    reason = _no_start(ground, mdev)
    if reason:
        yield CANNOT_START.found(
            _where(mdev),
            f"defined on {mdev.parent} and cannot start: {reason}{needs}",
            libvirt_says(mdev.host, f"{_kind(mdev)} on {mdev.parent}: inactive; {reason}"),
            host=mdev.host,
            command=_command("remove", mdev),
            key="x",
            objects=objects,
        )
        return
    yield NOT_ACTIVE.found(
        _where(mdev),
        f"defined but not active{needs}; nova-compute starts it only at its own start",
        libvirt_says(mdev.host, f"{_kind(mdev)} on {mdev.parent}: inactive"),
        host=mdev.host,
        command=_command("start", mdev),
        key="o",
        objects=objects,
    )


def _lost_function(ground: Ground, mdev: MediatedDevice) -> str:
    """The function that a device was defined on, by its name: libvirt 7.7 and later write it there."""
    if mdev.parent is not None:
        return mdev.parent
    libvirt = ground.facts.libvirt.get(mdev.host)
    name = next((m.name for m in (libvirt.mdevs if libvirt else ()) if m.uuid == mdev.uuid), "")
    found = _NAMED_FUNCTION.search(name)
    return "{}:{}:{}.{}".format(*found.groups()) if found else ""


def _bring_back(ground: Ground, mdev: MediatedDevice, function: str) -> str:
    """Enable the functions where that is what is missing; else nothing is left but to remove the definition."""
    host = ground.hosts.get(mdev.host)
    for gpu in (host.gpus if host else None) or ():
        if function and gpu.sriov and gpu.vfs_enabled == 0 and gpu.address[:8] == function[:8]:
            return f"vgpu-console sriov enable {shlex.quote(mdev.host)} --gpu {gpu.address}"
    return _command("remove", mdev)


def _being_made(ground: Ground, mdev: MediatedDevice) -> bool:
    """Whether the function's provider is allocated to a server that is being built or moved: Nova makes it just now."""
    provider = ground.providers.get(mdev.provider_uuid or "")
    return any(ground.in_motion(a.consumer_id) for a in (provider.allocations if provider else None) or ())


def _gpu(ground: Ground, mdev: MediatedDevice) -> PhysicalGpu | None:
    host = ground.hosts.get(mdev.host)
    return next((g for g in (host.gpus if host else None) or () if g.address == mdev.gpu), None)


def _no_start(ground: Ground, mdev: MediatedDevice) -> str:
    """Why a defined device cannot start beside what runs on its GPU; "" when it can, or when that is not known."""
    gpu = _gpu(ground, mdev)
    if gpu is None:
        return ""
    running = [m for m in ground.devices[mdev.host] if m.gpu == gpu.address and m.state == "active"]
    taken = next((m for m in running if m.parent == mdev.parent), None)
    if taken is not None and gpu.sriov:
        return f"its function carries {taken.uuid} already"
    sizes = {t.type_id: t.framebuffer_mib for t in gpu.types}
    own = sizes.get(mdev.type_id)
    other = next((m for m in running if own and (sizes.get(m.type_id) or own) != own), None)
    if other is not None and not gpu.mixed_sizes:
        return f"the GPU runs {_kind(other)}, another size than {_kind(mdev)}"
    if gpu.vgpus_max is not None and gpu.active_type == mdev.type_id and len(running) >= gpu.vgpus_max:
        return f"the GPU carries all {gpu.vgpus_max} that fit"
    return ""


def _keeping(ground: Ground) -> Iterator[Finding]:
    """Devices that the next boot changes: told once for each host."""
    for host, mdevs in ground.devices.items():
        running = [m for m in mdevs if m.mechanism == "mdev" and m.state == "active"]
        lacking = [m for m in running if m.persistent is False or m.autostart is False]
        lacking = [m for m in lacking if not _being_made(ground, m)]
        manual = [m for m in lacking if m.persistent is not False]
        if manual:
            yield NO_AUTOSTART.found(
                f"host {host}",
                f"{len(manual)} of {len(running)} active mdevs are defined without autostart",
                libvirt_says(host, _list(m.uuid or "" for m in manual) + ": autostart off"),
                host=host,
                command=_command("autostart on", *manual),
                key="A",
                objects=(f"host {host}", *map(_where, manual)),
            )
        transient = [m for m in lacking if m.persistent is False and m.used]
        if transient:
            servers = [ground.server_words(m.server_id) for m in transient if m.server_id]
            yield NOT_PERSISTENT.found(
                f"host {host}",
                f"{len(transient)} mdevs that servers hold are not defined: the next boot forgets them",
                libvirt_says(host, _list(m.uuid or "" for m in transient) + ": not persistent"),
                host=host,
                command=f"ssh {shlex.quote(host)} "
                + shlex.quote("; ".join(f"sudo mdevctl define --auto --uuid {m.uuid}" for m in transient)),
                objects=(f"host {host}", *map(_where, transient), *servers),
            )


def _list(words: Iterator[str] | Sequence[str]) -> str:
    listed = list(words)
    return ", ".join(listed[:3]) + (" …" if len(listed) > 3 else "")


def _types(ground: Ground) -> Iterator[Finding]:
    for host, gpu in ground.gpus():
        if not any(t.created and t.enabled is False for t in gpu.types):
            continue
        sizes: dict[str, list[MediatedDevice]] = defaultdict(list)
        for mdev in ground.devices.get(host.name, ()):
            if mdev.gpu == gpu.address and mdev.mechanism == "mdev" and mdev.state == "active":
                sizes[mdev.type_id].append(mdev)
        wanted = [t for t in gpu.types if t.enabled]
        for capacity in gpu.types:
            mdevs = sizes.get(capacity.type_id)
            if not mdevs or capacity.enabled is not False:
                continue
            name = capacity.type_name or capacity.type_id
            free = [m for m in mdevs if m.used is False]
            conf = host_says(
                host.name, f"nova.conf enables {', '.join(t.type_name for t in wanted) or 'nothing'} there"
            )
            if wanted and free and len(free) == len(mdevs):
                yield FREE_PINS.found(
                    f"gpu {host.name} {gpu.address}",
                    f"free mdevs of {name} keep off {wanted[0].type_name or wanted[0].type_id}, which nova.conf "
                    f"enables here: {len(free)}",
                    libvirt_says(host.name, f"{len(free)} × {name} on {gpu.address}, held by no domain"),
                    conf,
                    host=host.name,
                    command=_command("remove", *free),
                    key="x",
                    objects=(f"gpu {host.name} {gpu.address}", *map(_where, free)),
                )
            else:
                holders = [ground.server_words(m.server_id) for m in mdevs if m.server_id]
                yield TYPE_NOT_ENABLED.found(
                    f"gpu {host.name} {gpu.address}",
                    f"carries {len(mdevs)} × {name}, which nova.conf does not enable here",
                    libvirt_says(host.name, f"{len(mdevs)} of {capacity.type_id} on {gpu.address}"),
                    conf,
                    host=host.name,
                    command=f"vgpu-console nova-conf {shlex.quote(host.name)}",
                    key="N",
                    objects=(f"gpu {host.name} {gpu.address}", *holders),
                )


CHAPTER = Chapter(
    (
        NOT_ACTIVE,
        CANNOT_START,
        PARENT_LOST,
        UUID_TWICE,
        NO_AUTOSTART,
        NOT_PERSISTENT,
        FREE_PINS,
        TYPE_NOT_ENABLED,
    ),
    (_states, _keeping, _types),
)
