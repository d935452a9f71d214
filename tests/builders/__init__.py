"""Snapshots for tests that show things: their parts, and a small fleet with every state an operator meets."""

from __future__ import annotations

from tests.builders.fleet import NOW, small_fleet, status
from tests.builders.parts import PROJECTS, an_id, capacity, device, host, quota, server, sriov_gpu

__all__ = [
    "NOW",
    "PROJECTS",
    "an_id",
    "capacity",
    "device",
    "host",
    "quota",
    "server",
    "small_fleet",
    "sriov_gpu",
    "status",
]
