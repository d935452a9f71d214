"""The small scenario on a clock that tests move, with nothing happening by itself."""

from __future__ import annotations

import pytest

from tests.simulator.client import Api, FakeClock
from vgpu_console.simulator import DemoCloud, open_demo


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cloud(clock: FakeClock) -> DemoCloud:
    return open_demo("small", clock=clock, living=False)


@pytest.fixture
def admin(cloud: DemoCloud) -> Api:
    return Api(cloud)


@pytest.fixture
def settled(cloud: DemoCloud, clock: FakeClock) -> DemoCloud:
    """The same after the scenario's own migration has ended and every periodic update was made."""
    for _ in range(60):
        clock.tick(5)
        cloud.advance()
    return cloud
