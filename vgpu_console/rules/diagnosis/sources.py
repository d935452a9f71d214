"""The sources themselves: those that fail or are stale, and those that contradict each other about a host."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from vgpu_console.model.evidence import Evidence, host_says, libvirt_says, nova_says
from vgpu_console.model.nova import Hypervisor
from vgpu_console.model.snapshot import Finding
from vgpu_console.model.source import SourceStatus
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis, moment
from vgpu_console.rules.migration.scene import version

FAILED = Diagnosis(
    id="source-failed",
    severity="warn",
    title="A source of facts does not answer",
    why="What the console shows of it is old or incomplete, and what is wrong there is not seen.",
    needs=(),
)
STALE = Diagnosis(
    id="source-stale",
    severity="warn",
    title="A source has not been heard of for too long",
    why="It did not fail, but was not read either: what is shown may have changed since.",
    needs=(),
)
SKIPPED = Diagnosis(
    id="devices-unreadable",
    severity="warn",
    title="libvirt lists devices that could not be read",
    why="They are in no figure that the console shows.",
    needs=("libvirt",),
)
OTHER_HOST = Diagnosis(
    id="host-name-contradicts",
    severity="fail",
    title="libvirt of a host says that it is another one",
    why="The console reads, and would change, the devices of another host than Nova means by that name.",
    needs=("nova", "libvirt"),
)
HYPERVISOR = Diagnosis(
    id="hypervisor-version-contradicts",
    severity="warn",
    title="Nova knows another QEMU version than the host has",
    why="nova-compute asks when it starts: until it is restarted, Nova judges by the old version where servers may go.",
    needs=("nova", "libvirt"),
)
NOT_RESTARTED = Diagnosis(
    id="update-not-restarted",
    severity="warn",
    title="The libvirt that runs is not the one that is installed",
    why="An update takes effect when the daemon is restarted: at the next boot this host behaves differently.",
    needs=("libvirt", "ssh"),
)


def _answers(ground: Ground) -> Iterator[Finding]:
    failed: dict[str, list[SourceStatus]] = defaultdict(list)
    stale: dict[str, list[SourceStatus]] = defaultdict(list)
    for status in ground.snapshot.sources:
        place = f"host {status.host}" if status.host else status.kind
        freshness = status.freshness(ground.now)
        if freshness == "failed":
            failed[place].append(status)
        elif freshness == "stale":
            stale[place].append(status)
    for place, statuses in failed.items():
        told = [(s, (s.error or "").removeprefix(f"{s.host}: ")) for s in statuses]
        yield FAILED.found(
            place,
            "; ".join(f"{s.kind}: {error}" for s, error in told),
            *(Evidence(s.kind, s.host, error) for s, error in told),
            host=statuses[0].host,
        )
    for place, statuses in stale.items():
        since = [(s, moment(s.fetched_at)) for s in statuses]
        yield STALE.found(
            place,
            "; ".join(f"{s.kind}: no answer since {at}, it is read every {s.interval_s:.0f} s" for s, at in since),
            *(Evidence(s.kind, s.host, f"last answer at {at}") for s, at in since),
            host=statuses[0].host,
        )


def _skipped(ground: Ground) -> Iterator[Finding]:
    for host, facts in ground.facts.libvirt.items():
        if facts.skipped:
            more = f" and {len(facts.skipped) - 3} more" if len(facts.skipped) > 3 else ""
            yield SKIPPED.found(
                f"host {host}",
                f"{len(facts.skipped)} devices could not be read: {'; '.join(facts.skipped[:3])}{more}",
                *(libvirt_says(host, one) for one in facts.skipped[:10]),
                host=host,
                command=f"virsh -c qemu+ssh://{host}/system nodedev-list --all",
            )


def _contradictions(ground: Ground) -> Iterator[Finding]:
    nova = ground.facts.nova
    hypervisors = {h.service_host or h.name: h for h in (nova.hypervisors if nova else None) or ()}
    for host, facts in ground.facts.libvirt.items():
        hypervisor = hypervisors.get(host)
        if hypervisor is None:
            continue
        if facts.hostname and hypervisor.name and not _same_name(facts.hostname, hypervisor.name):
            yield OTHER_HOST.found(
                f"host {host}",
                f"libvirt there calls itself {facts.hostname}, Nova's hypervisor is {hypervisor.name}",
                nova_says(f"hypervisor {hypervisor.name} of the service on {host}"),
                libvirt_says(host, f"hostname {facts.hostname}"),
                host=host,
                command=f"virsh -c qemu+ssh://{host}/system hostname",
            )
        told = _qemu(hypervisor)
        if told is not None and facts.qemu_version and version(facts.qemu_version) != told:
            shown = ".".join(map(str, told))
            yield HYPERVISOR.found(
                f"host {host}",
                f"Nova knows QEMU {shown}, the host has {facts.qemu_version}: nova-compute was not restarted since",
                nova_says(f"hypervisor_version {hypervisor.version}, that is {shown}"),
                libvirt_says(host, f"QEMU {facts.qemu_version}"),
                host=host,
                command=f"ssh {shlex.quote(host)} sudo systemctl restart nova-compute",
            )


def _updates(ground: Ground) -> Iterator[Finding]:
    for host, ssh in ground.facts.ssh.items():
        facts = ground.facts.libvirt.get(host)
        runs, installed = version(facts.libvirt_version if facts else None), version(ssh.libvirt_installed)
        if facts is None or runs is None or installed is None or runs == installed:
            continue
        yield NOT_RESTARTED.found(
            f"host {host}",
            f"libvirt {facts.libvirt_version} runs, {ssh.libvirt_installed} is installed",
            libvirt_says(host, f"libvirt {facts.libvirt_version}"),
            host_says(host, f"installed: libvirt {ssh.libvirt_installed}"),
            host=host,
            command=f"ssh {shlex.quote(host)} sudo systemctl restart libvirtd",
        )


def _same_name(one: str, other: str) -> bool:
    """Whether two names are of one host; one of them may lack the domain."""
    a, b = one.lower().rstrip("."), other.lower().rstrip(".")
    return a == b or (("." not in a or "." not in b) and a.partition(".")[0] == b.partition(".")[0])


def _qemu(hypervisor: Hypervisor) -> tuple[int, ...] | None:
    """Nova's number of QEMU (8002000) as a version."""
    number = hypervisor.version
    return (number // 1_000_000, number // 1_000 % 1_000, number % 1_000) if number else None


CHAPTER = Chapter(
    (FAILED, STALE, SKIPPED, OTHER_HOST, HYPERVISOR, NOT_RESTARTED), (_answers, _skipped, _contradictions, _updates)
)
