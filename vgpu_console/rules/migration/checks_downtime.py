"""Pre-checks of how long it takes and whether it can end: post-copy, the downtime ladder, time-outs, the limit."""

from __future__ import annotations

from collections.abc import Mapping

from vgpu_console.model.check import Check, CheckStatus
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.migration.downtime import ladder, reached_after_s, tracks_dirty_pages
from vgpu_console.rules.migration.scene import Scene

DEFAULTS = {"downtime": 500, "downtime_steps": 10, "downtime_delay": 75, "completion_timeout": 800}
"""[libvirt] live_migration_…: milliseconds, a number, seconds a GiB, seconds a GiB (nova: conf/libvirt.py)."""
ADVISED = {"downtime": 500_000, "downtime_steps": 3, "downtime_delay": 3}
"""What Nova's guide asks for on hosts with vGPUs (virtual GPU, caveats)."""
LEAST_GIB = 2.0
_YES = ("true", "yes", "on", "1")


def post_copy(scene: Scene) -> Check:
    """QEMU refuses to migrate a VFIO device once post-copy is permitted; Nova does not look at it before."""
    permitted = [end for end in scene.ends if flag(end.conf, "permit_post_copy")]
    if permitted:
        names = ", ".join(end.name for end in permitted)
        evidence = f"live_migration_permit_post_copy is on at {names}: QEMU refuses to move a vGPU with it"
        return scene.check("post-copy", "fail", evidence, "ssh")
    unread = [end.no_conf for end in scene.ends if end.conf is None]
    if unread:
        return scene.check("post-copy", "unknown", "; ".join(unread), "ssh")
    return scene.check("post-copy", "pass", f"off on {scene.source.name} and {scene.destination.name}", "ssh")


def downtime_ladder(scene: Scene) -> Check:
    """When nova-compute of the source lets QEMU pause the guest for as long as this move needs."""
    conf = scene.source.conf

    def check(word: CheckStatus, evidence: str) -> Check:
        return scene.check("downtime-ladder", word, evidence, "ssh", end=scene.source)

    if conf is None:
        return check("unknown", scene.source.no_conf)
    downtime = max(100, number(conf, "downtime"))
    steps, delay = max(3, number(conf, "downtime_steps")), max(3, number(conf, "downtime_delay"))
    shown = f"{downtime} ms / {steps} / {delay} on {scene.source.name}"
    gib = _gib(scene)
    if gib is None:
        return check("unknown", f"{shown}: the guest's memory is not known")
    rungs = ladder(downtime, steps, delay, gib)
    needed = scene.predicted.high_ms if scene.predicted is not None else None
    if needed is None:
        same = {"downtime": downtime, "downtime_steps": steps, "downtime_delay": delay} == ADVISED
        words = "as Nova's guide asks" if same else "how long a pause is needed is not known"
        return check("pass" if same else "unknown", f"{shown}: {words}")
    at = reached_after_s(rungs, needed)
    pause = f"{needed / 1000:.3g} s"
    if at is None:
        top = f"{rungs[-1][1] / 1000:.3g} s"
        return check("warn", f"{shown}: allows {top} at most, {pause} may be needed: it may never switch over")
    if at > 0:
        return check("warn", f"{shown}: a pause of {pause} is allowed after {_time(at)} only: until then it may go on")
    return check("pass", f"{shown}: {pause} allowed at once")


def completion_timeout(scene: Scene) -> Check:
    """A finite time-out aborts the move, or pauses the guest until its end, in the midst of it."""
    conf, end = scene.source.conf, scene.source
    if conf is None:
        return scene.check("completion-timeout", "unknown", end.no_conf, "ssh", end=end)
    per_gib = number(conf, "completion_timeout")
    if per_gib <= 0:
        return scene.check("completion-timeout", "pass", f"0 on {end.name}: never", "ssh", end=end)
    gib = _gib(scene)
    action = conf.get("libvirt.live_migration_timeout_action", "abort")
    what = "aborts the move" if action == "abort" else "pauses the guest until the end of the move"
    after = f"after {_time(int(per_gib * gib))}" if gib is not None else f"after {per_gib} s for each GiB"
    evidence = f"{per_gib} s a GiB on {end.name}: {after} Nova {what}"
    return scene.check("completion-timeout", "warn", evidence, "ssh", end=end)


def dirty_tracking(scene: Scene) -> Check:
    """Whether the GPU tells which pages it writes: without it all of the guest's memory counts as dirty.

    Both cases are in the prediction. Where the operator has set a limit, the prediction is held against that, and there
    is nothing left to decide here.
    """
    catalogue = load_catalogue()
    known = {
        catalogue.architecture(d.type_name, next((g.product_id for g in scene.gpus if g.address == d.gpu), None))
        for d in scene.devices
    }
    if not known or None in known:
        return scene.check("dirty-tracking", "unknown", "the architecture of the GPU is not known", "catalogue")
    names = ", ".join(sorted(str(one) for one in known))
    untracked = all(tracks_dirty_pages(one) is False for one in known)
    cannot = f"{names} cannot: memory and framebuffer count into the downtime"
    said = cannot if untracked else f"{names}: no public source says, memory may count into the downtime"
    limit = scene.max_downtime_ms
    if limit is not None and scene.predicted is not None and scene.predicted.known:
        evidence = f"{said}, which is held against the limit of {limit / 1000:.3g} s"
        return scene.check("dirty-tracking", "pass", evidence, "catalogue")
    return scene.check("dirty-tracking", "warn" if untracked else "unknown", said, "catalogue")


def downtime_limit(scene: Scene) -> Check | None:
    """The operator's own limit, from the command or the configuration."""
    limit = scene.max_downtime_ms
    if limit is None:
        return None
    most = f"limit {limit / 1000:.3g} s"
    if scene.predicted is None or scene.predicted.high_ms is None or scene.predicted.low_ms is None:
        return scene.check("downtime-limit", "unknown", f"{most}, and there is no prediction", "prediction")
    range_ = f"{scene.predicted.low_ms / 1000:.3g} to {scene.predicted.high_ms / 1000:.3g} s"
    if scene.predicted.high_ms > limit:
        return scene.check("downtime-limit", "fail", f"{range_} predicted, {most}", "prediction")
    return scene.check("downtime-limit", "pass", f"{range_} predicted, {most}", "prediction")


def flag(conf: Mapping[str, str] | None, option: str) -> bool:
    """Whether [libvirt] live_migration_``option`` is switched on."""
    return conf is not None and conf.get(f"libvirt.live_migration_{option}", "").strip().lower() in _YES


def number(conf: Mapping[str, str], option: str) -> int:
    """[libvirt] live_migration_``option``, one of ``DEFAULTS``."""
    value = conf.get(f"libvirt.live_migration_{option}", "")
    return int(value) if value.strip().lstrip("-").isdigit() else DEFAULTS[option]


def _gib(scene: Scene) -> float | None:
    """What Nova counts: the flavor's memory, at least 2 GiB; copied disks are not known here."""
    ram = scene.server.ram_mib
    return None if ram is None else max(LEAST_GIB, ram / 1024)


def _time(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
