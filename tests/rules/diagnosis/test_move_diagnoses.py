"""Live migrations that went wrong: each fleet is ill of one, and with one fact another way it is not told."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.rules.diagnosis.cloud_facts import another_migration, held_by, last_migration, on, one, providers, service
from tests.rules.diagnosis.ill_facts import (
    NOW,
    Change,
    facts_of,
    failing,
    iso,
    libvirt,
    migrating,
    nova,
    server,
    told,
    without,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.diagnosis import moves, reserved_devices
from vgpu_console.rules.diagnosis.table import moment

CHAPTERS = (moves.CHAPTER, reserved_devices.CHAPTER)
DIAGNOSES = [d for chapter in CHAPTERS for d in chapter.diagnoses]
ENDED = ["error-while-guest-runs", "guest-on-other-host", "guest-twice", "guest-nowhere"]


@pytest.mark.parametrize(
    ("diagnosis", "kind"), [(d.id, kind) for d in DIAGNOSES for kind in d.needs], ids=lambda value: str(value)
)
def test_without_a_source_that_it_needs_nothing_is_told(diagnosis: str, kind: SourceKind) -> None:
    facts = facts_of(f"ill-{diagnosis}")
    assert diagnosis in told(facts)
    assert diagnosis not in told(without(kind)(facts))


@pytest.mark.parametrize("kind", ["nova", "libvirt"])
@pytest.mark.parametrize("diagnosis", ENDED)
def test_an_answer_from_before_a_failure_is_held_against_nothing(diagnosis: str, kind: SourceKind) -> None:
    assert diagnosis not in told(failing(kind)(facts_of(f"ill-{diagnosis}")))


def _no_guests(_: LibvirtFacts) -> Mapping[str, Any]:
    return {"domains": ()}


def _switched_off(one: LibvirtFacts) -> Mapping[str, Any]:
    return {"domains": tuple(msgspec.structs.replace(d, active=False) for d in one.domains)}


def _without_vgpus(_: LibvirtFacts) -> Mapping[str, Any]:
    nova = facts_of("well").nova
    return {"bare_domains": tuple(s.id for s in (nova.servers if nova else None) or ())}


def _unreachable(host: str) -> Change:
    """That host's libvirt has never answered."""

    def change(facts: Facts) -> Facts:
        kept = {name: one for name, one in facts.libvirt.items() if name != host}
        statuses = tuple(
            msgspec.structs.replace(s, fetched_at=None, error="no route to host") if s.key == f"libvirt:{host}" else s
            for s in facts.statuses
        )
        return msgspec.structs.replace(facts, libvirt=kept, statuses=statuses)

    return change


def _held_by_a_guest(one: LibvirtFacts) -> Mapping[str, Any]:
    domain = msgspec.structs.replace(
        facts_of("well").libvirt["gpu-03"].domains[0], uuid="another", mdevs=tuple(m.uuid for m in one.mdevs)
    )
    return {"domains": (*one.domains, domain)}


