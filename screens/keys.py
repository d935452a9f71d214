"""Every key of the console, as one table: bindings, key line, help, palette and the README's list come from it.

What changes the world comes from the registry of actions, under the registry's own ids, titles and keys; everything
else is written down here, with one ``action_…`` method each.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.cells import cell_len
from textual.binding import ActiveBinding, Binding

from vgpu_console.actions.registry import ACTIONS, Action
from vgpu_console.screens.widgets.cells import Span

Scope = Literal["app", "view", "fleet", "timeline", "drain", "doctor", "replay"]
"""Where a key is bound: on the application, on every view with a table, on the fleet's own screens only, on the
timeline of a live migration, on the table of a drain, on the doctor's findings, or wherever a recording is shown."""

Group = Literal["Views", "Table", "Change", "Fleet", "Console"]


@dataclass(frozen=True)
class Key:
    """A key with the id that the configuration's ``[keys]`` table uses to move it.

    ``word`` is for the key line, ``help`` for the help screen, the palette and the README. A ``reason`` keeps the key
    visible and dim: pressing it says the reason. ``views`` are the views whose key line shows it; empty: all.
    """

    id: str
    keys: str
    action: str
    word: str
    help: str
    group: Group
    scope: Scope = "app"
    shown: bool = False
    reason: str = ""
    views: tuple[str, ...] = ()
    priority: bool = False
    """It works over dialogs too, and what is typed right after it goes to the dialog that it opens."""

    @property
    def first(self) -> str:
        """The key to show where there is room for one."""
        return self.keys.split(",")[0]


_WORDS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "migrate.start": (
        "move",
        ("fleet", "servers", "host", "migrations", "timeline"),
        "Check a live migration of the server under the cursor, and begin it",
    ),
    "quota.set": ("limit", ("fleet", "servers", "quota", "migrations"), ""),
    "quota.clear": ("clear", ("quota",), ""),
    "quota.default": ("default", ("quota",), ""),
    "mdev.create": ("new", ("fleet", "host"), "New vGPUs: create mediated devices, or set a function's type"),
    "mdev.remove": ("remove", ("host",), "Remove vGPUs: mediated devices, or a function's type"),
    "mdev.start": ("on/off", ("host",), "Start a mediated device that is defined, or stop one that runs"),
    "mdev.autostart": ("auto", ("host",), "Start a mediated device with its function from now on, or no longer"),
    "sriov.enable": ("VFs", ("host",), "Enable a GPU's virtual functions"),
}
"""Of an action: its word in the key line, the views that show it there, and its help where its title does not do."""


def _of_action(action: Action) -> Key:
    word, views, text = _WORDS[action.id]
    call = f"act('{action.id}')"
    return Key(action.id, action.key, call, word, text or action.title, "Change", "view", shown=True, views=views)


_OWNERS: Mapping[str, Action] = {one.key: one for one in reversed(ACTIONS) if one.key}
"""Of actions that share a key the first one gives it its id; which of them is meant depends on the row."""

ACTION_KEYS: tuple[str, ...] = tuple(one.id for one in ACTIONS if one.id in _WORDS and _OWNERS.get(one.key) is one)
"""The ids of the keys that change something: of the registry's actions those that the screens begin."""


def _on_timeline(id: str, keys: str, action: str, word: str, help: str) -> Key:
    return Key(id, keys, action, word, help, "Change", "timeline", shown=True, views=("timeline",))


_TIMELINE = (
    _on_timeline("migrate.abort", "a", "mend('migrate.abort')", "abort", "Abort the live migration that is shown"),
    _on_timeline(
        "migrate.force",
        "f",
        "mend('migrate.force')",
        "force (pauses guest)",
        "Force the live migration that is shown to its end: Nova pauses the guest until all is sent",
    ),
    _on_timeline(
        "migrate.reset", "R", "mend('migrate.reset')", "reset", "Reset the migrated server from ERROR to ACTIVE"
    ),
    _on_timeline(
        "migrate.heal", "H", "mend('migrate.heal')", "heal", "Free what the ended migration still holds in Placement"
    ),
    _on_timeline("timeline.copy", "c", "copy_commands", "copy commands", "Copy the commands that mend a migration"),
)


def _on_drain(id: str, keys: str, word: str, help: str) -> Key:
    return Key(id, keys, f"drain_key('{id}')", word, help, "Change", "drain", shown=True, views=("drain",))


