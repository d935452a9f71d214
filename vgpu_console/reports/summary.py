"""The figures at the head of a report; what they leave out is named beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from vgpu_console.model.snapshot import Finding, Host, Snapshot
from vgpu_console.model.source import SourceKind
from vgpu_console.reports.capacity import Uncounted, uncounted
from vgpu_console.reports.wording import listed, plural
from vgpu_console.table_formats import UNKNOWN

VGPU = "class:VGPU"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of vGPUs are over ``hosts_counted``; ``hosts_uncounted`` are in none of them. None: not known."""

    hosts: int | None
    hosts_up: int | None
    hosts_disabled: int | None
    hosts_counted: int
    hosts_uncounted: tuple[Uncounted, ...]
    gpus: int | None
    vgpus_max: int | None
    vgpus_created: int | None
    vgpus_used: int | None
    vgpus_free: int | None
    servers: int | None
    projects: int | None
    promised: int | None  # by the limits of class:VGPU
    promised_unlimited: int | None  # projects without an end
    migrations_running: int | None
    findings_fail: int
    findings_warn: int
    findings_info: int
    sources: int
    sources_failed: int


class Fact(msgspec.Struct, frozen=True):
    """One figure of the summary in words; ``tone`` is "" or the severity of what it says."""

    name: str
    words: str
    note: str = ""
    tone: str = ""


def summary_of(snapshot: Snapshot, findings: Sequence[Finding]) -> Summary:
    """What a snapshot adds up to."""
    left_out = (*uncounted(snapshot.hosts), *incomplete(snapshot.hosts))
    names = {one.host for one in left_out}
    counted = [h for h in snapshot.hosts if h.name not in names]
    nova, quota = answered(snapshot, "nova"), answered(snapshot, "keystone") or answered(snapshot, "placement")
    severities = Counter(f.severity for f in findings)
    totals = next((t for t in snapshot.quota_totals if t.resource == VGPU), None)
    return Summary(
        hosts=len(snapshot.hosts) if snapshot.hosts or nova else None,
        hosts_up=sum(h.service_state == "up" for h in snapshot.hosts) if nova else None,
        hosts_disabled=sum(h.service_status == "disabled" for h in snapshot.hosts) if nova else None,
        hosts_counted=len(counted),
        hosts_uncounted=left_out,
        gpus=sum(len(h.gpus or ()) for h in counted) if counted else None,
        vgpus_max=_sum(counted, "mdevs_max"),
        vgpus_created=_sum(counted, "mdevs_created"),
        vgpus_used=_sum(counted, "mdevs_used"),
        vgpus_free=_sum(counted, "mdevs_free"),
        servers=len(snapshot.servers) if nova else None,
        projects=len({q.project_id for q in snapshot.quotas}) if quota else None,
        promised=totals.promised if totals else None,
        promised_unlimited=totals.unlimited if totals else None,
        migrations_running=sum(m.running for m in snapshot.migrations) if nova else None,
        findings_fail=severities["fail"],
        findings_warn=severities["warn"],
        findings_info=severities["info"],
        sources=len(snapshot.sources),
        sources_failed=len(snapshot.errors),
    )


def incomplete(hosts: Iterable[Host]) -> Iterator[Uncounted]:
    """Hosts that were read and of whose vGPUs a figure is still not known: they would make a sum look whole."""
    for host in hosts:
        if not host.gpus or host.stale:
            continue
        for figure, name in (("real maximum", "mdevs_max"), ("use", "mdevs_used"), ("created vGPUs", "mdevs_created")):
            if getattr(host, name) is None:
                yield Uncounted(host.name, f"{figure} not known")
                break


def answered(snapshot: Snapshot, kind: SourceKind) -> bool:
    """Whether that service has ever answered, so that what it does not list is not there."""
    return any(s.kind == kind and s.fetched_at is not None for s in snapshot.sources)


def _sum(hosts: Sequence[Host], name: str) -> int | None:
    """Over hosts with GPUs; None as soon as one is not known, or when there is nothing to go by."""
    values = [getattr(h, name) for h in hosts if h.gpus]
    return None if not hosts or None in values else sum(values)


def facts(summary: Summary) -> tuple[Fact, ...]:
    """The summary in words."""
    s = summary
    state = [] if s.hosts_up is None else [f"{s.hosts_up} up"]
    if s.hosts_disabled:
        state.append(plural(s.hosts_disabled, "disabled service"))
    missing = ""
    if s.hosts_uncounted:
        names = listed([one.host for one in s.hosts_uncounted], 5)
        missing = f"without {plural(len(s.hosts_uncounted), 'host')} whose figures are not known: {names}"
    unlimited = f", and {plural(s.promised_unlimited, 'project')} without limit" if s.promised_unlimited else ""
    found = ((s.findings_fail, "failure"), (s.findings_warn, "warning"), (s.findings_info, "note"))
    tone = "fail" if s.findings_fail else "warn" if s.findings_warn else ""
    failed = f"{s.sources_failed} of {s.sources} without an answer" if s.sources_failed else f"all {s.sources} answered"
    return (
        Fact("Hosts", _known(s.hosts), ", ".join(state)),
        Fact("GPUs", _known(s.gpus), missing),
        Fact("vGPUs used", f"{_known(s.vgpus_used)} of {_known(s.vgpus_max)}", "of the real maximum"),
        Fact("vGPUs free", _known(s.vgpus_free), "that can still be handed out"),
        Fact("vGPUs created", _known(s.vgpus_created)),
        Fact("Servers with vGPUs", _known(s.servers)),
        Fact("Promised by limits", _known(s.promised) + unlimited, f"of {VGPU} to {_known(s.projects)} projects"),
        Fact("Live migrations running", _known(s.migrations_running)),
        Fact("Findings", ", ".join(plural(n, word) for n, word in found if n) or "none", tone=tone),
        Fact("Sources", failed, tone="warn" if s.sources_failed else ""),
    )


def _known(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
