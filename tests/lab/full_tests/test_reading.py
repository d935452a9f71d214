"""What the console reads from a cloud and hosts of which nothing that it asks is made up."""

from __future__ import annotations

from typing import Any

from tests.lab.full_tests.full_console import FullConsole
from tests.lab.full_tests.full_lab import DESTINATION, HOSTS, SOURCE, TYPE


def test_hosts_devices_providers_allocations(console: FullConsole, server: Any) -> None:
    snapshot = console.look()
    assert [(s.key, s.error) for s in snapshot.sources if s.error] == []
    hosts = {h.name: h for h in snapshot.hosts}
    assert set(hosts) == set(HOSTS)
    for name, host in hosts.items():
        assert (host.service_state, host.service_status) == ("up", "enabled"), name
        assert [g.product_id for g in host.gpus or ()] == ["20f1", "20f1"], name
    devices = [(d.host, d.uuid, d.type_id, d.server_id) for d in snapshot.mdevs if d.server_id]
    (held,) = console.lab.held(SOURCE, server.id)
    assert devices == [(SOURCE, held, TYPE, server.id)]
    offered = sorted(
        (p.host, i.total) for p in snapshot.providers for i in p.inventories or () if i.resource_class == "VGPU"
    )
    assert offered == sorted([(host, 1) for host in HOSTS] * 8)
    known = next(s for s in snapshot.servers if s.id == server.id)
    assert (known.host, known.status, known.vgpus) == (SOURCE, "ACTIVE", 1)


def test_commands(console: FullConsole, server: Any) -> None:
    hosts = {row["name"]: row for row in console.json("hosts")}
    assert set(hosts) == {SOURCE, DESTINATION}
    assert (hosts[SOURCE]["mdevs_used"], hosts[DESTINATION]["mdevs_used"]) == (1, 0)
    assert (hosts[SOURCE]["vfs_enabled"], hosts[SOURCE]["gpus"]) == (8, 2)
    (mdev,) = [row for row in console.json("mdevs") if row["server_id"] == server.id]
    assert (mdev["host"], mdev["type_id"]) == (SOURCE, TYPE)
    (row,) = console.json("servers")
    assert (row["id"], row["host"], row["status"]) == (server.id, SOURCE, "ACTIVE")
