"""What the screens ask of the rest of the program: an engine that delivers snapshots and can carry out plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.runner import World
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot


class LimitTarget(NamedTuple):
    """One project's limit of one resource."""

    project_id: str
    resource: str  # "class:VGPU"


class FleetEngine(Protocol):
    """Delivers snapshots from a thread of its own; the live one is ``fleet.engine.Engine``."""

    @property
    def paused(self) -> bool:
        """True while no source is asked."""
        ...

    @property
    def world(self) -> World | None:
        """What plans are applied to; None: this engine only watches. Its methods block: not for the UI loop."""
        ...

    @property
    def journal(self) -> Journal | None:
        """Where every change is written down; None: this engine only watches. Its methods block too."""
        ...

    def facts(self) -> Facts:
        """All that is known now; plans are made of it. Does not block."""
        ...

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        """Begin; returns at once. ``on_snapshot`` is called from the engine's thread."""
        ...

    def stop(self) -> None:
        """End; may take a moment."""
        ...

    def refresh_now(self) -> None:
        """Ask every source again; may block, so never call it on the UI loop."""
        ...

    def pause(self) -> None:
        """Ask no more until ``resume``."""
        ...

    def resume(self) -> None:
        """Ask again."""
        ...


@runtime_checkable
class Copier(Protocol):
    """What can put text into the operator's clipboard, and says what it did."""

    def say(self, text: str) -> None:
        """A message that goes away by itself."""

    def copy_text(self, text: str, what: str) -> None:
        """Copy a text; ``what`` names it in the toast."""
