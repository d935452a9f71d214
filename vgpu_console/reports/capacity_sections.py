"""What there is and who may have it: the tables of types, hosts, limits and their sums."""

from __future__ import annotations

from collections import Counter

from vgpu_console.model.snapshot import Host, ProjectQuota, QuotaTotals, Snapshot
from vgpu_console.reports.capacity import TypeLine, by_type, short_type, uncounted
from vgpu_console.reports.section import Section, Tone, data_only
from vgpu_console.reports.wording import NONE, listed
from vgpu_console.view_filters import Filters
from vgpu_console.views import VIEWS, Column, column, empty_reason

# --- capacity ---------------------------------------------------------------------------------------------------------


def _over(line: TypeLine) -> str | None:
    return NONE if line.over_committed == 0 else None


def capacity(snapshot: Snapshot) -> Section:
    """vGPUs by type against the real maximum."""
    left_out = uncounted(snapshot.hosts)
    return Section(
        "capacity",
        "Capacity by type",
        "vGPUs of each type over all GPUs that carry it. The real maximum is the host's own, else the catalogue's; "
        "offered is what Placement hands out, over-committed what of that the GPUs cannot carry.",
        (
            column("type"),
            data_only("type_id", lambda t: t.type_id),
            column("framebuffer_mib", right=True, show=lambda t: NONE if t.type_id is None else None),
            column("gpus", right=True),
            column("max", right=True),
            column("created", right=True),
            column("used", right=True),
            column("free", right=True),
            column("offered", right=True),
            column("over_committed", right=True, show=_over),
            Column("unknown", lambda t: list(t.unknown), show=lambda t: "; ".join(t.unknown) or NONE),
        ),
        by_type(snapshot),
        empty_reason(VIEWS["types"], snapshot, Filters()),
        tuple(f"not counted: {one.host} ({one.reason})" for one in left_out[:20])
        + ((f"not counted: {len(left_out) - 20} hosts more",) if len(left_out) > 20 else ()),
        lead="type",
        under=("unknown",),
        bar=("used", "max"),
        tone=lambda t: "warn" if t.over_committed else "",
    )


# --- hosts ------------------------------------------------------------------------------------------------------------


def models(host: Host) -> str | None:
    """``2 × A100 PCIe 40GB``; None where it is not known."""
    if host.gpus is None:
        return None
    counts = Counter(gpu.model or "unnamed GPU" for gpu in host.gpus)
    return " + ".join(f"{count} × {model}" for model, count in counts.items()) or "none"


def types(host: Host) -> list[str] | None:
    """The types that a host's GPUs carry."""
    if host.gpus is None:
        return None
    return sorted({short_type(gpu.active_type_name or gpu.active_type or "") for gpu in host.gpus} - {""})


def why_unknown(host: Host) -> list[str]:
    """Why something of a host is not known."""
    reasons = list(host.errors)
    if host.stale:
        reasons.insert(0, "the figures are those of an earlier answer")
    if host.gpus is None and not host.errors:
        reasons.append("neither libvirt nor SSH was asked")
    for gpu in host.gpus or ():
        if gpu.vgpus_max is None and gpu.mechanism != "none":
            why = "it carries several types" if gpu.mixed_types else "it has no type yet"
            reasons.append(
                f"real maximum of {gpu.address}: {why}" if not gpu.active_type else f"{gpu.address}: no maximum"
            )
    return reasons


def hosts(snapshot: Snapshot) -> Section:
    """All hosts with what is on them, from the view of the command line, and why something is not known."""
    view = {c.name: c for c in VIEWS["hosts"].columns}
    counts = [
        column(name, right=True, show=lambda h: NONE if h.gpus == () else None)
        for name in ("mdevs_created", "mdevs_used", "mdevs_max")
    ]
    return Section(
        "hosts",
        "Hosts",
        "Every compute host: service, GPUs, virtual functions, vGPUs created, used and at most, versions.",
        (
            *(view[name] for name in ("name", "service_state", "service_status", "state", "gpus")),
            Column("models", models),
            Column("types", types),
            *(view[name] for name in ("vfs_enabled", "vfs_total", "vfs")),
            *counts,
            Column("mdevs_free", _free, True, show=lambda h: NONE if h.gpus == () else None),
            *(view[name] for name in ("findings", "driver", "kernel", "libvirt", "qemu")),
            column("zone"),
            data_only("os_name", lambda h: h.os_name),
            data_only("disabled_reason", lambda h: h.disabled_reason),
            data_only("stale", lambda h: h.stale),
            Column("unknown", why_unknown, show=lambda h: "; ".join(why_unknown(h)) or NONE),
        ),
        snapshot.hosts,
        empty_reason(VIEWS["hosts"], snapshot, Filters()),
        lead="name",
        under=("unknown",),
        bar=("mdevs_used", "mdevs_max"),
        tone=_host_tone,
    )


def _host_tone(host: Host) -> Tone:
    severities = {f.severity for f in host.findings}
    if host.service_state == "down" or "fail" in severities:
        return "fail"
    if host.gpus is None or host.stale:
        return "unknown"
    return "warn" if host.service_status == "disabled" or "warn" in severities else ""


def _free(host: Host) -> int | None:
    return None if host.stale else host.mdevs_free


# --- quota ------------------------------------------------------------------------------------------------------------


def quota(snapshot: Snapshot) -> Section:
    """Each project's limit and use."""
    missing = snapshot.missing_limit
    has_missing = any(q.origin == "missing" for q in snapshot.quotas)
    meaning = f"a missing limit of class:VGPU means {missing.word} here: {missing.why}"
    return Section(
        "quota",
        "Projects: limits and use",
        "What each project may use and uses, by Placement's count; leaked is held by what Nova no longer knows.",
        (*VIEWS["quota"].columns, column("in_flight", right=True)),
        tuple(VIEWS["quota"].rows(snapshot, Filters())),
        empty_reason(VIEWS["quota"], snapshot, Filters()),
        (meaning,) if has_missing else (),
        bar=("used", "limit"),
        tone=_quota_tone,
    )


def _quota_tone(quota: ProjectQuota) -> Tone:
    if quota.limit is None or quota.used is None or quota.limit < 0:
        return ""
    return "fail" if quota.used > quota.limit else ""


def quota_totals(snapshot: Snapshot) -> Section:
    """What all limits promise against what there is."""
    names = ("promised", "unlimited", "unknown", "used", "capacity", "unreserved")
    unknown = [t.resource for t in snapshot.quota_totals if t.capacity is None]
    return Section(
        "quota_totals",
        "Limits against capacity",
        "What all limits of a resource promise in sum, how many projects have no limit or an unknown one, and what the "
        "hosts can really hold.",
        (column("resource"), *(column(name, right=True) for name in names)),
        snapshot.quota_totals,
        "no project has a limit for a vGPU resource, or uses one",
        (f"capacity of {listed(unknown)}: a host that may offer it could not be read",) if unknown else (),
        tone=_totals_tone,
    )


def _totals_tone(totals: QuotaTotals) -> Tone:
    over = totals.promised is not None and totals.capacity is not None and totals.promised > totals.capacity
    return "warn" if over else ""