_DRAIN = (
    _on_drain("drain.pause", "P", "pause", "Pause the drain that is shown: migrations go on, no more are started"),
    _on_drain("drain.resume", "R", "go on", "Go on with the drain that is shown"),
    _on_drain("drain.stop", "X", "stop", "Stop the drain that is shown: migrations go on to their end"),
    _on_drain("drain.accept", "C", "checks", "What servers of the drain wait for somebody to accept"),
    _on_drain("drain.enable", "E", "enable", "Let the scheduler use the drained host again"),
    _on_drain("drain.report", "i", "report", "The report of the drain: read, copy, write"),
    _on_drain("drain.commands", "c", "copy commands", "Copy the commands that do the rest of a drain"),
)


def _on_doctor(id: str, keys: str, action: str, word: str, help: str) -> Key:
    return Key(id, keys, action, word, help, "Fleet", "doctor", shown=True, views=("doctor",))


def _on_replay(id: str, keys: str, action: str, word: str, help: str) -> Key:
    return Key(id, keys, f"replay_{action}", word, f"In a replay: {help}", "Fleet", "replay", shown=bool(word))


_REPLAY = (
    _on_replay("replay.play", "space", "play", "play/pause", "play, or pause"),
    _on_replay("replay.step", "full_stop", "step(1)", "step", "one frame on, and pause"),
    _on_replay("replay.step-back", "comma", "step(-1)", "", "one frame back, and pause"),
    _on_replay("replay.minute", "right_square_bracket", "skip(60)", "minute", "a minute on"),
    _on_replay("replay.minute-back", "left_square_bracket", "skip(-60)", "", "a minute back"),
    _on_replay("replay.ten", "greater_than_sign", "skip(600)", "10 min", "ten minutes on"),
    _on_replay("replay.ten-back", "less_than_sign", "skip(-600)", "", "ten minutes back"),
    _on_replay("replay.event", "right_parenthesis", "mark(1)", "event", "to where the next finding or migration began"),
    _on_replay("replay.event-back", "left_parenthesis", "mark(-1)", "", "to where the one before began"),
    _on_replay("replay.faster", "right_curly_bracket", "speed(1)", "faster", "faster"),
    _on_replay("replay.slower", "left_curly_bracket", "speed(-1)", "", "slower"),
    _on_replay("replay.time", "at", "time", "time", "to a time that is typed"),
)
"""First in the key line of a replay, where no key changes anything."""

_PLACED = ("migrate.start", "sriov.enable")
"""Actions whose keys have a place of their own among the others: where room is short the first are said."""

KEYS: tuple[Key, ...] = (
    *(_of_action(one) for one in ACTIONS if one.id == "migrate.start"),
    Key(
        "drain",
        "d",
        "drain",
        "drain",
        "Drain the host under the cursor, or move the marked servers away: the plan first",
        "Change",
        "view",
        shown=True,
        views=("fleet", "servers", "host"),
    ),
    *(_of_action(one) for one in ACTIONS if one.id in ACTION_KEYS and one.id not in _PLACED),
    *_TIMELINE,
    *_DRAIN,
    Key(
        "nova-side",
        "N",
        "nova_side",
        "Nova",
        "What Nova and Placement are told of a host's GPUs, and the nova.conf that would be true",
        "Fleet",
        "view",
        shown=True,
        views=("host",),
    ),
    *(_of_action(one) for one in ACTIONS if one.id == "sriov.enable"),
    Key(
        "what-if",
        "W",
        "what_if",
        "what if",
        "Can a project start so many servers of a flavor now?",
        "Fleet",
        "view",
        shown=True,
        views=("quota",),
    ),
    _on_doctor("finding-host", "h", "finding_host", "host", "Go to the host of the finding under the cursor"),
    _on_doctor(
        "unlooked", "u", "unlooked", "not looked at", "What the doctor could not look at, and what would show it"
    ),
    Key("filter", "/", "filter", "filter", "Filter the table as you type; esc clears", "Table", "view", shown=True),
    Key("sort", "s", "sort", "sort", "Choose the column to sort by", "Table", "view", shown=True),
    Key("sort-reverse", "S", "sort_reverse", "reverse", "Reverse the order", "Table", "view"),
    Key("jump", ":", "jump", "go to", "Go to a view, host, server or project by name", "Views", shown=True),
    Key(
        "explain",
        "e",
        "explain",
        "explain",
        "Why this server, project or host has a vGPU, or gets none (a flavor: `:flavor NAME`)",
        "Fleet",
        "view",
        shown=True,
    ),
    Key("copy", "y", "copy", "copy", "Copy the row's name, id or text", "Table", "view", shown=True),
    Key("help", "?,f1", "help", "help", "All keys that work here, searchable", "Console", shown=True),
    Key(
        "export",
        "ctrl+s",
        "export",
        "export",
        "Write this screen, or a report of the fleet, to a file",
        "Console",
        shown=True,
        priority=True,
    ),
    Key("view-fleet", "1", "view('fleet')", "fleet", "Hosts, quota and running migrations", "Views"),
    Key("view-servers", "2", "view('servers')", "servers", "Servers with vGPUs", "Views"),
    Key("view-quota", "3", "view('quota')", "quota", "Each project's vGPU limit and use", "Views"),
    Key("view-migrations", "4", "view('migrations')", "migrations", "Live migrations, running and ended", "Views"),
    Key(
        "view-doctor",
        "5,exclamation_mark",
        "view('doctor')",
        "doctor",
        "What is wrong, why, and what mends it",
        "Views",
    ),
    Key("view-journal", "6,J", "view('journal')", "journal", "What was changed, by whom, and how it ended", "Views"),
    Key("previous", "minus,backspace", "previous", "previous", "The view before this one", "Views"),
    Key("back", "escape", "back", "back", "Clear the filter, else one level back; never quits", "Views", "view"),
    Key("wide", "w", "wide", "wide", "The columns that had no room, in turn", "Table", "view"),
    Key("faults", "z", "faults", "faults", "Only rows with something wrong, or all", "Table", "view"),
    Key("pane-next", "tab", "app.focus_next", "pane", "The next pane", "Table", "view"),
    Key("pane-previous", "shift+tab", "app.focus_previous", "pane", "The pane before", "Table", "view"),
    Key("refresh", "r", "refresh_now", "refresh", "Ask every source again now", "Fleet"),
    Key("pause", "p", "pause", "pause", "Hold the screen still, or let it go on", "Fleet"),
    *_REPLAY,
    Key("palette", "ctrl+p", "command_palette", "palette", "Every command by name", "Console"),
    Key("theme", "T", "theme", "theme", "The next theme", "Console"),
    Key("quit", "q", "quit_or_back", "quit", "Quit; in a detail, back", "Console"),
    Key("interrupt", "ctrl+c", "interrupt", "quit", "Twice: quit", "Console"),
)

