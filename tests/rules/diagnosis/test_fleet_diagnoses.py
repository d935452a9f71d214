"""Diagnoses of groups of hosts, of live migration, of the sources and of limits: what tells them, and what does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.diagnosis.ill_facts import NOW, facts_of, findings, told, without
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.diagnosis import hosts, live_migration, pairs, quota, sources
from vgpu_console.rules.diagnosis.telling import Teller, concerns, kinds

CHAPTERS = (hosts.CHAPTER, live_migration.CHAPTER, pairs.CHAPTER, sources.CHAPTER, quota.CHAPTER)
OURS = {d.id for chapter in CHAPTERS for d in chapter.diagnoses}
LADDER = ("downtime", "downtime_steps", "downtime_delay")


def well() -> Facts:
    """A fleet in which nothing is wrong."""
    return facts_of("well")


def ssh(host: str, **changes: Any) -> Facts:
    """The well fleet with that host's shell saying something else."""
    facts = well()
    return msgspec.structs.replace(facts, ssh={**facts.ssh, host: msgspec.structs.replace(facts.ssh[host], **changes)})


def conf(host: str, **options: str) -> Facts:
    """The well fleet with other options of [libvirt] live_migration_… in that host's nova.conf."""
    own: SshFacts = well().ssh[host]
    return ssh(
        host, nova_conf={**(own.nova_conf or {}), **{f"libvirt.live_migration_{k}": v for k, v in options.items()}}
    )


def libvirt(host: str, **changes: Any) -> Facts:
    """The well fleet with that host's libvirt saying something else."""
    facts = well()
    own: LibvirtFacts = facts.libvirt[host]
    return msgspec.structs.replace(facts, libvirt={**facts.libvirt, host: msgspec.structs.replace(own, **changes)})


def joined(facts: Facts, now: float = NOW) -> Snapshot:
    """The snapshot of these facts."""
    return Joiner(load_catalogue()).join(facts, now)


def ours(facts: Facts) -> set[str]:
    """The ids of the findings of these modules."""
    return told(facts) & OURS


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (lambda: ssh("gpu-04", kernel="5.17.9-generic"), {"kernel-too-old"}),
        (lambda: ssh("gpu-04", kernel="5.18.0-generic"), set()),
        (lambda: ssh("gpu-04", kernel=None), set()),
        (lambda: libvirt("gpu-04", libvirt_version="8.5.0"), {"libvirt-too-old", "update-not-restarted"}),
        (lambda: libvirt("gpu-04", libvirt_version=None), set()),
        (lambda: libvirt("gpu-04", qemu_version="8.0.5"), {"qemu-too-old", "hypervisor-version-contradicts"}),
        (lambda: libvirt("gpu-05", qemu_version="8.2.1"), {"qemu-too-old", "hypervisor-version-contradicts"}),
        (lambda: conf("gpu-01", permit_post_copy="True"), {"post-copy-permitted"}),
        (lambda: conf("gpu-01", permit_post_copy="false"), set()),
        (lambda: conf("gpu-01", completion_timeout="800"), {"completion-timeout"}),
        (lambda: conf("gpu-01", **dict(zip(LADDER, ("500", "10", "75"), strict=True))), {"downtime-ladder"}),
        (lambda: conf("gpu-01", **dict(zip(LADDER, ("300000", "5", "5"), strict=True))), set()),
        (lambda: conf("gpu-01", **dict(zip(LADDER, ("60000", "10", "75"), strict=True))), {"downtime-ladder"}),
        (lambda: ssh("gpu-01", nova_conf=None), set()),
        (lambda: ssh("gpu-02", nvidia_driver="550.54.16"), {"driver-differs"}),
        (lambda: ssh("gpu-05", nvidia_driver="550.54.16"), set()),  # nobody else has its type
        (lambda: ssh("gpu-02", nvidia_driver=None), set()),
        (lambda: ssh("gpu-02", clock_skew_s=1.2, clock_error_s=0.5), set()),  # it may be less than a second
        (lambda: ssh("gpu-02", clock_skew_s=3.0, clock_error_s=0.5), {"clock-differs"}),
        (lambda: ssh("gpu-02", clock_skew_s=-3.0, clock_error_s=0.1), {"clock-differs"}),
        (lambda: libvirt("gpu-02", hostname="gpu-02.example.net"), set()),
        (lambda: libvirt("gpu-02", hostname="gpu-20"), {"host-name-contradicts"}),
        (lambda: libvirt("gpu-02", skipped=("pci_0000_41_04_3: no XML",)), {"devices-unreadable"}),
        (lambda: ssh("gpu-02", libvirt_installed="10.5.0"), {"update-not-restarted"}),
        (lambda: ssh("gpu-02", libvirt_installed=None), set()),
    ],
)
def test_one_fact_makes_or_unmakes_it(facts: Any, expected: set[str]) -> None:
    assert ours(facts()) == expected


