"""Pre-checks of how long a guest stands still and whether the move can end: one changed fact flips one check."""

from __future__ import annotations

import msgspec
import pytest

from tests.rules.migration.two_hosts import (
    HERE,
    NOW,
    SERVER,
    SETTINGS,
    THERE,
    Change,
    all_of,
    candidates,
    difference,
    evidence,
    facts,
    joined,
    of_conf,
    of_server,
    of_ssh,
)
from vgpu_console.model.facts import Facts
from vgpu_console.rules.migration.candidates import DowntimeSettings, destinations
from vgpu_console.rules.migration.downtime import PastMove, Rate
from vgpu_console.rules.migration.ground import Ground

UNLIMITED = msgspec.structs.replace(SETTINGS, max_downtime_ms=None)


def ladder(downtime: str, steps: str = "3", delay: str = "3") -> Change:
    """Another ladder in the source's nova.conf."""
    return of_conf(
        HERE,
        libvirt__live_migration_downtime=downtime,
        libvirt__live_migration_downtime_steps=steps,
        libvirt__live_migration_downtime_delay=delay,
    )


FLIPS: list[tuple[str, Change, dict[str, str | None]]] = [
    ("post-copy on the source", of_conf(HERE, libvirt__live_migration_permit_post_copy="true"), {"post-copy": "fail"}),
    ("on the destination", of_conf(THERE, libvirt__live_migration_permit_post_copy="Yes"), {"post-copy": "fail"}),
    ("post-copy off in words", of_conf(THERE, libvirt__live_migration_permit_post_copy="false"), {}),
    ("Nova's own ladder", ladder("500", "10", "75"), {"downtime-ladder": "warn"}),
    ("a ladder that comes late", ladder("60000", "10", "75"), {"downtime-ladder": "warn"}),
    ("a ladder that ends too low", ladder("30000"), {"downtime-ladder": "warn"}),
    ("a higher ladder", ladder("900000"), {}),
    ("the ladder of the destination does not count", of_conf(THERE, libvirt__live_migration_downtime="500"), {}),
    ("a time-out", of_conf(HERE, libvirt__live_migration_completion_timeout="800"), {"completion-timeout": "warn"}),
    ("its default", of_conf(HERE, libvirt__live_migration_completion_timeout=None), {"completion-timeout": "warn"}),
    (
        "nova.conf of the source not readable",
        of_ssh(HERE, nova_conf=None),
        {"post-copy": "unknown", "downtime-ladder": "unknown", "completion-timeout": "unknown"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "flipped"), [row[1:] for row in FLIPS], ids=[row[0] for row in FLIPS])
def test_one_changed_option_flips_one_check(change: Change, flipped: dict[str, str | None]) -> None:
    assert difference(change) == flipped


def unchanged(known: Facts) -> Facts:
    return known


LIMITS: list[tuple[str, float | None, dict[str, str | None]]] = [
    ("a limit below the prediction", 30_000.0, {"downtime-limit": "fail"}),
    ("a limit above it", 41_000.0, {}),
    ("no limit: then it is the operator's to accept", None, {"downtime-limit": None, "dirty-tracking": "warn"}),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "flipped"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_the_prediction_is_held_against_the_limit(limit: float | None, flipped: dict[str, str | None]) -> None:
    assert difference(unchanged, msgspec.structs.replace(SETTINGS, max_downtime_ms=limit)) == flipped


def test_without_a_prediction_the_limit_is_unknown() -> None:
    found = difference(of_server(ram_mib=None), answer=candidates(facts()))
    assert found == {"downtime-limit": "unknown", "downtime-ladder": "unknown", "dirty-tracking": "warn"}


def test_the_time_out_says_when_it_comes_and_what_it_does() -> None:
    change = of_conf(HERE, libvirt__live_migration_completion_timeout="800")
    assert evidence(change, "completion-timeout") == "800 s a GiB on gpu-01: after 3.6 h Nova aborts the move"
    pausing = all_of(change, of_conf(HERE, libvirt__live_migration_timeout_action="force_complete"))
    assert evidence(pausing, "completion-timeout").endswith("Nova pauses the guest until the end of the move")


def test_the_ladder_is_told_with_what_the_guests_memory_makes_of_it() -> None:
    late = evidence(ladder("60000", "10", "75"), "downtime-ladder")
    assert (
        late == "60000 ms / 10 / 75 on gpu-01: a pause of 40.7 s is allowed after 2.3 h only: until then it may go on"
    )
    low = evidence(ladder("500", "10", "75"), "downtime-ladder")
    assert low == "500 ms / 10 / 75 on gpu-01: allows 0.5 s at most, 40.7 s may be needed: it may never switch over"


def test_a_small_guest_counts_as_two_gib() -> None:
    small = all_of(of_server(ram_mib=512), ladder("60000", "10", "75"))
    found = evidence(small, "downtime-ladder", settings=msgspec.structs.replace(SETTINGS, switch_over_ms=(0.0, 0.0)))
    assert found.startswith("60000 ms / 10 / 75 on gpu-01: a pause of 22 s is allowed after 7 min only")


def test_an_architecture_that_no_source_tells_of_is_unknown_without_a_limit() -> None:
    def ada(known: Facts) -> Facts:
        def on(host: str) -> Change:
            def change(told: Facts) -> Facts:
                devices = tuple(
                    msgspec.structs.replace(
                        d,
                        product_id="26b9",
                        product="AD102GL [L40S]",
                        types=tuple(msgspec.structs.replace(t, name="NVIDIA L40S-20Q") for t in d.types),
                    )
                    for d in told.libvirt[host].devices
                )
                types = tuple(msgspec.structs.replace(t, name="NVIDIA L40S-20Q") for t in told.ssh[host].types)
                pci = tuple(msgspec.structs.replace(p, product_id="26b9") for p in told.ssh[host].pci)
                libvirt = {**told.libvirt, host: msgspec.structs.replace(told.libvirt[host], devices=devices)}
                return of_ssh(host, types=types, pci=pci)(msgspec.structs.replace(told, libvirt=libvirt))

            return change

        return all_of(on(HERE), on(THERE))(known)

    assert difference(ada) == {}
    assert difference(ada, UNLIMITED) == {"downtime-limit": None, "dirty-tracking": "unknown"}


def test_past_moves_of_the_type_change_what_the_limit_says() -> None:
    past = tuple(
        PastMove(
            type_name="GRID A100-20C",
            source=HERE,
            destination=THERE,
            ram_mib=16384,
            framebuffer_mib=20480,
            downtime_ms=ms,
        )
        for ms in (900.0, 1000.0, 1200.0)
    )
    known = facts()
    strict = DowntimeSettings(rate=Rate(low=1e9, high=1e9, origin="configured"), max_downtime_ms=5_000.0)
    ground = Ground(joined(known), known, NOW)
    (model,) = destinations(ground, SERVER, candidates=candidates(known), settings=strict)
    (history,) = destinations(ground, SERVER, candidates=candidates(known), settings=strict, past=past)
    assert (model.verdict, history.verdict) == ("fail", "pass")
    assert history.predicted.from_history == 3
