"""What is recorded comes back equal: any snapshots, in any order, also where a recording was continued."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.fleet import NOW, small_fleet
from tests.recording.made_up import snapshots
from tests.screens import fleets
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording import writer
from vgpu_console.recording.format import RecordingError
from vgpu_console.recording.reader import Recording
from vgpu_console.recording.tables import LISTS
from vgpu_console.recording.writer import Writer

SLOW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def record(path: Path, shown: list[Snapshot], every: int | None = None) -> None:
    """Write snapshots, each with the cloud of the first."""
    with Writer(path, shown[0]) as out:
        for snapshot in shown:
            out.write(snapshot)


@SLOW
@given(shown=snapshots(), stop=st.integers(0, 5), whole_every=st.sampled_from([1, 2, 60]))
def test_any_snapshots_come_back_equal_also_when_continued(
    tmp_path_factory: pytest.TempPathFactory, shown: list[Snapshot], stop: int, whole_every: int
) -> None:
    path = tmp_path_factory.mktemp("r") / "any.rec"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "WHOLE_EVERY", whole_every)
        for part in (shown[:stop], shown[stop:]):
            if part:
                record(path, part)
    with Recording(path) as read:
        assert not read.note
        assert [m.time for m in read.frames] == [s.taken_at for s in shown]
        order = list(range(len(shown)))
        random.Random(len(shown)).shuffle(order)
        for number in [*order, *range(len(shown))]:
            assert read.snapshot(number) == shown[number]


def test_a_fleet_that_stands_still_costs_almost_nothing_and_shares_its_items(tmp_path: Path) -> None:
    path, first = tmp_path / "still.rec", small_fleet()
    with Writer(path, first) as out:
        begun = out.write(first)
        sizes = [out.write(msgspec.structs.replace(first, taken_at=NOW + 10 * i)) for i in range(1, 200)]
    assert begun > 2_000
    assert sorted(sizes)[100] < 250
    with Recording(path) as read:
        one, other = read.snapshot(0), read.snapshot(199)
        assert other.taken_at == NOW + 1990
        assert one.hosts is other.hosts
        assert one.hosts[0] is other.hosts[0]


def test_one_changed_host_costs_one_host(tmp_path: Path) -> None:
    first = small_fleet()
    changed = msgspec.structs.replace(
        first,
        taken_at=NOW + 10,
        hosts=(msgspec.structs.replace(first.hosts[0], driver="999.1"), *first.hosts[1:]),
    )
    with Writer(tmp_path / "one.rec", first) as out:
        out.write(first)
        assert out.write(changed) < 1_200
    with Recording(tmp_path / "one.rec") as read:
        assert read.snapshot(1) == changed
        assert read.snapshot(1).hosts[1] is read.snapshot(0).hosts[1]


def test_continuing_goes_on_from_the_last_frame(tmp_path: Path) -> None:
    path, first = tmp_path / "on.rec", small_fleet()
    record(path, [first])
    later = [
        msgspec.structs.replace(first, taken_at=NOW + 10),
        msgspec.structs.replace(first, taken_at=NOW + 20, mdevs=first.mdevs[::-1], hosts=first.hosts[1:]),
    ]
    sizes = []
    for snapshot in later:
        with Writer(path, snapshot) as out:
            sizes.append(out.write(snapshot))
    assert max(sizes) < 600
    with Recording(path) as read:
        assert [read.snapshot(number) for number in range(3)] == [first, *later]
        assert sum(read.item_counts().values()) < 200


def test_every_list_of_a_snapshot_has_a_table() -> None:
    """A new list goes into the small rest until it has one: it would be written anew with every change."""
    listed = {f.name for f in msgspec.structs.fields(Snapshot) if str(f.type).startswith("tuple")}
    assert listed - set(LISTS) == {"quota_totals"}


def test_the_file_is_private_and_what_began_in_a_frame_is_marked(tmp_path: Path) -> None:
    path, first = tmp_path / "marks.rec", fleets.fleet()
    quiet = msgspec.structs.replace(first, findings=(), migrations=(), taken_at=first.taken_at - 10)
    old_mask = os.umask(0)
    try:
        record(path, [quiet, first, first])
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Recording(path) as read:
        assert [bool(m.begun) for m in read.frames] == [False, True, False]
        assert read.frames[1].begun.migrations == sum(m.running for m in first.migrations)
        assert read.frames[1].begun.fails == sum(f.severity == "fail" for f in first.findings)


def test_the_frame_of_a_moment_is_the_last_one_before_it(tmp_path: Path) -> None:
    first = small_fleet()
    record(tmp_path / "m.rec", [msgspec.structs.replace(first, taken_at=NOW + t) for t in (0, 10, 5, 20)])
    with Recording(tmp_path / "m.rec") as read:
        assert [read.at(NOW + t) for t in (-1, 0, 9.9, 10, 19, 20, 99)] == [0, 0, 0, 2, 2, 3, 3]
        with pytest.raises(RecordingError, match="there is no frame 4"):
            read.snapshot(4)
