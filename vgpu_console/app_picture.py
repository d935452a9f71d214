"""The dashboard as a terminal would show it, drawn without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.export import Picture, picture_of

if TYPE_CHECKING:
    from textual.pilot import Pilot

WIDTH = 160
_BESIDE_HOSTS = 20
"""Lines that a dashboard takes beside its hosts."""
_LEAST, _MOST = 32, 120

_PATIENCE_S = 20.0


class _OneSnapshot:
    """An engine that shows one snapshot and can do nothing."""

    paused = False
    world = None
    journal = None
    mover = None

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def facts(self) -> Facts:
        """None: nothing is planned."""
        return Facts(identity=self._snapshot.identity)

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        """None: Placement is not asked."""
        return Candidates(error="not asked for a picture")

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        """Show it."""
        on_snapshot(self._snapshot)

    def stop(self) -> None:
        """Nothing runs."""

    def refresh_now(self) -> None:
        """Nothing is asked."""

    def pause(self) -> None:
        """Nothing runs."""

    def resume(self) -> None:
        """Nothing runs."""


def dashboard(snapshot: Snapshot, settings: Settings, now: float) -> Picture:
    """The dashboard of a snapshot at ``now``, as high as its hosts need within reason. Raises TimeoutError."""
    height = min(max(_LEAST, len(snapshot.hosts) + _BESIDE_HOSTS), _MOST)
    app = VgpuConsoleApp(lambda: _OneSnapshot(snapshot), settings=settings, clock=lambda: now)
    pictures: list[Picture] = []

    async def look(pilot: Pilot[Any]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_S
        while app.snapshot is None and loop.time() < until:
            await pilot.pause(0.01)
        if app.snapshot is not None:
            await pilot.pause()  # what the snapshot has changed is laid out,
            await pilot.pause()  # and drawn
            pictures.append(picture_of(app))
        app.exit(0)

    asyncio.run(app.run_async(headless=True, size=(WIDTH, height), mouse=False, auto_pilot=look))
    if not pictures:
        raise TimeoutError("the dashboard was not drawn")
    return pictures[0]
