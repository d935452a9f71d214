"""What is known of a host beside its devices: versions, nova.conf, findings, and how its sources fare."""

from __future__ import annotations

from collections.abc import Iterable

from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.screens.render import words
from vgpu_console.screens.widgets.cells import Span

Line = tuple[Span, ...]
_LABEL = 9
_FINDING = {"fail": ("✗ ", "fail"), "warn": ("! ", "warn"), "info": ("· ", "muted")}


def labelled(label: str, *spans: Span, width: int = _LABEL) -> Line:
    """A line with its label in a column of its own."""
    return ((f"{label:<{width}} ", "muted"), *spans)


def _known(value: str | None) -> Span:
    return (value, "") if value else (words.UNKNOWN, "unknown")


def host_facts(host: Host, snapshot: Snapshot, now: float) -> list[Line]:
    """The facts panel of a host: what needs an eye first."""
    lines: list[Line] = [(_FINDING[f.severity], (f.message, "")) for f in host.findings]
    lines += [(("? ", "unknown"), (error, "unknown")) for error in host.errors]
    if lines:
        lines.append(())
    service = " · ".join(w for w in (host.service_state, host.service_status) if w)
    lines.append(labelled("service", _known(service or None)))
    if host.disabled_reason:
        lines.append(labelled("because", (host.disabled_reason, "warn")))
    lines += [
        labelled("driver", _known(host.driver)),
        labelled("kernel", _known(host.kernel)),
        labelled("libvirt", _known(host.libvirt)),
        labelled("QEMU", _known(host.qemu)),
        labelled("OS", _known(host.os_name)),
        *([labelled("CPU", (host.cpu_model, ""))] if host.cpu_model else []),
        *_clock(host),
        labelled("zone", _known(host.zone)),
        labelled("vGPUs", (f"{words.number(host.mdevs_created)} created, {words.number(host.mdevs_used)} used", "")),
        *gpu_modes(host.gpus or ()),
        (),
        (("nova.conf", "title"),),
    ]
    if host.nova_conf is None:
        lines.append((("not readable on this host", "unknown"),))
    elif not host.nova_conf:
        lines.append((("none of the vGPU options is set", "muted"),))
    else:
        lines += [((f"{key} = ", "muted"), (value, "")) for key, value in sorted(host.nova_conf.items())]
    lines += [(), (("sources", "title"),)]
    lines += [status_line(s, now) for s in snapshot.sources if s.host == host.name or not s.host]
    return lines


def _clock(host: Host) -> list[Line]:
    """Whether the host's clock agrees with this machine's; no line where it did not say."""
    skew, error = host.clock_skew_s, host.clock_error_s
    if skew is None or error is None:
        return []
    within = (f" ±{error:.1f} s", "muted")
    if abs(skew) <= error:
        return [labelled("clock", ("in step with ours", ""), within)]
    how = "ahead of" if skew > 0 else "behind"
    return [labelled("clock", (f"{abs(skew):.1f} s {how} ours", "warn"), within)]


def gpu_modes(gpus: Iterable[PhysicalGpu]) -> list[Line]:
    """ECC, MIG, mixed sizes and firmware, a line for each GPU, or one for all that are alike; only what is known."""
    alike: dict[tuple[Span, ...], list[str]] = {}
    for gpu in gpus:
        if spans := _modes(gpu):
            alike.setdefault(spans, []).append(gpu.address.removeprefix("0000:"))
    lines = []
    for spans, addresses in alike.items():
        named = ((f"{', '.join(addresses)}  ", "accent"),) if len(alike) > 1 else ()
        lines.append(labelled("GPUs" if len(addresses) > 1 else "GPU", *named, *spans))
    return lines


def _modes(gpu: PhysicalGpu) -> tuple[Span, ...]:
    spans: list[Span] = []
    if gpu.ecc is not None:
        later = gpu.ecc_pending is not None and gpu.ecc_pending != gpu.ecc
        after = f" ({_on(gpu.ecc_pending)} after its next reset)" if later else ""
        spans.append((f"ECC {_on(gpu.ecc)}{after}", "warn" if later else ""))
    if gpu.mig is not None:
        spans.append((f"MIG {_on(gpu.mig)}", ""))
    if gpu.mixed_sizes is not None:
        spans.append((f"mixed sizes {_on(gpu.mixed_sizes)}", ""))
    if gpu.gsp:
        spans.append(("GSP firmware", ""))
    return tuple(part for n, span in enumerate(spans) for part in ([(" · ", "muted"), span] if n else [span]))


def _on(value: bool | None) -> str:
    return "on" if value else "off"


def next_try(status: SourceStatus, now: float) -> str:
    """``next try in 4s``; ``trying`` when the time has come; empty when no time is set."""
    if status.next_at is None:
        return ""
    left = status.next_at - now
    return f"next try in {words.age(left)}" if left > 0 else "trying"


def status_line(status: SourceStatus, now: float, width: int = _LABEL) -> Line:
    """One source: its age, or its error with the next try."""
    name = status.kind
    freshness = status.freshness(now)
    if freshness == "failed":
        after = "; ".join(w for w in (_last(status, now), next_try(status, now)) if w)
        tail: tuple[Span, ...] = ((f" ({after})", "muted"),) if after else ()
        return labelled(name, ("✗ ", "fail"), (status.error or "failed", ""), *tail, width=width)
    if freshness == "never":
        return labelled(name, ("… asking", "muted"), width=width)
    mark = ("◐", "warn") if freshness == "stale" else ("●", "ok")
    notes: Iterable[Span] = ((f"  {note}", "warn") for note in status.notes)
    return labelled(name, (f"{words.age(status.age_s(now))} ", ""), mark, *notes, width=width)


def _last(status: SourceStatus, now: float) -> str:
    age = status.age_s(now)
    return "" if age is None else f"last answer {words.age(age)} ago"
