"""Where the jump line and the palette can go: views, hosts, servers, projects, by name and by alias."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vgpu_console.model.nova import Flavor
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens.render.frame import VIEWS


class Target(NamedTuple):
    """A place: its kind, what to call it, the name that ``follow()`` takes, and what stands beside it."""

    kind: str
    word: str
    name: str
    beside: str = ""


ALIASES = {
    "h": "fleet",
    "hosts": "fleet",
    "dashboard": "fleet",
    "srv": "servers",
    "vm": "servers",
    "vms": "servers",
    "instances": "servers",
    "limits": "quota",
    "projects": "quota",
    "mig": "migrations",
    "moves": "migrations",
    "changes": "journal",
    "log": "journal",
}
"""Other words for the views."""

_COMMANDS = (
    Target("command", "help", "app.help", "all keys"),
    Target("command", "refresh", "app.refresh_now", "ask every source now"),
    Target("command", "pause", "app.pause", "hold still, or go on"),
    Target("command", "theme", "app.theme", "the next theme"),
    Target("command", "export", "app.export", "write this screen as SVG and text"),
    Target("command", "quit", "app.exit_now", "leave the console"),
)
FIXED: tuple[Target, ...] = (*(Target("view", name, name, title) for name, title in VIEWS), *_COMMANDS)
"""The places that are there without any fleet."""

_COMMAND_ALIASES = {"q": "quit", "q!": "quit", "exit": "quit", "?": "help"}

_KINDS = {
    "host": "host",
    "h": "host",
    "server": "server",
    "srv": "server",
    "vm": "server",
    "project": "project",
    "p": "project",
    "flavor": "flavor",
    "f": "flavor",
}


def all_targets(snapshot: Snapshot | None, flavors: Iterable[Flavor] = ()) -> list[Target]:
    """Every place, the views first; of a flavor that is why it finds a host, or none."""
    targets = list(FIXED)
    if snapshot is not None:
        targets += [Target("host", h.name, h.name, "host") for h in snapshot.hosts]
        targets += [Target("server", s.name or s.id, s.id, f"server of {s.project}") for s in snapshot.servers]
        targets += [
            Target("project", q.project, f"{q.project_id}/{q.resource}", f"project {q.resource}")
            for q in snapshot.quotas
        ]
    targets += [Target("flavor", f.name or f.id, f.id, "explain flavor") for f in flavors]
    return targets


def score(wanted: str, word: str) -> int:
    """How well a word fits: higher is better, 0 is not at all. Prefix before inside before letters in their order."""
    wanted, word = wanted.casefold(), word.casefold()
    if not wanted:
        return 1
    if word == wanted:
        return 1000
    if word.startswith(wanted):
        return 800 - min(300, len(word))
    at = word.find(wanted)
    if at >= 0:
        return 400 - min(200, at)
    letters: Iterator[str] = iter(word)
    return 100 - min(99, len(word)) + 1 if all(c in letters for c in wanted) else 0


def search(typed: str, targets: Sequence[Target]) -> list[Target]:
    """The places that fit, the best first. ``host gpu`` looks among one kind only; an alias counts as its view."""
    text = " ".join(typed.split())
    first, _, rest = text.partition(" ")
    kind = _KINDS.get(first.casefold())
    if rest and kind is not None:
        targets = [t for t in targets if t.kind == kind]
        text = rest
    alias = ALIASES.get(text.casefold())
    command = _COMMAND_ALIASES.get(text.casefold())
    found: list[tuple[int, int, Target]] = []
    for place, target in enumerate(targets):
        points = max(score(text, target.word), score(text, target.name) if target.kind == "server" else 0)
        if (target.kind == "view" and target.name == alias) or (target.kind == "command" and target.word == command):
            points = 2000
        if points:
            found.append((-points, place, target))
    found.sort()
    return [target for _, _, target in found]
