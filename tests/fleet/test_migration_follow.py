"""Following migrations on the embedded cloud: phases and figures, every end as what it is, faults of the line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.follow_scene import DESTINATION, SOURCE, FollowScene
from vgpu_console.model.migration_job import CompletedJob, NotMeasured
from vgpu_console.model.migration_timeline import Timeline


@pytest.fixture
def scene() -> Iterator[FollowScene]:
    made = FollowScene()
    yield made
    made.close()


def states(timeline: Timeline) -> dict[str, str]:
    return {p.name: p.state for p in timeline.phases}


def checks(timeline: Timeline) -> dict[str, str]:
    return {c.id.removeprefix("verify."): c.status for c in timeline.verified}


def test_from_the_request_to_the_verified_end(scene: FollowScene) -> None:
    followers = scene.followers()
    followers.follow(scene.subject(after=0, destination=DESTINATION, predicted_low_ms=900.0, run="r1"))
    waiting = scene.until(followers, lambda t: t.voices[0].answered_at is not None)
    assert (waiting.migration, waiting.story, waiting.now and waiting.now.name) == ("", None, "accepted")
    migration = scene.start()
    found = scene.until(followers, lambda t: t.status == "queued")
    assert (found.migration, found.source, found.destination) == (migration.uuid, SOURCE, DESTINATION)
    running = scene.until(followers, lambda t: t.rate and len(t.rates) >= 2)
    assert states(running)["memory"] == "now"
    assert (running.memory_from, running.per_cent is not None, running.end) == ("libvirt", True, None)
    assert running.eta_s is not None
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.end.severity, done.end.mends) == ("completed", "ok", ())
    assert isinstance(done.measured, CompletedJob)
    assert (done.downtime_ms, done.measured.source) == (migration.downtime_ms, "JOB_COMPLETED event of the source")
    assert states(done) == dict.fromkeys(
        ["accepted", "queued", "preparing", "memory", "device", "post", "verified"], "done"
    )
    assert checks(done) == dict.fromkeys(["server", "guest", "allocations", "left", "devices", "source-device"], "pass")
    device = next(p for p in done.phases if p.name == "device")
    assert device.duration_s == pytest.approx(migration.downtime_ms / 1000)  # type: ignore[operator]
    assert [e.name for e in done.events if e.result == "Success"][-1] == "compute_post_live_migration_at_destination"
    assert scene.settled == [done]
    assert not followers.busy


def test_the_server_is_there_before_the_row_says_completed(scene: FollowScene) -> None:
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    told = scene.until(followers, lambda t: t.story and t.story.kind == "post")
    assert (told.status, told.end, states(told)["post"]) == ("running", None, "now")
    assert told.story is not None
    assert not told.story.over


def test_an_abort_leaves_error_and_the_reset_is_offered(scene: FollowScene) -> None:
    followers = scene.followers()
    followers.follow(scene.subject())
    migration = scene.start()
    scene.until(followers, lambda t: t.rate)
    scene.abort(migration)
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.end.severity) == ("aborted", "warn")
    assert [m.action for m in done.end.mends] == ["migrate.reset"]
    assert "although its guest never stopped" in done.end.explanation
    assert isinstance(done.measured, NotMeasured)
    assert str(done.measured) == "not measured: aborted: the guest stays on the source"
    assert states(done)["memory"] == "failed"
    assert states(done)["post"] == "not reached"
    assert checks(done)["guest"] == "pass"
    assert checks(done)["server"] == "warn"


def test_an_older_nova_leaves_it_active(scene: FollowScene) -> None:
    scene.cloud.migrations.raises = False
    followers = scene.followers()
    followers.follow(scene.subject())
    migration = scene.start()
    scene.until(followers, lambda t: t.rate)
    scene.abort(migration)
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.end.severity, done.end.mends, done.status) == ("aborted", "note", (), "cancelled")


def test_an_abort_in_the_queue_tells_of_the_device_that_stays_reserved(scene: FollowScene) -> None:
    followers = scene.followers()
    followers.follow(scene.subject())
    migration = scene.start()
    scene.until(followers, lambda t: t.status == "queued")
    scene.abort(migration)
    done = scene.end(followers)
    assert done.end is not None
    assert done.end.kind == "aborted-queued"
    assert done.end.mends[0].command == f"ssh {DESTINATION} sudo systemctl restart nova-compute"
    (reserved,) = migration.devices.values()
    assert any(reserved in e.text for e in done.end.evidence)
    assert reserved in scene.cloud.state.hosts[DESTINATION].gpus[0].claimed


@pytest.mark.parametrize(
    ("fault", "kind", "action"),
    [
        ("destination-dies", "destination-died", "migrate.reset"),
        ("qemu-refuses", "refused-by-qemu", "migrate.reset"),
        ("guest-dies", "nowhere", ""),
        ("post-fails", "moved-not-completed", "migrate.heal"),
    ],
)
def test_ends_that_nobody_wants(scene: FollowScene, fault: str, kind: str, action: str) -> None:
    scene.cloud.migrations.fault = fault  # type: ignore[assignment]
    followers = scene.followers()
    followers.follow(scene.subject(destination=DESTINATION))
    scene.start()
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.end.mends[0].action) == (kind, action)


def test_a_refusal_tells_the_reason_of_the_event(scene: FollowScene) -> None:
    scene.server.flavor.extra_specs.pop("trait:CUSTOM_A100_20C")
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start(to="gpu-05")
    done = scene.end(followers)
    assert done.end is not None
    assert done.end.kind == "refused"
    assert done.end.explanation.startswith("Source mdev types ['nvidia-472'] are not supported by this compute")
    assert "No valid host" not in done.end.explanation
    assert done.destination is None


def test_an_older_fault_is_never_the_reason(scene: FollowScene) -> None:
    """As the real cloud does: in ERROR Nova shows the fault of the refusal before."""
    scene.server.flavor.extra_specs.pop("trait:CUSTOM_A100_20C")
    scene.start(to="gpu-05")
    scene.clock.tick(30)
    scene.cloud.advance()
    followers = scene.followers()
    scene.cloud.migrations.fault = "destination-dies"
    followers.follow(scene.subject(after=max(scene.cloud.state.migrations)))
    scene.start()
    done = scene.end(followers)
    assert done.end is not None
    assert done.end.kind == "destination-died"
    assert "No valid host" not in done.end.explanation
    (fault,) = [e.text for e in done.end.evidence if "No valid host" in e.text]
    assert "before this migration, and not its reason" in fault


def test_a_dead_nova_compute_and_the_split_brain_after_its_return(scene: FollowScene) -> None:
    scene.cloud.migrations.fault = "source-compute-dies"
    followers = scene.followers()
    followers.follow(scene.subject())
    migration = scene.start()
    scene.until(followers, lambda t: not scene.cloud.state.hosts[SOURCE].up)
    scene.refresh()
    down = scene.until(followers, lambda t: t.story and t.story.kind == "source-compute-down")
    assert (down.status, down.end) == ("running", None)
    scene.abort(migration)  # accepted, and stops nothing
    alone = scene.until(followers, lambda t: t.story and "finished alone" in t.story.explanation)
    assert alone.story is not None
    assert any("do not reboot it hard" in word for word in alone.story.avoid)
    with scene.cloud.state.lock:
        scene.cloud.migrations.restart_compute(scene.cloud.state.hosts[SOURCE])
    scene.refresh()
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.end.severity) == ("split-brain", "fail")
    assert "migrate.heal" in [m.action for m in done.end.mends]
    assert "migrate.reset" not in [m.action for m in done.end.mends]
    assert any("power NOSTATE" in e.text for e in done.end.evidence)
    assert {k: v for k, v in checks(done).items() if v == "fail"} == {"server": "fail", "left": "fail"}
    assert done.downtime_ms == migration.downtime_ms


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("stuck", "nothing of it was sent for"),
        ("no-job", "libvirt of the source has had no migration of it"),
        ("never-converges", "passes over its memory as much is left to send as before"),
    ],
)
def test_one_that_does_not_move_is_told(scene: FollowScene, fault: str, words: str) -> None:
    scene.cloud.migrations.fault = fault  # type: ignore[assignment]
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    told = scene.until(followers, lambda t: t.story and t.story.kind == "stuck", tick=0.4, most=900)
    assert told.story is not None
    assert words in told.story.explanation
    assert told.story.mends[0].action == "migrate.abort"
    assert ("migrate.force" in [m.action for m in told.story.mends]) == (fault == "never-converges")
    assert told.end is None


def test_a_forced_completion_is_told_as_one(scene: FollowScene) -> None:
    scene.cloud.migrations.fault = "never-converges"
    followers = scene.followers()
    followers.follow(scene.subject())
    migration = scene.start()
    scene.until(followers, lambda t: t.rate)
    with scene.cloud.state.lock:
        scene.cloud.migrations.force_complete(migration, scene.server)
    done = scene.end(followers)
    assert done.end is not None
    assert done.end.kind == "forced"
    assert done.downtime_ms == migration.downtime_ms
    assert (done.downtime_ms or 0) >= 2000


def test_without_libvirt_novas_word_is_all_and_the_rest_is_unknown(scene: FollowScene) -> None:
    followers = scene.followers(libvirt=False)
    followers.follow(scene.subject())
    scene.start()
    running = scene.until(followers, lambda t: t.memory_total and t.rate)
    assert running.memory_from == "nova"
    done = scene.end(followers)
    assert done.end is not None
    assert done.end.kind == "completed"
    assert isinstance(done.measured, NotMeasured)
    assert checks(done)["guest"] == "unknown"
    assert checks(done)["server"] == "pass"
    assert states(done)["verified"] == "unknown"
    assert any("could not be looked at" in line for line in done.end.unknown)


def test_a_failure_that_nobody_saw_says_so(scene: FollowScene) -> None:
    scene.cloud.migrations.fault = "qemu-refuses"
    followers = scene.followers(libvirt=False)
    followers.follow(scene.subject())
    scene.start()
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.end.mends[0].action) == ("failed", "migrate.reset")
    assert "once you have seen that its guest runs" in done.end.mends[0].words
    assert "at what it failed" in done.end.unknown


def test_the_api_goes_down_and_comes_back(scene: FollowScene) -> None:
    from vgpu_console.simulator.faults import HttpFault

    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    scene.until(followers, lambda t: t.rate and t.status == "running")  # heard from libvirt and from Nova
    scene.cloud.faults.http["compute"] = HttpFault(kind="status", status=503)
    scene.cloud.faults.http["placement"] = HttpFault(kind="refused")
    blind = scene.until(followers, lambda t: (t.voices[0].age_s(scene.clock.now) or 0) > 6)
    assert blind.voices[0].error is not None
    assert blind.end is None
    arrived = scene.until(followers, lambda t: states(t)["post"] == "now")
    assert arrived.status == "running", "Nova's last word; libvirt's is newer"
    scene.clock.tick(60)
    scene.cloud.advance()
    assert followers.busy
    scene.cloud.faults.http.clear()
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.voices[0].error) == ("completed", None)


def test_a_token_that_expires_is_renewed(scene: FollowScene) -> None:
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    scene.until(followers, lambda t: t.rate)
    scene.cloud.expire_tokens()
    assert scene.end(followers).end is not None
    assert followers.timelines()[0].voices[0].error is None


def test_gaps_in_the_rates_are_gaps(scene: FollowScene) -> None:
    scene.cloud.state.migration_seconds = 60.0
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    scene.until(followers, lambda t: len(t.rates) >= 3 and t.rates[-1])
    scene.clock.tick(9)
    after = scene.until(followers, lambda t: len(t.rates) >= 8 and t.rates[-1])
    assert None in after.rates[3:8]


def test_the_next_console_finds_what_runs_and_fills_in_what_libvirt_still_knows(scene: FollowScene) -> None:
    migration = scene.start()
    for _ in range(80):
        scene.clock.tick(0.1)
        scene.cloud.advance()
    second = scene.followers()
    second.reattach()
    found = scene.until(second, lambda t: t.status == "running")
    assert (found.migration, found.source, found.destination) == (migration.uuid, SOURCE, DESTINATION)
    assert found.phases[0].since is None, "it was not seen to begin"
    assert states(found)["accepted"] == "skipped"
    done = scene.end(second)
    assert done.downtime_ms == migration.downtime_ms
    third = scene.followers()
    third.follow(scene.subject(migration=migration.uuid))
    late = scene.end(third)
    assert isinstance(late.measured, CompletedJob)
    assert (late.downtime_ms, late.measured.source) == (
        migration.downtime_ms,
        "completed job statistics of the destination",
    )


def test_what_libvirt_no_longer_knows_is_not_measured(scene: FollowScene) -> None:
    migration = scene.start()
    for _ in range(300):
        scene.clock.tick(0.1)
        scene.cloud.advance()
    assert migration.status == "completed"
    migration.figures_read_away = True
    followers = scene.followers()
    followers.follow(scene.subject(migration=migration.uuid))
    done = scene.end(followers)
    assert isinstance(done.measured, NotMeasured)
    assert "keeps no figures" in str(done.measured)


def test_the_figures_of_a_later_migration_are_not_taken_for_an_earlier_ones(scene: FollowScene) -> None:
    """libvirt keeps those of the last job: a console that comes late must not read them as another's."""
    from vgpu_console.fleet.migration_move import Subject

    ends = [(SOURCE, DESTINATION), (DESTINATION, SOURCE), (SOURCE, DESTINATION)]
    moves = []
    for _, to in ends:
        moves.append(scene.start(to=to))
        for _ in range(300):
            scene.clock.tick(0.1)
            scene.cloud.advance()
    assert [m.status for m in moves] == ["completed"] * 3
    followers = scene.followers()
    first = Subject(server=scene.server.id, migration=moves[0].uuid, source=SOURCE, destination=DESTINATION)
    followers.follow(first)
    done = scene.end(followers)
    assert done.downtime_ms is None
    assert "moved again before anybody looked" in str(done.measured)
    assert done.end is not None
    assert done.end.kind == "completed"


