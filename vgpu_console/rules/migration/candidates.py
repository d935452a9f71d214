"""Where a server with vGPUs could go: every other host, the best first, each rejection with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vgpu_console.model.check import Check
from vgpu_console.model.placement import Candidates
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.migration.destinations import room_for
from vgpu_console.rules.migration.downtime import (
    SWITCH_OVER_MS,
    Downtime,
    PastMove,
    Rate,
    predict,
    tracks_dirty_pages,
)
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.migration.precheck import ORDER, Verdict, check_migration, verdict
from vgpu_console.rules.migration.scene import Scene, UnknownServer, scene_of


class DowntimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator configured or asked for: the network's rate, the switch-over's cost, the longest pause."""

    rate: Rate | None = None
    switch_over_ms: tuple[float, float] = SWITCH_OVER_MS
    max_downtime_ms: float | None = None


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One host as a destination. ``free`` are devices of the server's type there; ``reason`` what speaks against it."""

    host: str
    verdict: Verdict
    reason: str  # of the worst check; "" where all pass
    checks: tuple[Check, ...]
    predicted: Downtime
    free: int | None = None


def look_at(
    ground: Ground,
    server_id: str,
    destination: str,
    *,
    candidates: Candidates | None = None,
    settings: DowntimeSettings | None = None,
    past: Sequence[PastMove] = (),
) -> Destination:
    """The pre-checks of one move with its predicted downtime. Raises UnknownServer and UnknownHost."""
    settings = settings or DowntimeSettings()
    scene = scene_of(ground, server_id, destination, candidates=candidates, max_downtime_ms=settings.max_downtime_ms)
    predicted = predicted_for(scene, settings, past)
    scene = msgspec.structs.replace(scene, predicted=predicted)
    checks = check_migration(scene)
    word = verdict(checks)
    reason = "" if word == "pass" else next(c.evidence for c in checks if c.status == word)
    return Destination(
        host=destination, verdict=word, reason=reason, checks=checks, predicted=predicted, free=_free(scene)
    )


def destinations(
    ground: Ground,
    server_id: str,
    *,
    candidates: Candidates | None = None,
    in_tree: Mapping[str, Candidates] | None = None,
    settings: DowntimeSettings | None = None,
    past: Sequence[PastMove] = (),
) -> tuple[Destination, ...]:
    """Every host but the server's own, the best first: by verdict, by the fewest doubts, by the shortest pause.

    ``candidates`` is Placement's answer for all hosts; ``in_tree`` answers that were asked for one host each.
    Raises UnknownServer, and UnknownHost when the server's own host is not in the snapshot.
    """
    here = host_of(ground, server_id)
    found = [
        look_at(
            ground,
            server_id,
            host.name,
            candidates=(in_tree or {}).get(host.name, candidates),
            settings=settings,
            past=past,
        )
        for host in ground.snapshot.hosts
        if host.name != here
    ]
    return tuple(sorted(found, key=_rank))


def predicted_for(scene: Scene, settings: DowntimeSettings, past: Sequence[PastMove]) -> Downtime:
    """The downtime of the scene's move, by the server's memory and the framebuffers of the vGPUs it holds."""
    catalogue = load_catalogue()
    products = {g.address: g.product_id for g in scene.gpus}
    tracked = {
        tracks_dirty_pages(catalogue.architecture(d.type_name, products.get(d.gpu or ""))) for d in scene.devices
    }
    return predict(
        ram_mib=scene.server.ram_mib,
        framebuffer_mib=framebuffer_mib(scene),
        tracked=tracked.pop() if len(tracked) == 1 else None,
        type_name=type_label(scene),
        source=scene.source.name,
        destination=scene.destination.name,
        rate=settings.rate,
        switch_over_ms=settings.switch_over_ms,
        past=past,
    )


def framebuffer_mib(scene: Scene) -> int | None:
    """Of all its vGPUs; 0 for a server without one, None when a type's is not known."""
    if not scene.vgpus:
        return 0
    if not scene.devices:
        return None
    known = {(g.address, t.type_id): t.framebuffer_mib for g in scene.gpus for t in g.types}
    sizes = [known.get((d.gpu or "", d.type_id)) for d in scene.devices]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def type_label(scene: Scene) -> str:
    """What past moves are compared by: the names of the server's types, ids where a name is not known."""
    return " + ".join(sorted(d.type_name or d.type_id for d in scene.devices))


def host_of(ground: Ground, server_id: str) -> str | None:
    """Where Nova says that the server is. Raises UnknownServer."""
    server = ground.servers.get(server_id) or ground.nova_servers.get(server_id)
    if server is None:
        raise UnknownServer(server_id)
    return server.host


def _free(scene: Scene) -> int | None:
    rooms = [room_for(scene, type_id) for type_id in scene.types]
    counts = [room.free if room is not None else None for room in rooms]
    return None if None in counts or not counts else sum(n for n in counts if n is not None)


def _rank(one: Destination) -> tuple[int, int, int, float, str]:
    fails = sum(c.status == "fail" for c in one.checks)
    doubts = sum(c.status != "pass" for c in one.checks)
    high = one.predicted.high_ms
    return -ORDER[one.verdict], fails, doubts, float("inf") if high is None else high, one.host
