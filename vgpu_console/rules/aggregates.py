"""What host aggregates say to a flavor and to a project, by Nova's filters of them, if those are on.

They are AggregateInstanceExtraSpecsFilter and AggregateMultiTenancyIsolation (nova: scheduler/filters); which filters
are on is in no API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vgpu_console.model.nova import Aggregate

SPEC = "aggregate_instance_extra_specs:"
"""The beginning of a flavor's extra specs that ask for aggregates with some metadata."""


def wishes(extra_specs: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata name -> wanted value, of what a flavor asks of its host's aggregates."""
    specs = extra_specs or {}
    return {k.removeprefix(SPEC): v for k, v in sorted(specs.items()) if k.startswith(SPEC)}


def has(aggregates: Iterable[Aggregate], name: str, wanted: str) -> bool:
    """Nova also knows comparisons (``>= 3``, ``<in> …``): those are not worked out here, the key being there counts."""
    simple = wanted and wanted[0] not in "<>=!s"
    return any(name in a.metadata and (not simple or _among(wanted, a.metadata[name])) for a in aggregates)


def _among(wanted: str, told: str) -> bool:
    return wanted in [word.strip() for word in told.split(",")]


def tenants(aggregate: Aggregate) -> set[str]:
    """Projects that ``filter_tenant_id`` and its numbered likes name; empty: everybody."""
    values = [v for k, v in aggregate.metadata.items() if k.startswith("filter_tenant_id")]
    return {word.strip() for value in values for word in value.split(",") if word.strip()}
