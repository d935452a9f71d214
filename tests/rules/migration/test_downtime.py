"""The predicted downtime: the range, the arithmetic in words, and what past migrations make of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.rules.migration.downtime import (
    PastMove,
    Rate,
    clocks_apart,
    ladder,
    of_one_clock,
    predict,
    reached_after_s,
    told_downtime,
    tracks_dirty_pages,
)

GIGABYTE = Rate(low=1e9, high=2e9, origin="configured: [migration] rate")


def of(**changed: Any) -> Any:
    asked: dict[str, Any] = {
        "ram_mib": 12 * 1024,
        "framebuffer_mib": 20 * 1024,
        "tracked": False,
        "type_name": "A100-20C",
        "source": "gpu-02",
        "destination": "gpu-01",
        "rate": GIGABYTE,
        "switch_over_ms": (500.0, 1000.0),
    }
    return predict(**(asked | changed))


def move(downtime_ms: float, **changed: Any) -> PastMove:
    known: dict[str, Any] = {
        "type_name": "A100-20C",
        "source": "gpu-02",
        "destination": "gpu-01",
        "ram_mib": 12 * 1024,
        "framebuffer_mib": 20 * 1024,
    }
    return PastMove(downtime_ms=downtime_ms, **(known | changed))


def test_an_untracked_gpu_sends_its_framebuffer_at_least_and_all_memory_at_most() -> None:
    found = of()
    assert round(found.low_ms) == 500 + round(20 * 1024 * 1024 * 1024 / 2e9 * 1000)
    assert round(found.high_ms) == 1000 + round(32 * 1024 * 1024 * 1024 / 1e9 * 1000)
    assert found.basis == (
        "least: 20 GiB of framebuffer at 2 GB/s and 0.5 s to switch over",
        "most: 20 GiB of framebuffer and 12 GiB of memory at 1 GB/s and 1 s to switch over",
        "the GPU cannot tell which pages it wrote: up to all memory counts as dirty",
        "rate configured: [migration] rate",
    )


@pytest.mark.parametrize("missing", ["ram_mib", "framebuffer_mib"])
def test_an_unknown_size_is_no_prediction_and_no_zero(missing: str) -> None:
    found = of(**{missing: None})
    assert (found.low_ms, found.high_ms, found.known) == (None, None, False)
    assert "not known: no prediction" in found.basis[0]


def test_without_a_setting_the_network_is_an_assumption_that_is_said() -> None:
    assert "rate assumed: a network of 10 Gbit/s" in of(rate=None).basis


def test_three_moves_between_the_hosts_take_the_place_of_the_model() -> None:
    found = of(past=[move(9_000), move(10_000), move(12_000), move(90_000, destination="gpu-07")])
    assert (found.low_ms, found.high_ms, found.from_history) == (9_000, 12_000, 3)
    assert found.basis[0] == "3 past migrations of A100-20C from gpu-02 to gpu-01 took 9 s to 12 s"


def test_moves_between_other_hosts_count_when_these_have_too_few() -> None:
    found = of(past=[move(9_000), move(30_000, destination="gpu-07"), move(12_000, source="gpu-03")])
    assert (found.low_ms, found.high_ms) == (9_000, 30_000)
    assert "between any hosts" in found.basis[0]


def test_past_moves_are_scaled_to_the_size_of_this_one() -> None:
    small = {"ram_mib": 4 * 1024, "framebuffer_mib": 20 * 1024}
    found = of(past=[move(6_000, **small)] * 3)
    assert (found.low_ms, found.high_ms) == (8_000, 8_000)


def test_moves_of_another_type_say_nothing() -> None:
    assert of(past=[move(1, type_name="A100-10C")] * 5) == of()


def test_two_moves_are_told_and_change_nothing() -> None:
    found = of(past=[move(1), move(2)])
    assert (found.low_ms, found.high_ms) == (of().low_ms, of().high_ms)
    assert found.basis[-1] == "2 past migrations of this type: 3 would make this better"


@pytest.mark.parametrize(
    ("architecture", "told"), [("Ampere", False), ("Turing", False), ("Hopper", None), ("Ada", None), (None, None)]
)  # fmt: skip
def test_ampere_and_older_track_nothing_and_newer_is_unknown(architecture: str | None, told: bool | None) -> None:
    assert tracks_dirty_pages(architecture) is told


@given(
    ram=st.integers(1, 2**22),
    framebuffer=st.integers(0, 2**20),
    tracked=st.sampled_from([True, False, None]),
    past=st.lists(st.floats(1, 1e6), max_size=6),
)
def test_the_range_is_never_upside_down_or_below_nothing(
    ram: int, framebuffer: int, tracked: bool | None, past: list[float]
) -> None:
    found = of(ram_mib=ram, framebuffer_mib=framebuffer, tracked=tracked, past=[move(ms) for ms in past])
    assert 0 < found.low_ms <= found.high_ms


class TestLadder:
    def test_the_values_nova_asks_for_and_the_default_ones(self) -> None:
        assert ladder(500_000, 3, 3, 32) == ((0, 166_666), (96, 277_777), (192, 388_888), (288, 500_000))
        default = ladder(500, 10, 75, 8)
        assert (default[0], default[1], default[-1]) == ((0, 50), (600, 95), (6000, 500))

    def test_when_a_pause_is_first_allowed(self) -> None:
        rungs = ladder(500_000, 3, 3, 32)
        assert reached_after_s(rungs, 20_000) == 0
        assert reached_after_s(rungs, 300_000) == 192
        assert reached_after_s(rungs, 600_000) is None


@pytest.mark.parametrize(
    ("downtime_ms", "heard_ms", "doubt", "words"),
    [
        (2648, 1460, True, "2648 ms (heard 1460 ms)"),  # the destination's clock is ahead
        (0, 1460, True, "0 ms (heard 1460 ms)"),  # it is behind: libvirt tells next to nothing
        (475, 740, False, "475 ms"),  # the events' journeys
        (9000, 8000, False, "9000 ms"),  # a second of eight
        (2648, None, False, "2648 ms"),  # nothing was heard
    ],
)
def test_a_figure_over_two_clocks_is_doubted_by_what_one_clock_heard(
    downtime_ms: int, heard_ms: int | None, doubt: bool, words: str
) -> None:
    assert (f"heard here: {heard_ms} ms" in clocks_apart(downtime_ms, heard_ms)) is doubt
    assert of_one_clock(downtime_ms, heard_ms) == (heard_ms if doubt else downtime_ms)
    assert told_downtime(downtime_ms, heard_ms) == words
