"""What the command palette offers: every key's action, and the same places as the jump line.

The palette reads a hit's ``help`` as markup, so that is a constant here; names from the fleet go in as Content.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from vgpu_console.screens import keys
from vgpu_console.screens.targets import all_targets, score
from vgpu_console.text import plain

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp

_MOST = 40
_HELP = {
    "view": "view",
    "host": "host",
    "server": "server",
    "project": "project quota",
    "flavor": "explain flavor",
    "command": "command",
}


class ConsoleCommands(Provider):
    """Actions by what they do, and places by their name."""

    @property
    def _console(self) -> VgpuConsoleApp:
        return cast("VgpuConsoleApp", self.app)

    def _actions(self) -> list[tuple[str, Callable[[], object]]]:
        """Every action that works on the screen in front, with what it does."""
        found: dict[str, tuple[str, Callable[[], object]]] = {}
        for one in self.screen.active_bindings.values():
            key = keys.BY_ID.get(one.binding.id or "")
            if key is None or key.id == "palette" or key.reason:
                continue  # an action that is not possible now stays: it says why
            run = partial(self.app.run_action, one.binding.action, one.node)
            found.setdefault(key.id, (f"{key.help}  ({keys.key_words(one.binding.key)})", run))
        return list(found.values())

    async def discover(self) -> Hits:
        """The actions, before anything is typed."""
        for words, run in self._actions():
            yield DiscoveryHit(Content(words), run, text=words)

    async def search(self, query: str) -> Hits:
        """Actions and places that fit."""
        for words, run in self._actions():
            points = score(query, words)
            if points:
                yield Hit(points / 1000, Content(words), run, text=words)
        targets = all_targets(self._console.snapshot, self._console.flavors())
        places = [(score(query, t.word), t) for t in targets if t.kind != "command"]
        best = sorted((p for p in places if p[0]), key=lambda p: -p[0])[:_MOST]
        for points, target in best:
            shown = plain(target.word, 120)
            go = partial(self._console.follow, target.kind, target.name)
            yield Hit(points / 1000, Content(shown), go, text=shown, help=_HELP[target.kind])