def test_drivers_may_differ_between_systems_that_nvidia_allows_it_for() -> None:
    def system(facts: Facts, version: str) -> Facts:
        own = {h: msgspec.structs.replace(s, os_id="rhel", os_version=version) for h, s in facts.ssh.items()}
        return msgspec.structs.replace(facts, ssh=own)

    differing = ssh("gpu-02", nvidia_driver="550.54.16")
    assert "driver-differs" in ours(system(differing, "9.4"))
    assert "driver-differs" not in ours(system(differing, "9.6"))


def test_the_odd_host_of_a_group_is_named_with_the_others_as_evidence() -> None:
    finding = next(f for f in findings(facts_of("ill-driver-differs")) if f.id == "driver-differs")

    assert finding.objects[:2] == ("host gpu-02", "host gpu-01")
    assert [(e.source, e.host) for e in finding.evidence] == [("ssh", "gpu-02"), ("ssh", "gpu-01")]


def test_a_source_that_was_not_read_for_long_is_stale_and_one_that_failed_is_not() -> None:
    later = joined(well(), NOW + 3600.0)
    assert {"source-stale"} == {f.id for f in later.findings if f.id.startswith("source-")}

    failed = joined(without("ssh")(well()), NOW)
    assert {f.object for f in failed.findings if f.id == "source-failed"} == {f"host gpu-0{n}" for n in range(1, 6)}


@pytest.mark.parametrize("kind", ["nova", "placement", "keystone", "libvirt", "ssh"])
def test_without_a_source_nothing_is_invented_and_what_needs_it_is_told_as_open(kind: Any) -> None:
    snapshot = joined(without(kind)(well()))

    assert {f.id for f in snapshot.findings} <= {"source-failed"}
    open_ = {one for u in snapshot.unlooked if u.source == kind for one in u.ids}
    assert {d.id for chapter in CHAPTERS for d in chapter.diagnoses if kind in d.needs} <= open_


@pytest.mark.parametrize(
    ("facts", "source", "leaves_open"),
    [
        (lambda: ssh("gpu-01", nova_conf=None), "ssh", "post-copy-permitted"),
        (lambda: ssh("gpu-01", nvidia_gpus=()), "ssh", "ecc-differs"),
        (lambda: libvirt("gpu-01", defined_visible=False), "libvirt", "mdev-not-active"),
    ],
)
def test_what_an_answer_leaves_out_is_told_with_the_access_that_would_show_it(
    facts: Any, source: str, leaves_open: str
) -> None:
    unlooked = joined(facts()).unlooked

    assert [(u.source, u.hosts) for u in unlooked] == [(source, ("gpu-01",))]
    assert leaves_open in unlooked[0].ids
    assert unlooked[0].access


def test_a_credential_of_one_project_leaves_nova_open() -> None:
    facts = well()
    assert facts.nova is not None
    narrow = msgspec.structs.replace(facts, nova=msgspec.structs.replace(facts.nova, all_projects=False))
    told_open = [u for u in joined(narrow).unlooked if u.source == "nova"]

    assert "own project only" in told_open[0].reason
    assert "admin" in told_open[0].access


def test_what_the_audit_of_limits_could_not_see_is_no_finding_but_left_open() -> None:
    facts = well()
    assert facts.keystone is not None
    blind = msgspec.structs.replace(facts, keystone=msgspec.structs.replace(facts.keystone, enforcement_model=None))
    snapshot = joined(blind)

    assert snapshot.findings == ()
    assert [u.ids for u in snapshot.unlooked] == [("limits-model-not-flat",)]


def test_every_finding_about_limits_has_its_row() -> None:
    for row in quota.CHAPTER.diagnoses:
        snapshot = joined(facts_of(f"ill-{row.id}"))
        audited = {f.id for f in snapshot.quota_findings if f.severity != "info"}
        assert audited == {row.id}
        assert all(f.why and f.evidence for f in snapshot.findings if f.id == row.id)


def test_a_finding_is_as_old_as_the_oldest_of_its_sides() -> None:
    snapshot = joined(facts_of("ill-project-over-limit"))
    finding = next(f for f in snapshot.findings if f.id == "project-over-limit")
    older = tuple(
        msgspec.structs.replace(s, fetched_at=NOW - {"keystone": 30.0, "placement": 4.0}.get(s.kind, 1.0))
        for s in snapshot.sources
    )
    record = Teller(msgspec.structs.replace(snapshot, sources=older)).record(finding)

    assert record.source == ("keystone", "placement")
    assert record.age_s == 30.0
    assert [e.age_s for e in record.evidence] == [30.0, 4.0]


def test_a_finding_without_evidence_rests_on_what_its_diagnosis_needs() -> None:
    bare = Finding(id="vfs-off", severity="fail", object="gpu gpu-01 0000:41:00.0", message="off", host="gpu-01")
    assert kinds(bare) == ("libvirt",)
    assert concerns(bare, "gpu-01")
    assert not concerns(bare, "gpu-0")
