"""The hosts table: one row a host, its vGPUs against the real maximum of the types it has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.screens.render import marks, words
from vgpu_console.screens.widgets.cells import Cell, Span, bar, number, text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import TableRow

BAR_WIDTH = 12
NO_TYPE = "none set"
"""A GPU that could have vGPUs, has none, and of which nova.conf names no type or several."""

COLUMNS = (
    Column("host", "HOST", 10, flex=3, maximum=30),
    Column("state", "STATE", 10),
    Column("gpus", "GPUS", 19, flex=2, priority=2, maximum=40),
    Column("vfs", "VFS", 7, "right", priority=4),
    Column("type", "TYPE", 11, flex=1, priority=1, maximum=30),
    Column("used", "USED / REAL MAX", 20),
    Column("free", "FREE", 4, "right"),
    Column("driver", "DRIVER", 14, priority=3),
    marks.COLUMN,
    Column("created", "CREATED", 7, "right", priority=6),
    Column("zone", "ZONE", 8, priority=7),
    Column("libvirt", "LIBVIRT", 8, priority=8),
    Column("qemu", "QEMU", 8, priority=9),
    Column("kernel", "KERNEL", 14, flex=1, priority=10),
)


def statuses_by_host(sources: Iterable[SourceStatus]) -> Mapping[str, list[SourceStatus]]:
    """The sources that speak for one host, by its name."""
    by_host: dict[str, list[SourceStatus]] = defaultdict(list)
    for status in sources:
        if status.host:
            by_host[status.host].append(status)
    return by_host


def host_state(host: Host, statuses: Iterable[SourceStatus], now: float) -> Span:
    """Glyph and word for a host, with its tone. A host that no longer answers shows the age of what is known of it."""
    if host.service_state == "down":
        return "✗ down", "fail"
    if host.stale:
        # The figures come from libvirt where it has answered, else from SSH: their age is that answer's.
        ages = [s.age_s(now) for s in statuses if s.error is not None]
        known = [a for a in ages if a is not None]
        return (f"? {words.age(min(known))}" if known else "? no answer"), "unknown"
    if host.service_status == "disabled":
        return "! disabled", "warn"
    if host.service_state == "up":
        return "✓ up", "ok"
    return "? unknown", "unknown"


def is_fault(host: Host) -> bool:
    """Whether a host needs an eye: down, disabled, stale, unreadable, or with a finding above ``info``."""
    return (
        host.service_state != "up"
        or host.service_status == "disabled"
        or host.stale
        or bool(host.errors)
        or any(f.severity != "info" for f in host.findings)
    )


def gpu_models(host: Host) -> str:
    """``2 × A100 PCIe 40GB``; ``?`` when unknown, ``none`` when asked and there are none."""
    if host.gpus is None:
        return words.UNKNOWN
    if not host.gpus:
        return "none"
    counts = Counter(gpu.model or "unnamed GPU" for gpu in host.gpus)
    return " + ".join(f"{count} × {model}" for model, count in counts.items())


def vfs(host: Host) -> Cell:
    """Enabled of total virtual functions; ``–`` on cards without SR-IOV."""
    if host.gpus is not None and host.gpus and all(gpu.sriov is False for gpu in host.gpus):
        return text("–", "muted")
    if host.gpus == ():
        return text("–", "muted")
    if host.vfs_enabled is None and host.vfs_total is None:
        return text(words.UNKNOWN, "unknown")
    short = host.vfs_enabled == 0 and bool(host.vfs_total)
    shown = f"{words.number(host.vfs_enabled)}/{words.number(host.vfs_total)}"
    return Cell(((shown, "warn" if short else ""),), host.vfs_enabled)


def types(host: Host) -> str:
    """The types that the host's GPUs have now, most frequent first."""
    if host.gpus is None:
        return words.UNKNOWN
    if not host.gpus:
        return "–"
    counts = Counter(gpu_type(gpu) for gpu in host.gpus)
    if len(counts) > 1:
        counts.pop(NO_TYPE, None)
    return ", ".join(name for name, _ in counts.most_common())


