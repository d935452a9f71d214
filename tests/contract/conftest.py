"""The contract on the simulator: a clock of its own makes waiting free."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from vgpu_console.simulator import BASE_URL, open_demo
from vgpu_console.simulator.builder import PASSWORD

SCENARIO = Path(__file__).with_name("lab_like.toml")


class _Clock:
    """Seconds since the epoch; moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now

    def move(self) -> None:
        self.now += 0.5


@pytest.fixture(scope="module")
def cloud() -> CloudUnderTest:
    """The embedded cloud with the lab's content."""
    clock = _Clock()
    demo = open_demo(SCENARIO, clock=clock, living=False)

    def wait() -> None:
        clock.move()
        demo.advance()

    def migration_seconds(value: float) -> None:
        demo.state.migration_seconds = value

    return CloudUnderTest(demo.http, f"{BASE_URL}/identity/v3", PASSWORD, wait, migration_seconds)