NOT_TOLD: dict[str, tuple[str, Change]] = {
    # why it is no illness: the diagnosis, and the fact that is another way
    "its guest does not run": ("error-while-guest-runs", libvirt("gpu-03", _switched_off)),
    "its guest is gone": ("error-while-guest-runs", libvirt("gpu-03", _no_guests)),
    "it is ACTIVE": ("error-while-guest-runs", server("desk-01", status="ACTIVE")),
    "something is done with it": ("error-while-guest-runs", server("desk-01", task_state="deleting")),
    "it is moved again": ("error-while-guest-runs", migrating("desk-01")),
    "Nova says the other host, too": ("guest-on-other-host", server("desk-01", host="gpu-04")),
    "it is on its way": ("guest-on-other-host", migrating("desk-01")),
    "Nova's host cannot be asked": ("guest-on-other-host", _unreachable("gpu-03")),
    "the guest elsewhere is switched off": ("guest-on-other-host", libvirt("gpu-04", _switched_off)),
    "one of the two is switched off": ("guest-twice", libvirt("gpu-04", _switched_off)),
    "the second waits for its memory": ("guest-twice", migrating("desk-01")),
    "it is switched off": ("guest-nowhere", server("desk-01", status="SHUTOFF")),
    "it was started a moment ago": ("guest-nowhere", server("desk-01", updated=iso(20.0))),
    "its guest has no vGPU": ("guest-nowhere", libvirt("gpu-03", _without_vgpus)),
    "a domain could not be read": ("guest-nowhere", libvirt("gpu-03", lambda _: {"skipped": ("one: broken",)})),
    "the fault is of this migration": ("fault-outdated", server("desk-01", fault_at=iso(200.0))),
    "the fault has no time": ("fault-outdated", server("desk-01", fault_at=None)),
    "there is no fault": ("fault-outdated", server("desk-01", fault=None)),
    "the server is well": ("fault-outdated", server("desk-01", status="ACTIVE")),
    "the migration went well": ("fault-outdated", last_migration(status="completed")),
    "something was sent a minute ago": ("migration-stuck", last_migration(updated_at=iso(60.0))),
    "it has ended": ("migration-stuck", last_migration(status="completed")),
    "it waits for another one of that host": (
        "migration-stuck",
        lambda facts: another_migration(status="running", updated_at=iso(5.0), created_at=iso(60.0))(
            last_migration(status="queued", updated_at=iso(3600.0))(facts)
        ),
    ),
    "it is prepared": ("migration-stuck", last_migration(status="preparing", updated_at=iso(300.0))),
    "it tells no time": ("migration-stuck", last_migration(created_at=None)),
    "nova-compute is up": ("migration-undriven", service("gpu-03", state="up")),
    "it is over": ("migration-undriven", last_migration(status="error")),
    "it ended a moment ago": ("server-left-migrating", last_migration(updated_at=iso(20.0))),
    "another one runs": ("server-left-migrating", another_migration(status="running")),
    "its state was set back": ("server-left-migrating", server("desk-01", status="ACTIVE", task_state=None)),
    "it failed while it ran": ("mdev-may-be-reserved", last_migration(status="error")),
    "it was long ago": ("mdev-may-be-reserved", last_migration(updated_at=iso(8 * 86400.0))),
    "nobody knows when it was": ("mdev-may-be-reserved", last_migration(updated_at=None)),
    "it had found no host": ("mdev-may-be-reserved", last_migration(destination=None)),
    "it went there later": ("mdev-may-be-reserved", another_migration(status="completed")),
    "no device is free there": ("mdev-may-be-reserved", libvirt("gpu-04", _held_by_a_guest)),
    "no device is there": ("mdev-may-be-reserved", libvirt("gpu-04", lambda _: {"mdevs": ()})),
    "Placement has given it away": ("mdev-may-be-reserved", providers(held_by("somebody"), on("gpu-04"))),
    "nova-compute there will start anew": ("mdev-may-be-reserved", service("gpu-04", state="down")),
}


@pytest.mark.parametrize("case", NOT_TOLD)
def test_with_one_fact_another_way_it_is_not_told(case: str) -> None:
    diagnosis, change = NOT_TOLD[case]
    facts = facts_of(f"ill-{diagnosis}")
    assert diagnosis in told(facts)
    assert diagnosis not in told(change(facts))


SAID: dict[str, tuple[str, ...]] = {
    "error-while-guest-runs": ("is in ERROR, and its guest runs on gpu-03", "gpu-03 → gpu-04: error"),
    "guest-on-other-host": ("Nova says gpu-03, its guest runs on gpu-04", "do not reboot it hard"),
    "guest-twice": ("runs on gpu-03 and gpu-04", "pause the one"),
    "guest-nowhere": ("ACTIVE on gpu-03", "has no domain of it", "a hard reboot"),
    "fault-outdated": ("No valid host", "it is not the reason"),
    "migration-stuck": (
        "server desk-01",
        "of project vdi",
        "gpu-03 → gpu-04, running",
        "nothing of it was sent since 20",
    ),
    "migration-undriven": ("nova-compute of gpu-03 is down", "its guest is on gpu-04 by now"),
    "server-left-migrating": ("is MIGRATING", "cancelled"),
    "mdev-may-be-reserved": ("it may be reserved", "server desk-01", "unless nova-compute was restarted"),
}


