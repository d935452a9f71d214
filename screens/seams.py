"""What the screens ask of the rest of the program: an engine that delivers snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from vgpu_console.model.snapshot import Snapshot


class FleetEngine(Protocol):
    """Delivers snapshots from a thread of its own; the live one is ``fleet.engine.Engine``."""

    @property
    def paused(self) -> bool:
        """True while no source is asked."""
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

    def copy_text(self, text: str, what: str) -> None:
        """Copy a text; ``what`` names it in the toast."""