def gpu_type(gpu: PhysicalGpu) -> str:
    """The type that a GPU's vGPUs have; ``mixed`` for several, ``?`` when it has vGPUs of a type that is not known."""
    if gpu.mixed_types:
        return "mixed"
    if gpu.active_type_name:
        return words.short_type(gpu.active_type_name)
    if gpu.mechanism == "none":
        return "–"
    return words.UNKNOWN if gpu.vgpus_created or gpu.vgpus_created is None else NO_TYPE


def used_of_max(host: Host) -> Cell:
    """The bar of used against real maximum; of a host that no longer answers the last figures, marked as such."""
    if host.gpus == ():
        return text("–", "muted")
    if host.stale:
        if host.mdevs_used is None and host.mdevs_max is None:
            return Cell((("? never read", "unknown"),))
        shown = f"? last {words.number(host.mdevs_used)} / {words.number(host.mdevs_max)}"
        return Cell(((shown, "unknown"),), host.mdevs_used)
    return bar(host.mdevs_used, host.mdevs_max, BAR_WIDTH)


def free(host: Host) -> Cell:
    """What could still be handed out; unknown while the host does not answer."""
    if host.gpus == ():
        return text("–", "muted")
    if host.stale or host.mdevs_free is None:
        return Cell(((words.UNKNOWN, "unknown"),))
    return Cell(((str(host.mdevs_free), "" if host.mdevs_free else "muted"),), host.mdevs_free)


def findings(host: Host) -> Cell:
    """The number of findings, in the tone of the worst; empty when there are none."""
    return marks.cell(marks.mark_of(host.findings))


def host_row(host: Host, state: Span) -> TableRow:
    """One host as a row; its id is the host's name. ``state`` is from ``host_state``."""
    gpus, kinds = gpu_models(host), types(host)
    driver = host.driver or words.UNKNOWN
    vendor_vfio = any(gpu.mechanism == "vendor-vfio" for gpu in host.gpus or ())
    driver_spans: tuple[Span, ...] = ((driver, "" if host.driver else "unknown"),)
    if vendor_vfio:
        driver_spans += ((" vfio", "muted"),)
    cells = (
        text(host.name),
        Cell((state,)),
        text(gpus, "unknown" if host.gpus is None else ""),
        vfs(host),
        text(kinds, "unknown" if host.gpus is None else ("muted" if kinds in ("–", NO_TYPE) else "")),
        used_of_max(host),
        free(host),
        Cell(driver_spans, driver),
        findings(host),
        number(host.mdevs_created),
        text(host.zone or ""),
        _version(host.libvirt),
        _version(host.qemu),
        _version(host.kernel),
    )
    return TableRow(host.name, cells, f"{host.name} {state[0]} {gpus} {kinds} {driver}")


def _version(value: str | None) -> Cell:
    return text(value or words.UNKNOWN, "" if value else "unknown")


def totals(snapshot: Snapshot) -> tuple[Span, ...]:
    """``vGPUs 17 used · 9 free · 26 real``; hosts whose figures are unknown are named, never counted as zero.

    Free is what could be handed out now, as in the column: less than the rest where virtual functions are off.
    """
    counted = [h for h in snapshot.hosts if h.mdevs_used is not None and h.mdevs_max is not None and not h.stale]
    missing = sum(1 for h in snapshot.hosts if (h.gpus is None or h.mdevs_max is None or h.stale) and h.gpus != ())
    if not counted:
        return (("vGPUs unknown", "unknown"),) if snapshot.hosts else ()
    used = sum(h.mdevs_used or 0 for h in counted)
    real = sum(h.mdevs_max or 0 for h in counted)
    left = [max(0, (h.mdevs_max or 0) - (h.mdevs_used or 0)) if h.mdevs_free is None else h.mdevs_free for h in counted]
    spans: tuple[Span, ...] = ((f"vGPUs {used} used · {sum(left)} free · {real} real", ""),)
    if missing:
        spans += ((f" · {words.plural(missing, 'host')} unknown", "unknown"),)
    return spans