BY_ID: Mapping[str, Key] = {key.id: key for key in KEYS}


def bindings(scope: Scope) -> list[Binding]:
    """Textual's bindings of one scope, each with its id, so that a keymap can move it."""
    return [
        Binding(k.keys, k.action, k.help, show=k.shown, id=k.id, priority=k.priority) for k in KEYS if k.scope == scope
    ]


TABLE_KEYS: Mapping[str, tuple[str, str]] = {
    "table.open": ("open", "Open the row under the cursor"),
    "table.up": ("up", "One row up"),
    "table.down": ("down", "One row down"),
    "table.page_up": ("page up", "One page up"),
    "table.page_down": ("page down", "One page down"),
    "table.first": ("first", "To the first row"),
    "table.last": ("last", "To the last row"),
    "table.mark": ("mark", "Mark the row, or take its mark away"),
    "table.clear_marks": ("clear marks", "Take all marks away"),
}
"""The table widget's own bindings, by id: word and help."""


DIALOG_IDS = (
    "dialog.close",
    "jump.complete",
    "server.host",
    "server.copy",
    "server.migrate",
    "server.explain",
    "explain.commands",
    "explain.copy",
    "explain.again",
    "explain.flavor",
    "explain.project",
    "explain.host",
    "check.plan",
    "check.next",
    "check.previous",
    "check.again",
    "check.copy",
    "drain.apply",
    "drain.accept-check",
    "drain.to",
    "drain.more",
    "drain.fewer",
    "drain.failures",
    "drain.service",
    "drain.again",
    "drain.copy",
    "destinations.any",
    "left.go-on",
    "left.look",
    "left.failed",
    "left.next",
    "left.previous",
    "left.copy",
    "accept.next",
    "accept.apply",
    "report.copy",
    "report.write",
    "finding.copy",
    "finding.host",
    "finding.server",
    "confirm.yes",
    "confirm.no",
    "confirm.apply",
    "confirm.accept",
    "confirm.copy",
    "change.again",
    "change.stop",
    "change.copy",
    "type.gpu",
    "type.persistent",
    "nova-side.copy",
    "unfinished.settle",
)
"""The bindings of dialogs, which show them themselves."""


def _table_bindings() -> list[Binding]:
    from vgpu_console.screens.widgets.fleet_table import FleetTable

    return [b for b in FleetTable.BINDINGS if isinstance(b, Binding) and b.id is not None]