def test_clocks_of_hosts_are_told_and_never_set_off_against_ours(scene: FollowScene) -> None:
    import msgspec

    hosts = tuple(
        msgspec.structs.replace(h, clock_skew_s=90.0, clock_error_s=0.1) if h.name == DESTINATION else h
        for h in scene.snapshot.hosts
    )
    scene.snapshot = msgspec.structs.replace(scene.snapshot, hosts=hosts)
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    done = scene.end(followers)
    assert done.clock_skew == (f"the clock of {DESTINATION} is 90.0 s ahead",)
    assert all((p.duration_s or 0) < 60 for p in done.phases)


def test_a_downtime_over_clocks_that_are_apart_is_doubted(scene: FollowScene) -> None:
    """The destination's clock is ahead: libvirt counts that in, and the two events that are heard do not."""
    scene.cloud.state.hosts[DESTINATION].clock_ahead_s = 2.0
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    done = scene.end(followers)
    assert isinstance(done.measured, CompletedJob)
    assert done.measured.heard_ms == pytest.approx(done.measured.downtime_ms - 2000, abs=200), "as often as it looks"
    (words,) = done.clock_skew
    assert words.startswith(f"heard here: {done.measured.heard_ms} ms;")


def test_a_server_deleted_under_way(scene: FollowScene) -> None:
    followers = scene.followers()
    followers.follow(scene.subject())
    scene.start()
    scene.until(followers, lambda t: t.rate)
    with scene.cloud.state.lock:
        scene.cloud.compute.delete(scene.server)
    done = scene.end(followers)
    assert done.end is not None
    assert (done.end.kind, done.verified) == ("server-gone", ())
