"""A change on one host reads that host and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from vgpu_console.config import DemoChoice, Settings
from vgpu_console.fleet.collector import Collector, FactSource
from vgpu_console.model.source import SourceKind
from vgpu_console.runtime import Fleet


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (None, {"gpu-01", "gpu-02.example.net", "GPU-03"}),
        (frozenset({"gpu-01"}), {"gpu-01"}),
        (frozenset({"gpu-02"}), {"gpu-02.example.net"}),
        (frozenset({"gpu-01.example.net", "gpu-03"}), {"gpu-01", "GPU-03"}),
        (frozenset({"gpu"}), set()),
        (frozenset[str](), set()),
    ],
)
def test_only_these_hosts_get_sources(wanted: frozenset[str] | None, asked: set[str]) -> None:
    made: set[str] = set()

    def sources(host: str, nudge: Callable[[], None]) -> Iterable[FactSource]:
        made.add(host)
        return ()

    collector = Collector(
        [],
        sources,
        pacing=lambda kind, hosts: 5.0,
        deadline=lambda kind: 5.0,
        expected_hosts=("gpu-01", "gpu-02.example.net", "GPU-03"),
        hosts=wanted,
    )
    assert made == asked
    collector.close()


def test_a_fleet_of_which_one_host_is_read() -> None:
    fleet = Fleet(Settings(), DemoChoice(), hosts=frozenset({"gpu-05"}))
    try:
        snapshot = fleet.snapshot(20.0)
        read: set[tuple[SourceKind, str]] = {(s.kind, s.host) for s in snapshot.sources if s.host}
        assert read == {("libvirt", "gpu-05"), ("ssh", "gpu-05")}
        assert {h.name for h in snapshot.hosts} > {"gpu-01", "gpu-05"}  # Nova names them all
        assert snapshot.errors == ()
    finally:
        fleet.close()