def describe(binding: Binding) -> tuple[str, str, str]:
    """A binding's word, help and group, wherever it is bound."""
    key = BY_ID.get(binding.id or "")
    if key is not None:
        return key.word, key.help, key.group
    word, text = TABLE_KEYS.get(binding.id or "", (binding.description, binding.description))
    return word, text, "Table"


def unknown_ids(remapped: Iterable[str]) -> list[str]:
    """A line for each id of a keymap that no key has, with the nearest one that exists."""
    known = [*BY_ID, *TABLE_KEYS, *DIALOG_IDS]
    lines = []
    for wanted in remapped:
        if wanted in known:
            continue
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        lines.append(f"keys: no action is called {wanted}" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def key_line(
    active: Iterable[ActiveBinding], width: int, *, view: str = "", unavailable: Container[str] = ()
) -> list[Span]:
    """The keys that work now, in their order, as many as fit whole into ``width`` cells; help has its place always.

    Those that say a reason are dim throughout.
    """
    live: dict[str, ActiveBinding] = {}
    for one in active:
        key = BY_ID.get(one.binding.id or "")
        if one.binding.id is not None and one.binding.show and (key is None or not key.views or view in key.views):
            live.setdefault(one.binding.id, one)
    order = ["table.open", *(key.id for key in _REPLAY), *BY_ID]
    entries: list[tuple[str, str, str, bool]] = []
    for name in sorted(live, key=lambda n: order.index(n) if n in order else len(order)):
        one = live[name]
        key = BY_ID.get(name)
        dim = not one.enabled or (key is not None and bool(key.reason)) or name in unavailable
        entries.append((name, key_words(one.binding.key), describe(one.binding)[0], dim))
    spans: list[Span] = []
    for _, shown, word, dim in _fitting(entries, width):
        spans += [("  " if spans else " ", ""), (shown, "muted" if dim else "accent")]
        spans.append((f" {word}", "muted" if dim else ""))
    return spans


def _fitting(entries: list[tuple[str, str, str, bool]], width: int) -> list[tuple[str, str, str, bool]]:
    """The first that fit, and help in any case: who knows that key finds all others."""

    def size(entry: tuple[str, str, str, bool]) -> int:
        return cell_len(entry[1]) + cell_len(entry[2]) + 3  # a space between, and two before it

    help_at = next((i for i, entry in enumerate(entries) if entry[0] == "help"), None)
    kept = [] if help_at is None else [help_at]
    left = width + 1 - sum(size(entries[i]) for i in kept)  # before the first one space is enough
    for at, entry in enumerate(entries):
        if at == help_at:
            continue
        left -= size(entry)
        if left < 0:
            break
        kept.append(at)
    return [entries[at] for at in sorted(kept)]


_SHOWN_AS = {
    "minus": "-",
    "plus": "+",
    "escape": "esc",
    "question_mark": "?",
    "exclamation_mark": "!",
    "slash": "/",
    "colon": ":",
    "space": "space",
    "full_stop": ".",
    "comma": ",",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "circumflex_accent": "^",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "at": "@",
}


def key_words(keys: str) -> str:
    """Keys as they are written for eyes: ``minus,backspace`` becomes ``- backspace``."""
    words = []
    for key in keys.split(","):
        *modifiers, last = key.strip().split("+")
        if last.startswith("upper_"):
            last = last.removeprefix("upper_").upper()
        words.append("+".join([*modifiers, _SHOWN_AS.get(last, last)]))
    return " ".join(words)


def words_line(*pairs: tuple[str, str]) -> list[Span]:
    """Keys and words for the foot of the screen where something is typed."""
    return [(" ", ""), *(span for key, word in pairs for span in ((key, "accent"), (f" {word}  ", "")))]


class KeyRow(NamedTuple):
    """A key for the manual: as it is typed, what it does, its name in ``[keys]``, and what it is about."""

    key: str
    help: str
    id: str
    group: str


def key_rows() -> list[KeyRow]:
    """Every key that can be pressed somewhere, those of tables first."""
    rows = [KeyRow(key_words(b.key), TABLE_KEYS[b.id or ""][1], b.id or "", "Table") for b in _table_bindings()]
    return rows + [KeyRow(key_words(k.keys), k.help, k.id, k.group) for k in KEYS if not k.reason]


def markdown_table() -> str:
    """The keys as a Markdown table, for the README."""
    lines = ["| Key | Does | Name in `[keys]` |", "|---|---|---|"]
    lines += [f"| `{row.key}` | {row.help} | `{row.id}` |" for row in key_rows()]
    return "\n".join(lines) + "\n"
