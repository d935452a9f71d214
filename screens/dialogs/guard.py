"""Against keys that were not meant: what a held key repeats, and what was typed for the screen before."""

from __future__ import annotations

from collections.abc import Callable

OPENING_S = 0.3
"""For so long after a dialog appeared no key confirms anything."""

REPEAT_S = 0.15
"""Two confirming keys closer than this are one key held down: terminals repeat 25 to 40 times a second."""


class InputGuard:
    """Lets confirming keys through once the operator can have read what they confirm. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened = clock()
        self._last = float("-inf")

    def lets_pass(self) -> bool:
        """Whether a key that was pressed now counts. Also a key that does not count keeps the next repeat out."""
        now = self._clock()
        passes = now - self._opened >= OPENING_S and now - self._last >= REPEAT_S
        self._last = now
        return passes
