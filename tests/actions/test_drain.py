"""A drain as it is written down: its file, its lock, and what the next console makes of it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from tests.actions.drain_console import HOST, console
from vgpu_console.actions.drain import Drain, DrainOptions, Item, new_drain, taken_up, tried_again
from vgpu_console.actions.drain_report import report, report_lines
from vgpu_console.actions.drain_store import DrainFileError, DrainHeld, DrainStore, new_id

ITEMS = (
    Item(server="s1", name="one", destination="gpu-b", state="done", measured_ms=1500.0, measured_by="libvirt"),
    Item(server="s2", name="two", destination="gpu-b", state="failed", why="QEMU refused", before=4),
    Item(server="s3", name="three", destination="gpu-c", state="checking"),
    Item(server="s4", name="four", destination="gpu-c", state="starting", before=7, asked_at=1.0),
    Item(server="s5", name="five", state="skipped", why="it is in ERROR"),
)


def drain(**fields: object) -> Drain:
    known: dict[str, object] = {"id": new_id(1_800_000_000.0), "cloud": "demo", "host": HOST, "created": 1.8e9}
    return msgspec.convert(known | {"items": ITEMS} | fields, Drain)


@pytest.fixture
def store(tmp_path: Path) -> DrainStore:
    return DrainStore(tmp_path / "drains")


def test_a_drain_comes_back_as_it_was_written_and_nobody_else_may_read_it(store: DrainStore) -> None:
    written = drain()
    store.save(written)
    assert store.load(written.id) == written
    path = store.path(written.id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert [p.name for p in store.folder.iterdir()] == [path.name]


def test_a_save_that_fails_leaves_the_state_before(store: DrainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = drain()
    store.save(written)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DrainFileError, match="No space left on device"):
        store.save(msgspec.structs.replace(written, status="paused"))
    assert store.load(written.id) == written
    assert len(list(store.folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is damaged"),
        ('{"version": 99}', "was written by a newer vgpu-console (version 99)"),
        ('{"version": 1}', "is damaged"),
        ("", "is damaged"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_hides_no_other(store: DrainStore, text: str, told: str) -> None:
    good, bad = drain(), new_id(1_900_000_000.0)
    store.save(good)
    store.path(bad).write_text(text)
    with pytest.raises(DrainFileError) as refused:
        store.load(bad)
    assert told in str(refused.value)
    found, broken = store.drains("demo")
    assert found == (good,)
    assert [b.path.stem for b in broken] == [bad]


@pytest.mark.parametrize("id", ["../../etc/passwd", "", "20260101T000000-zzzzzz", "x" * 300])
def test_an_id_that_is_none_reaches_no_file(store: DrainStore, id: str) -> None:
    with pytest.raises(DrainFileError, match="is not the id of a drain"):
        store.load(id)


def test_only_what_has_something_left_to_do_is_unfinished(store: DrainStore) -> None:
    left, over = drain(), drain(items=ITEMS[:2])
    other = drain(cloud="prod")
    for one in (left, over, other):
        store.save(one)
    assert store.unfinished("demo") == (left,)
    assert store.unfinished("demo", "gpu-b") == ()


def test_a_second_console_is_refused_and_told_who_has_it(store: DrainStore) -> None:
    first = store.lock("demo", HOST)
    with pytest.raises(DrainHeld) as refused:
        store.lock("demo", HOST)
    assert f"process {os.getpid()} on " in str(refused.value)
    assert store.held("demo", HOST).startswith(f"process {os.getpid()} on ")
    other = store.lock("prod", HOST)  # the same name in another cloud is another host
    first.release()
    assert store.held("demo", HOST) == ""
    store.lock("demo", HOST).release()
    other.release()


def test_who_looks_whether_it_is_held_keeps_nobody_from_taking_it(store: DrainStore) -> None:
    path = store.lock("demo", HOST)
    path.release()
    with path.path.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.03, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        timer.start()
        taken = store.lock("demo", HOST)
        timer.join()
    taken.release()


def test_a_killed_console_leaves_no_lock_behind(store: DrainStore) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from vgpu_console.actions.drain_store import DrainStore;"
        f"lock = DrainStore(Path({str(store.folder)!r})).lock('demo', {HOST!r});"
        "print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(DrainHeld, match=f"process {process.pid} on "):
        store.lock("demo", HOST)
    process.kill()
    process.wait(10)
    process.stdout.close()
    if process.stdin is not None:
        process.stdin.close()
    store.lock("demo", HOST).release()


def test_taken_up_nothing_that_may_have_begun_waits_again() -> None:
    again = taken_up(drain(status="stopped", why="1 failed", stop_after_failures=1))
    assert {i.name: i.state for i in again.items} == {
        "one": "done",
        "two": "failed",
        "three": "waiting",
        "four": "starting",
        "five": "skipped",
    }
    assert again.item("s4").before == 7
    assert (again.status, again.failures, again.too_many_failures) == ("running", 0, False)


def test_failed_and_skipped_ones_are_tried_again_when_somebody_says_so() -> None:
    again = tried_again(drain(), ["s2", "s5", "s1"])
    two = again.item("s2")
    assert (two.state, two.why, two.before) == ("waiting", "", None)
    assert again.item("s5").state == "waiting"
    assert again.item("s1").state == "done"


@pytest.mark.parametrize("wrong", [{"max_parallel": 0}, {"stop_after_failures": 0}])
def test_numbers_below_one_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    plan = console(tmp_path).plan()
    with pytest.raises(ValueError, match="at least"):
        new_drain(plan, msgspec.convert(wrong, DrainOptions), id="x", cloud="demo", now=0.0)


def test_the_report_tells_each_server_and_how_to_enable_the_host_again() -> None:
    lines = report_lines(drain(service="disabled", status="stopped", why="1 failed: no more is started"))
    text = "\n".join(lines)
    assert "1 moved, 1 failed, 1 skipped, 2 not begun or not ended (stopped: 1 failed: no more is started)" in text
    assert "downtime measured of 1: 1.5 s to 1.5 s, together 1.5 s" in text
    assert "failed   two → gpu-b  QEMU refused" in text
    assert "skipped  five  it is in ERROR" in text
    assert "openstack compute service set --enable gpu-a nova-compute" in text
    assert "drain --resume" in text
    told = json.loads(json.dumps(report(drain(service="disabled"))))
    assert told["counts"] == {"done": 1, "failed": 1, "skipped": 1, "running": 0, "waiting": 0}
    assert told["servers"][0]["downtime_ms"] == 1500
    assert told["servers"][1]["downtime_ms"] is None
    assert told["enable_again"].endswith("nova-compute")
    assert report(drain(service="was disabled"))["enable_again"] is None


def test_a_downtime_over_clocks_that_are_apart_is_summed_as_it_was_heard() -> None:
    moved = msgspec.structs.replace(ITEMS[0], measured_ms=5500.0, heard_ms=1400.0)
    text = "\n".join(report_lines(drain(items=(moved,))))
    assert "together 1.4 s" in text
    assert "measured 5.5 s (heard 1.4 s)" in text
    assert report(drain(items=(moved,)))["servers"][0]["heard_downtime_ms"] == 1400
