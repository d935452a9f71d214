"""The pre-checks of many servers against many hosts: each pair once, and servers that are alike only once for all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Server
from vgpu_console.model.placement import Candidates
from vgpu_console.model.snapshot import MediatedDevice, Snapshot, VgpuServer
from vgpu_console.rules.migration.candidates import Destination, DowntimeSettings, look_at
from vgpu_console.rules.migration.downtime import PastMove
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.migration.scene import Scene, UnknownServer, scene_of

OF_THE_SERVER = frozenset(
    f"migrate.{word}"
    for word in (
        "server-state",
        "server-locked",
        "flavor",
        "guest",
        "other-devices",
        "double-allocation",
        "concurrency",
        "no-vgpu",
    )
)
"""Checks whose answer is the same for every destination: they do not tell one from the other."""


class Pairs:
    """Looks at one server and one destination. Raises UnknownServer and UnknownHost like ``look_at``."""

    def __init__(
        self,
        snapshot: Snapshot,
        facts: Facts,
        now: float,
        *,
        answers: Mapping[str, Mapping[str, Candidates]] | None = None,
        settings: DowntimeSettings | None = None,
        past: Sequence[PastMove] = (),
    ) -> None:
        self.ground = Ground(snapshot, facts, now)
        self.looks = 0  # how often checks were made, for those who count
        self._answers = answers or {}
        self._settings = settings
        self._past = past
        self._seen: dict[tuple[str, str], Destination] = {}
        self._alike: dict[tuple[Any, str], Destination] = {}
        self._kinds: dict[str, Any] = {}
        self._by_project = any("filter_tenant_id" in key for key in self._metadata())
        self._held: dict[str, list[MediatedDevice]] = defaultdict(list)
        for device in snapshot.mdevs:
            if device.server_id:
                self._held[device.server_id].append(device)

    @property
    def servers(self) -> Mapping[str, VgpuServer]:
        """Those with vGPUs, by id."""
        return self.ground.servers

    @property
    def rows(self) -> Mapping[str, Server]:
        """Nova's rows, by id."""
        return self.ground.nova_servers

    def candidates(self, server_id: str, host: str) -> Candidates | None:
        """Placement's answer for this server's flavor on that host, else the one for all hosts, where it was asked."""
        told = self._answers.get(server_id, {})
        return told.get(host, told.get(""))

    def host_of(self, server_id: str) -> str | None:
        """Where the server is. Raises UnknownServer."""
        if server_id in self.servers:
            return self.servers[server_id].host
        if server_id in self.rows:
            return self.rows[server_id].host
        raise UnknownServer(server_id)

    def devices(self, server_id: str) -> tuple[MediatedDevice, ...]:
        """The vGPUs that the server holds on its host, in a lasting order."""
        here = self.host_of(server_id)
        held = (d for d in self._held.get(server_id, ()) if d.host == here)
        return tuple(sorted(held, key=lambda d: (d.type_id, d.uuid or d.parent or "")))

    def root(self, host: str) -> str | None:
        """The uuid of a host's root provider."""
        return self.ground.roots.get(host)

    def look(self, server_id: str, host: str) -> Destination:
        """The pre-checks of the pair with the predicted downtime."""
        key = (server_id, host)
        if key not in self._seen:
            self.looks += 1
            self._seen[key] = look_at(
                self.ground,
                server_id,
                host,
                candidates=self.candidates(server_id, host),
                settings=self._settings,
                past=self._past,
            )
        return self._seen[key]

    def look_alike(self, server_id: str, host: str) -> Destination:
        """The same of a server that differs in nothing that a destination is judged by.

        The checks named in ``OF_THE_SERVER`` may be another server's.
        """
        if server_id not in self._kinds:
            self._kinds[server_id] = self._kind(server_id)
        key = (self._kinds[server_id], host)
        if key not in self._alike:
            self._alike[key] = self.look(server_id, host)
        return self._alike[key]

    def scene(self, server_id: str, host: str) -> Scene:
        """The scene of the pair."""
        return scene_of(self.ground, server_id, host)

    def _metadata(self) -> set[str]:
        """Keys that aggregates have."""
        return {key for of_host in (self.ground.aggregates or {}).values() for one in of_host for key in one.metadata}

    def _kind(self, server_id: str) -> Any:
        server, row = self.servers.get(server_id), self.rows.get(server_id)
        devices = tuple(
            (d.type_id, d.gpu or "", (d.parent or "") if d.mechanism != "mdev" else "") for d in self.devices(server_id)
        )
        specs = tuple(sorted(row.extra_specs.items())) if row is not None and row.extra_specs is not None else None
        known = server or row
        asked = self._answers.get(server_id)
        return (
            devices,
            server.vgpus if server is not None else 0,
            known.ram_mib if known is not None else None,
            known.flavor if known is not None else None,
            row.pinned_zone if row is not None else None,
            known.project_id if known is not None and self._by_project else "",  # only aggregates look at it
            row is None,
            specs,
            self.host_of(server_id),
            id(asked) if asked is not None else None,
        )
