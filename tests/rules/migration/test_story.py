"""What became of a migration: every end that a fully real cloud had, from the words it had for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from vgpu_console.model.migration_end import End, GuestLook
from vgpu_console.model.migration_job import CompletedJob
from vgpu_console.model.migration_trace import ActionEvent, Holding, MigrationTrace, ServerAction
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.rules.migration.clues import Clues, Motion
from vgpu_console.rules.migration.story import story
from vgpu_console.rules.migration.verify import verify

A, B = "gpu-a", "gpu-b"
ON_A, ON_B = (Holding("rp-a", {"VGPU": 1}),), (Holding("rp-b", {"VGPU": 1}),)
BEGAN = "2026-08-04T12:00:00.000000"
ENDED = "2026-08-04T12:00:20.000000"
SUBMITTED = ("compute_live_migration", "compute_pre_live_migration")
ROLLBACK = "compute_rollback_live_migration_at_destination"


def look(host: str, state: str | None, **more: Any) -> GuestLook:
    return GuestLook(host=host, state=state, **more)  # type: ignore[arg-type]


def action(*names: str, errors: dict[str, str] | None = None, name: str = "live-migration", at: str = BEGAN) -> Any:
    events = tuple(ActionEvent(name=n, result="Success", host=A) for n in names)
    failed = tuple(ActionEvent(name=n, result="Error", host=B, details=d) for n, d in (errors or {}).items())
    return ServerAction(request_id=f"req-{name}", action=name, started_at=at, events=events + failed)


def clues(
    *statuses: str,
    server: str = "ACTIVE",
    host: str = A,
    power: int = 1,
    here: str | None = "running",
    there: str | None = "absent",
    to: str | None = B,
    holds: Any = ON_A,
    left: Any = (),
    events: Any = None,
    also: tuple[Any, ...] = (),
    newer: bool = False,
    fault: tuple[str, str] | None = None,
    **more: Any,
) -> Clues:
    row = MigrationFacts(
        id=3, uuid="m-3", server_id="s-1", source=A, destination=to, status=statuses[-1],
        migration_type="live-migration", created_at=BEGAN, updated_at=ENDED,
    )  # fmt: skip
    rows = (msgspec.structs.replace(row, id=4, uuid="m-4", status="completed"), row) if newer else (row,)
    whole = events if events is not None else action(*SUBMITTED)
    return Clues(
        trace=MigrationTrace(
            server=Server(
                id="s-1", name="vm", project_id="p", host=host, status=server, power_state=power,
                fault=fault[0] if fault else None, fault_at=fault[1] if fault else None,
            ),
            migrations=rows,
            action=whole or None,
            actions=(*also, whole) if whole else (None if events is False else also),
            server_holds=holds,
            migration_holds=left,
        ),
        migration="m-3",
        statuses=statuses,
        guests={A: look(A, here), B: look(B, there, idle={})},
        provider_hosts={"rp-a": A, "rp-b": B},
        **more,
    )  # fmt: skip


CANCEL = action(name="live_migration_cancel", at="2026-08-04T12:00:10")
FORCED = action(name="live_migration_force_complete", at="2026-08-04T12:00:10")
ARRIVED: dict[str, Any] = {"host": B, "here": "absent", "there": "running", "holds": ON_B}
MISFIT = {
    "compute_check_can_live_migrate_destination": "Source mdev types ['nvidia-472'] are not supported by this compute",
    "conductor_live_migrate_instance": "No valid host was found.",
}

ENDS: list[tuple[str, Clues, str, str, tuple[str, ...]]] = [
    # what happened, what was seen, the end, its severity, its mends
    ("it arrived", clues("running", "completed", **ARRIVED), "completed", "ok", ()),
    (
        "it arrived, with a leak",
        clues("running", "completed", **ARRIVED, left=ON_A),
        "completed",
        "warn",
        ("migrate.heal",),
    ),
    ("it was forced", clues("running", "completed", **ARRIVED, also=(FORCED,)), "forced", "ok", ()),
    (
        "aborted, Nova 34",
        clues("running", "cancelled", "error", server="ERROR", events=action(*SUBMITTED, ROLLBACK)),
        "aborted",
        "warn",
        ("migrate.reset",),
    ),
    (
        "aborted, between both words",
        clues("running", "cancelled", events=action(*SUBMITTED, ROLLBACK)),
        "aborted",
        "note",
        (),
    ),
    (
        "aborted, only its last word was seen",
        clues("error", server="ERROR", also=(CANCEL,), events=action(*SUBMITTED, ROLLBACK)),
        "aborted",
        "warn",
        ("migrate.reset",),
    ),
    (
        "aborted in the queue",
        clues("queued", "cancelled", events=action("compute_live_migration")),
        "aborted-queued",
        "warn",
        ("",),
    ),
    (
        "the destination's QEMU was killed",
        clues("running", "failed", "error", server="ERROR", memory_moved=True),
        "destination-died",
        "warn",
        ("migrate.reset", ""),
    ),
    (
        "QEMU refused",
        clues("running", "failed", "error", server="ERROR", memory_moved=False),
        "refused-by-qemu",
        "warn",
        ("migrate.reset", ""),
    ),
    ("it failed unseen", clues("error", server="ERROR"), "failed", "warn", ("migrate.reset", "")),
    ("it failed on Nova 31", clues("running", "failed"), "failed", "note", ("",)),
    (
        "another type at the destination",
        clues("accepted", "error", to=None, events=action(errors=MISFIT)),
        "refused",
        "note",
        (),
    ),
    (
        "nova-compute was killed and came back",
        clues("running", "error", here="absent", there="running", power=0, holds=ON_B, left=ON_A),
        "split-brain",
        "fail",
        ("", "migrate.heal", ""),
    ),
    (
        "tidying up failed",
        clues("running", "error", **ARRIVED, left=ON_A),
        "moved-not-completed",
        "warn",
        ("migrate.heal",),
    ),
    ("both run", clues("running", "error", here="running", there="running"), "twice", "fail", ("",)),
    ("neither runs", clues("running", "error", here="shut off", there="absent"), "nowhere", "fail", ("",)),
]


@pytest.mark.parametrize(("seen", "kind", "severity", "mends"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS])
def test_every_end_is_told_as_what_it_is(seen: Clues, kind: str, severity: str, mends: tuple[str, ...]) -> None:
    end = story(seen)
    assert (end.kind, end.severity, tuple(m.action for m in end.mends)) == (kind, severity, mends)
    assert end.over
    assert all(m.action or m.command or kind == "split-brain" for m in end.mends)


@pytest.mark.parametrize("seen", [e[1] for e in ENDS], ids=[e[0] for e in ENDS])
def test_what_could_not_be_looked_at_is_said_and_never_guessed(seen: Clues) -> None:
    """Without libvirt and Placement no end may claim to know where the guest is or what is held."""
    trace = msgspec.structs.replace(seen.trace, server_holds=None, migration_holds=None)
    end = story(msgspec.structs.replace(seen, trace=trace, guests={}))
    assert end.kind not in ("twice", "nowhere", "split-brain")
    assert "migrate.heal" not in [m.action for m in end.mends]
    said = " ".join(end.unknown)
    assert f"whether the guest is on {A} (source) could not be looked at" in said
    assert "what the server holds in Placement was not read" in said
    assert f"the guest runs on {A}" not in end.explanation
    for mend in end.mends:
        if mend.action == "migrate.reset":
            assert "once you have seen" in mend.words


def only(kind: str) -> End:
    return story(next(e[1] for e in ENDS if e[2] == kind))


def test_the_refusal_has_the_events_reason() -> None:
    end = only("refused")
    assert end.explanation == f"{MISFIT['compute_check_can_live_migrate_destination']}. The guest was not touched"


def test_a_host_that_was_passed_over_is_not_the_reason_of_a_later_failure() -> None:
    """Its check failed on one host, the next was taken, and there the migration failed."""
    passed = {"compute_check_can_live_migrate_destination": "no room"}
    end = story(clues("running", "failed", "error", events=action(*SUBMITTED, errors=passed), memory_moved=True))
    assert end.kind == "destination-died"
    assert "no room" not in end.explanation


def test_a_failed_preparation_tells_its_details() -> None:
    end = story(
        clues("preparing", "error", events=action(errors={"compute_pre_live_migration": "Port binding failed"}))
    )
    assert end.kind == "failed"
    assert end.explanation.startswith("Port binding failed")


def test_post_copy_is_named_where_nova_conf_has_it() -> None:
    seen = clues("running", "failed", "error", memory_moved=False, post_copy={A: True, B: False})
    assert "live_migration_permit_post_copy is on at gpu-a" in story(seen).explanation
    unread = story(clues("running", "failed", "error", memory_moved=False, post_copy={A: False, B: None}))
    assert f"whether post-copy is permitted on {B}" in unread.unknown


@pytest.mark.parametrize(
    ("written", "evidence", "unknown"),
    [
        ("2026-08-04T11:00:00Z", "before this migration, and not its reason", False),
        ("2026-08-04T12:00:10Z", "Nova's fault, written since: No valid host", False),
        (None, "", True),
    ],
)
def test_a_fault_is_told_as_whose_it_is(written: Any, evidence: str, unknown: bool) -> None:
    end = story(clues("running", "failed", "error", server="ERROR", fault=("No valid host", written)))
    assert "No valid host" not in end.explanation
    lines = [e.text for e in end.evidence if "No valid host" in e.text]
    assert [evidence in line for line in lines] == ([] if unknown else [True])
    assert any("No valid host" in line for line in end.unknown) is unknown


def test_nobody_watched_and_post_copy_is_permitted() -> None:
    """QEMU moves no mediated device with it, whoever watched; a guest without one may go."""
    with_one = {A: look(A, "running", mdevs={"u-1": "t"}), B: look(B, "absent")}
    seen = clues("running", "failed", "error", memory_moved=None, post_copy={A: False, B: True})
    end = story(msgspec.structs.replace(seen, guests=with_one))
    assert end.kind == "refused-by-qemu"
    assert "live_migration_permit_post_copy is on at gpu-b" in end.explanation
    assert "no memory was sent" not in [e.text for e in end.evidence]
    plain_guest = {A: look(A, "running"), B: look(B, "absent")}
    assert story(msgspec.structs.replace(seen, guests=plain_guest)).kind == "failed"
    unread = msgspec.structs.replace(seen, guests=with_one, post_copy={A: False})
    assert "whether post-copy is permitted on gpu-b" in story(unread).unknown


def test_no_reset_is_offered_where_it_would_be_a_lie() -> None:
    stopped = story(clues("running", "error", server="ERROR", here="shut off", there=None))
    assert [m.action for m in stopped.mends if m.action == "migrate.reset"] == []
    assert any("reboot --hard" in m.command for m in stopped.mends)
    assert stopped.severity == "fail"
    split = story(clues("error", server="ERROR", here="absent", there="running", power=0))
    assert (split.kind, [m for m in split.mends if m.action == "migrate.reset"]) == ("split-brain", [])
    assert any("do not reboot it hard" in line for line in split.avoid)


def test_an_older_migration_says_nothing_of_the_server_now() -> None:
    """It was moved again since: where it is and what state it has belong to the later one."""
    end = story(clues("running", "failed", "error", server="ERROR", host=B, here="absent", there="running", newer=True))
    assert (end.kind, [m.action for m in end.mends]) == ("failed", [""])
    assert verify(clues("running", "failed", newer=True), end, {}, 0.0) == ()


def test_a_stopped_server_is_not_lost() -> None:
    assert story(clues("completed", server="SHUTOFF", host=B, here="absent", there="shut off")).kind == "completed"


GOING: list[tuple[str, Clues, str]] = [
    ("it runs", clues("running"), "under-way"),
    ("it waits", clues("queued", there=None), "under-way"),
    ("the server is there first", clues("running", **ARRIVED), "post"),
    ("nobody drives it", clues("running", computes={A: "down"}), "source-compute-down"),
    ("nobody drives it, and it arrived", clues("running", here="absent", there="running", computes={A: "down"}),
     "source-compute-down"),
    ("nothing is sent", clues("running", motion=Motion(still_s=61.0)), "stuck"),
    ("nothing is sent for a moment", clues("running", motion=Motion(still_s=20.0)), "under-way"),
    ("libvirt has no job", clues("running", motion=Motion(no_job_s=31.0)), "stuck"),
    ("it climbs below the ladder's end",
     clues("running", motion=Motion(converges=False, iteration=30, ladder_end_s=900.0, running_s=100.0)), "under-way"),
    ("it climbs at the ladder's end",
     clues("running", motion=Motion(converges=False, iteration=30, ladder_end_s=90.0, running_s=100.0)), "stuck"),
    ("it climbs and the ladder is not known", clues("running", motion=Motion(converges=False, iteration=30)), "stuck"),
    ("nothing is known of its motion", clues("running", motion=Motion()), "under-way"),
    ("the guest is on neither host", clues("running", here="shut off"), "nowhere"),
    ("the guest is on its way", clues("running", here="absent", there="paused"), "under-way"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "kind"), [g[1:] for g in GOING], ids=[g[0] for g in GOING])
def test_one_that_goes_on_is_no_end(seen: Clues, kind: str) -> None:
    end = story(seen)
    assert (end.kind, end.over) == (kind, False)


def test_only_one_that_could_end_by_a_pause_is_offered_to_be_forced() -> None:
    def mends(motion: Motion) -> list[str]:
        return [m.action for m in story(clues("running", motion=motion)).mends]

    assert mends(Motion(converges=False, iteration=30)) == ["migrate.abort", "migrate.force"]
    assert mends(Motion(still_s=100.0)) == ["migrate.abort"]


def test_nothing_read_is_nothing_known() -> None:
    assert story(Clues(trace=MigrationTrace(), migration="m-3")).unknown[0] == "Nova's migrations were not read"
    assert story(Clues(trace=MigrationTrace(migrations=()), migration="m-3")).kind == "unknown"


def test_a_deleted_server_is_history() -> None:
    trace = msgspec.structs.replace(clues("error").trace, server=None, server_gone=True, migration_holds=ON_A)
    end = story(Clues(trace=trace, migration="m-3", provider_hosts={"rp-a": A}))
    assert (end.kind, [m.action for m in end.mends]) == ("server-gone", ["migrate.heal"])


def test_the_measured_downtime_is_evidence() -> None:
    measured = CompletedJob(downtime_ms=1427, source="JOB_COMPLETED event of the source")
    end = story(clues("running", "completed", **ARRIVED, measured=measured))
    assert "the guest stood still for 1427 ms (JOB_COMPLETED event of the source)" in [e.text for e in end.evidence]


def verdicts(seen: Clues, held: dict[str, str] | None) -> dict[str, str]:
    return {c.id.removeprefix("verify."): c.status for c in verify(seen, story(seen), held, 5.0)}


def test_verification_of_an_arrival() -> None:
    guests = {A: look(A, "absent", idle={"u-1": "t"}), B: look(B, "running", mdevs={"u-9": "t"})}
    seen = msgspec.structs.replace(clues("completed", **ARRIVED), guests=guests)
    assert verdicts(seen, {"u-1": "t"}) == dict.fromkeys(
        ["server", "guest", "allocations", "left", "devices", "source-device"], "pass"
    )
    other = msgspec.structs.replace(seen, guests=guests | {B: look(B, "running", mdevs={"u-9": "other"})})
    assert verdicts(other, {"u-1": "t"})["devices"] == "fail"
    held = msgspec.structs.replace(seen, guests=guests | {A: look(A, "paused", mdevs={"u-1": "t"}, idle={})})
    assert verdicts(held, {"u-1": "t"})["source-device"] == "fail"
    astray = clues("completed", **(ARRIVED | {"holds": ON_A}), left=ON_A)
    assert (verdicts(astray, {})["allocations"], verdicts(astray, {})["left"]) == ("fail", "fail")


def test_verification_of_one_that_was_first_seen_after_its_move() -> None:
    """What it holds now is not what it had: that would always be as before."""
    guests = {A: look(A, "absent", idle={"u-1": "t"}), B: look(B, "running", mdevs={"u-9": "t"})}
    seen = msgspec.structs.replace(clues("completed", **ARRIVED), guests=guests)
    found = verdicts(seen, None)
    assert (found["devices"], found["guest"]) == ("unknown", "pass")
    assert "source-device" not in found
    (said,) = [c.evidence for c in verify(seen, story(seen), None, 5.0) if c.id == "verify.devices"]
    assert said == f"it holds t on {B}; what it had on {A} was not seen"


def test_verification_says_what_it_could_not_see() -> None:
    seen = msgspec.structs.replace(clues("completed", **ARRIVED), guests={})
    found = verdicts(seen, {"u-1": "t"})
    assert (found["guest"], found["devices"], found["source-device"]) == ("unknown", "unknown", "unknown")
    strange = clues("completed", **(ARRIVED | {"holds": (Holding("rp-x", {"VGPU": 1}),)}))
    assert verdicts(strange, {})["allocations"] == "unknown"
