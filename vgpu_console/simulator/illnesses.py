"""A fleet for each of the doctor's diagnoses: the healthy one of ``well.toml`` with that one thing wrong.

An illness befalls a fleet that has been running for a while and lasts for ``ILL_FOR_S`` until the console looks at it,
so that nova-compute has had its periodic updates and nothing is merely in motion. Its function may use everything the
simulated systems know, under their rules: what real hosts, Nova and Placement could not come to is no illness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vgpu_console.simulator import ill_cloud, ill_fleet, ill_hosts

if TYPE_CHECKING:
    from vgpu_console.simulator.cloud import DemoCloud

WELL = "well"
"""The scenario that they all start from."""

PREFIX = "ill-"
"""Before the id of a diagnosis: the name of its scenario."""

ILL_FOR_S = 300.0
"""So long before the cloud is opened it fell ill, in seconds."""

ILLNESSES: Mapping[str, Callable[[DemoCloud], None]] = {**ill_hosts.ILL, **ill_cloud.ILL, **ill_fleet.ILL}
"""Id of the diagnosis -> what makes the healthy fleet ill of it."""


def illness_of(scenario: object) -> str | None:
    """The diagnosis in a scenario's name; None for any other scenario, and for an illness that is not there."""
    name = scenario.removeprefix(PREFIX) if isinstance(scenario, str) and scenario.startswith(PREFIX) else None
    return name if name in ILLNESSES else None


def names() -> list[str]:
    """The names of all these scenarios."""
    return sorted(PREFIX + name for name in ILLNESSES)
