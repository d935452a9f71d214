"""The embedded cloud, and an admin's console that has read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actions.demo import Console, still_demo
from vgpu_console.simulator import DemoCloud


@pytest.fixture
def cloud() -> DemoCloud:
    return still_demo()


@pytest.fixture
def console(cloud: DemoCloud, tmp_path: Path) -> Console:
    return Console(cloud, tmp_path / "admin").read()
