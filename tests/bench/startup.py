"""How long a command takes that asks nobody, beside openstackclient's."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.client import console, openstack
from tests.bench.figures import Figure, best_of, faster


def figures() -> Iterator[Figure]:
    """Help, and the whole of a small demo fleet, against the same of openstackclient."""
    ours, theirs = console(), openstack()
    yield faster("--help", best_of(7, [ours, "--help"]), "openstack --help", best_of(3, [theirs, "--help"]), 5)
    demo = best_of(7, [ours, "--demo", "hosts", "-o", "json"])
    yield faster("--demo hosts -o json, 6 hosts", demo, "openstack --version", best_of(5, [theirs, "--version"]), 1)
