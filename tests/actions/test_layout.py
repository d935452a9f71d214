"""Layouts against what is there: what differs, what is planned, and that a second time there is nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actions.demo import NOW, still_demo
from tests.actions.device_console import ONE_A100, HostConsole, demo_of
from vgpu_console.actions.layout import Difference, differences
from vgpu_console.actions.layout_file import (
    GpuLayout,
    Layout,
    LayoutError,
    escaped,
    layout_of,
    read_layout,
    to_toml,
    unread_hosts,
)
from vgpu_console.actions.layout_plan import LayoutPlans, plan_layout
from vgpu_console.actions.mdev_create import plan_create

ONE = "gpu-01"
GPU = "0000:41:00.0"


@pytest.fixture
def console(tmp_path: Path) -> HostConsole:
    return HostConsole(still_demo(), tmp_path).read()


@pytest.fixture
def one(tmp_path: Path) -> HostConsole:
    """One idle A100."""
    return HostConsole(demo_of(tmp_path, ONE_A100), tmp_path).read()


def layout(*entries: tuple[str, str, str, int], persistent: bool = True) -> Layout:
    return Layout(
        version=1,
        gpu=tuple(GpuLayout(host=h, gpu=g, type=t, count=n, persistent=persistent) for h, g, t, n in entries),
    )


def words(found: tuple[Difference, ...]) -> list[tuple[str, str, str, int | None, int | None, str]]:
    return [(d.host, d.gpu, d.type, d.wanted, d.present, d.verdict) for d in found]


def planned(console: HostConsole, wanted: Layout, *, prune: bool = False) -> LayoutPlans:
    return plan_layout(console.facts, console.snapshot, wanted, NOW, prune=prune)


def applied(console: HostConsole, wanted: Layout, *, prune: bool = False) -> int:
    """Plan and apply until nothing more can be planned; how many rounds it took."""
    for rounds in range(1, 5):
        made = planned(console, wanted, prune=prune)
        outcomes = console.apply_all(made.plans)
        assert [o.message for o in outcomes if not o.ok] == []
        console.read()
        if not made.again:
            return rounds
    raise AssertionError("it never ends")


def test_what_is_shown_as_a_file_differs_in_nothing_but_what_does_not_run(console: HostConsole) -> None:
    written = to_toml(layout_of(console.snapshot))
    found = differences(read_layout(written), console.snapshot)
    assert {d.verdict for d in found} <= {"not running", "not persistent"}
    assert unread_hosts(console.snapshot) == ("gpu-04",)
    assert 'host = "gpu-01"\ngpu = "0000:41:00.0"\ntype = "A100-20C"\ncount = 2' in written
    only = layout_of(console.snapshot, ["gpu-06"])
    assert [(e.host, e.type, e.count) for e in only.gpu] == [("gpu-06", "L40S-12Q", 3)]


def test_one_of_every_difference(console: HostConsole) -> None:
    wanted = layout(
        ("gpu-01", "41:00.0", "A100-20C", 1),
        ("gpu-01", "81:00.0", "A100-20C", 2),
        ("gpu-02", "41:00.0", "A100-20C", 2),
        ("gpu-02", "99:*", "A100-20C", 2),
        ("gpu-04", "*", "A100-10C", 4),
        ("gpu-05", "81:00.0", "T4-4Q", 2),
        ("gpu-06", "*", "L40S-99Q", 1),
        ("nowhere-*", "*", "A100-20C", 1),
    )
    present = {g.address: g.vgpus_created for g in console.snapshot.host("gpu-02").gpus or ()}  # type: ignore[union-attr]
    assert words(differences(wanted, console.snapshot)) == [
        ("gpu-01", "0000:41:00.0", "A100-20C", 1, 2, "surplus"),
        ("gpu-02", "0000:41:00.0", "A100-20C", 2, present["0000:41:00.0"], "missing"),
        ("gpu-02", "99:*", "A100-20C", 2, None, "unknown GPU"),
        ("gpu-04", "*", "A100-10C", 4, None, "unreadable"),
        ("gpu-05", "0000:81:00.0", "T4-4Q", 2, 0, "missing"),
        ("gpu-05", "0000:81:00.0", "T4-8Q", 0, 1, "other type"),
        ("gpu-06", "0000:41:00.0", "L40S-99Q", 1, 0, "unknown type"),
        ("gpu-06", "0000:41:00.0", "L40S-12Q", 0, 3, "other type"),
        ("nowhere-*", "*", "A100-20C", 1, None, "unknown host"),
    ]


def test_gpus_that_no_entry_names_are_left_alone(console: HostConsole) -> None:
    assert differences(layout(), console.snapshot) == ()
    assert planned(console, layout(), prune=True) == LayoutPlans((), ())


def test_two_entries_for_the_same(console: HostConsole) -> None:
    twice = layout(("gpu-0*", "41:*", "A100-20C", 1), ("gpu-01", "*", "GRID A100-20C", 2))
    with pytest.raises(LayoutError, match=r"\[\[gpu\]\] 1 and 2 both give gpu-01 0000:41:00.0"):
        differences(twice, console.snapshot)


def test_a_layout_is_made_true_and_a_second_time_does_nothing(one: HostConsole) -> None:
    wanted = layout(("gpu-*", "*", "A100-20C", 2))
    made = planned(one, wanted)
    assert [p.action for p in made.plans] == ["mdev.create"] * 2
    assert applied(one, wanted) == 1
    assert differences(wanted, one.snapshot) == ()
    assert planned(one, wanted, prune=True) == LayoutPlans((), ())


def test_more_than_the_gpu_carries_is_told_and_makes_none(one: HostConsole) -> None:
    made = planned(one, layout(("gpu-01", "*", "A100-20C", 3)))
    assert made.plans == ()
    assert [d.why for d in differences(layout(("gpu-01", "*", "A100-20C", 1)), one.snapshot)] == ["1 can be made now"]
    assert [(left.difference.verdict, left.again) for left in made.left] == [("missing", False)]
    assert "2 more A100-20C can be made" in made.left[0].reason


def test_another_size_comes_after_the_old_one_is_gone(one: HostConsole) -> None:
    assert applied(one, layout(("gpu-01", "*", "A100-20C", 2))) == 1
    smaller = layout(("gpu-01", "*", "A100-10C", 4))
    kept = planned(one, smaller)
    assert kept.plans == ()
    assert "left alone, for removing was not asked for" in kept.left[0].reason
    assert "GPU runs A100-20C" in kept.left[1].reason
    first = planned(one, smaller, prune=True)
    assert [p.action for p in first.plans] == ["mdev.remove"] * 2
    assert first.again
    assert applied(one, smaller, prune=True) == 2
    assert [(m.type_name, m.state) for m in one.snapshot.mdevs] == [("GRID A100-10C", "active")] * 4


def test_what_servers_use_is_never_removed(console: HostConsole) -> None:
    made = planned(console, layout(("gpu-01", "*", "A100-20C", 0)), prune=True)
    assert made.plans == ()
    assert {left.difference.verdict for left in made.left} == {"surplus"}
    assert all("in use" in left.reason for left in made.left)


def test_a_free_one_goes_before_one_in_use(console: HostConsole) -> None:
    """The L40S has three, two of them held: one of them is too many."""
    wanted = layout(("gpu-06", "*", "L40S-12Q", 2))
    made = planned(console, wanted, prune=True)
    assert [p.action for p in made.plans] == ["vgpu-type.clear"]
    assert applied(console, wanted, prune=True) == 1
    assert differences(wanted, console.snapshot) == ()


def test_vendor_vfio_is_filled_up(console: HostConsole) -> None:
    wanted = layout(("gpu-06", "*", "L40S-12Q", 4))
    assert [p.action for p in planned(console, wanted).plans] == ["vgpu-type.set"]
    assert applied(console, wanted) == 1
    assert differences(wanted, console.snapshot) == ()


def test_what_is_only_defined_is_started(console: HostConsole) -> None:
    found = [d for d in differences(layout_of(console.snapshot), console.snapshot) if d.verdict == "not running"]
    assert [(d.host, len(d.devices)) for d in found] == [("gpu-03", 1)]
    made = planned(console, layout_of(console.snapshot))
    assert [p.action for p in made.plans] == ["mdev.start"]
    assert console.apply(made.plans[0]).ok


def test_a_transient_device_where_a_persistent_one_is_wanted(one: HostConsole) -> None:
    (plan,) = plan_create(one.facts, one.snapshot, ONE, GPU, "A100-20C", persistent=False, now=NOW)
    assert one.apply(plan).ok
    one.read()
    wanted = layout((ONE, "*", "A100-20C", 1))
    assert [d.verdict for d in differences(wanted, one.snapshot)] == ["not persistent"]
    made = planned(one, wanted)
    assert (made.plans, len(made.left)) == ((), 1)
    assert differences(layout((ONE, "*", "A100-20C", 1), persistent=False), one.snapshot) == ()
    assert [e.persistent for e in layout_of(one.snapshot).gpu] == [False]


def test_functions_that_are_off_keep_nothing_else(console: HostConsole) -> None:
    made = planned(console, layout(("gpu-02", "*", "A100-20C", 2)))
    assert {p.target.key["gpu"] for p in made.plans} == {"0000:41:00.0"}
    (left,) = made.left
    assert left.difference.gpu == "0000:81:00.0"
    assert "virtual functions are off" in left.reason


def test_names_with_globs_in_them_match_themselves_only(one: HostConsole) -> None:
    assert escaped("a[1]*?") == "a[[]1][*][?]"