@pytest.mark.parametrize("diagnosis", SAID)
def test_the_message_has_what_is_known_and_names_who_is_hurt(diagnosis: str) -> None:
    message = one(f"ill-{diagnosis}", diagnosis).message
    for words in SAID[diagnosis]:
        assert words in message


COMMANDS = {
    "error-while-guest-runs": ["vgpu-console", "migrate", "reset"],
    "migration-stuck": ["vgpu-console", "migrate", "abort"],
    "migration-undriven": ["ssh", "gpu-03", "sudo", "systemctl", "start", "nova-compute"],
    "mdev-may-be-reserved": ["ssh", "gpu-04", "sudo", "systemctl", "restart", "nova-compute"],
}


@pytest.mark.parametrize("diagnosis", COMMANDS)
def test_it_is_mended_by_what_the_console_has_for_it(diagnosis: str) -> None:
    words = shlex.split(one(f"ill-{diagnosis}", diagnosis).command)
    assert words[: len(COMMANDS[diagnosis])] == COMMANDS[diagnosis]


@pytest.mark.parametrize(
    ("status", "since_s", "words"),
    [
        ("accepted", 900.0, "it has been accepted since"),
        ("queued", 900.0, "it has been queued since"),
        ("preparing", 7200.0, "it has been preparing since"),
        ("running (post-copy)", 240.0, "nothing of it was sent since"),
    ],
)
def test_each_phase_has_its_patience(status: str, since_s: float, words: str) -> None:
    change = last_migration(status=status, updated_at=iso(since_s), created_at=iso(since_s))
    finding = one("ill-migration-stuck", "migration-stuck", change)
    assert f"{words} {moment(NOW - since_s)}" in finding.message
    assert ("abort" in finding.command) is (status != "accepted")  # Nova aborts from queued on


def test_one_that_is_written_and_goes_on_for_hours_is_told_with_what_is_left() -> None:
    change = last_migration(
        created_at=iso(3 * 3600.0),
        updated_at=iso(2.0),
        memory_total_bytes=16 << 30,
        memory_remaining_bytes=4 << 30,
    )
    message = one("ill-migration-stuck", "migration-stuck", change).message
    assert f"it has been going on since {moment(NOW - 3 * 3600.0)}; 4096 of 16384 MiB are left" in message


def test_how_long_nothing_was_sent_is_counted_to_when_nova_was_read() -> None:
    def read_long_ago(facts: Facts) -> Facts:
        statuses = tuple(
            msgspec.structs.replace(s, fetched_at=NOW - 200.0) if s.kind == "nova" else s for s in facts.statuses
        )
        return msgspec.structs.replace(facts, statuses=statuses)

    assert "migration-stuck" not in told(read_long_ago(facts_of("ill-migration-stuck")))


def test_before_nova_33_cancelled_may_be_of_one_that_ran() -> None:
    finding = one("ill-mdev-may-be-reserved", "mdev-may-be-reserved", nova(max_microversion="2.100"))
    assert finding.severity == "info"
    assert "this Nova says cancelled of one that ran, too" in finding.message
    assert one("ill-mdev-may-be-reserved", "mdev-may-be-reserved").severity == "warn"


def test_a_server_in_error_without_any_migration_is_told_without_one() -> None:
    finding = one("well", "error-while-guest-runs", server("desk-02", status="ERROR", vm_state="error"))
    assert finding.message == "is in ERROR, and its guest runs on gpu-03"


def test_a_share_that_may_be_the_servers_own_is_not_to_be_freed() -> None:
    leak = one("ill-server-left-migrating", "usage-leaked")
    assert leak.command.startswith("openstack resource provider allocation show ")
    assert "of which it holds nothing itself" in leak.message
