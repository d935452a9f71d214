"""One live migration as it goes and as it ended: phases, copying, downtime, events, and the keys that mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from vgpu_console.model.migration_end import Mend
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens import keys
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render import words
from vgpu_console.screens.render.timeline import elapsed, timeline_lines, title_spans
from vgpu_console.screens.view import ViewScreen
from vgpu_console.screens.widgets.cells import glyphs
from vgpu_console.screens.widgets.span_line import SpanLine

_NO_TABLE = frozenset({"filter", "sort", "sort_reverse", "wide", "faults"})
"""What keys of tables do: here is none."""


def _mends(timeline: Timeline) -> Sequence[Mend]:
    """What can be done now; nothing in the seconds after an end, when Nova still tidies up."""
    story = timeline.story
    return () if story is None or (story.over and not timeline.settled) else story.mends


class TimelinePage(Page):
    """The lines of the timeline, over the whole body."""

    def fit(self) -> None:
        """The screen's layout gives it the height."""


class TimelineScreen(ViewScreen):
    """Follows what it shows for as long as the console lives; leaving the screen ends nothing."""

    view = "migrations"
    place = "timeline"
    detail = True
    AUTO_FOCUS = "TimelinePage"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("timeline")]

    def __init__(self, migration: str, server_id: str, name: str) -> None:
        """``migration`` is Nova's uuid, "" for the one that the server has just begun."""
        super().__init__()
        self._migration = migration
        self._server_id = server_id
        self._server_name = name

    def body(self) -> Iterable[Widget]:
        """The headline and the lines."""
        yield SpanLine(id="timeline-title")
        yield TimelinePage(self._lines, id="timeline-page")

    def on_mount(self) -> None:
        """Follow it, if nobody does yet."""
        mover = self.console.changes.moves.mover
        if mover is not None and self._migration and mover.timeline(self._migration) is None:
            mover.follow_migration(self._migration, self._server_id)

    @property
    def timeline(self) -> Timeline | None:
        """What is known now; None while nothing is."""
        mover = self.console.changes.moves.mover
        found = mover.timeline(self._migration or self._server_id) if mover is not None else None
        if found is not None and found.migration and not self._migration:
            self._migration = found.migration  # a later one of the same server is another screen's
        return found

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the headline and the lines up to date."""
        found = self.timeline
        head = self.query_one("#timeline-title", SpanLine)
        if found is None:
            head.set_spans(((self._server_name, "title"),))
        else:
            started = words.time_of(found.created_at)[-8:] if found.created_at else ""
            right = "   ".join(part for part in (f"started {started}" if started else "", elapsed(found, now)) if part)
            head.set_spans(title_spans(found), ((right, "muted"),))
        self.query_one(TimelinePage).restate()

    def _lines(self, width: int) -> Sequence[Line]:
        found = self.timeline
        if found is None:
            return [((f"asking Nova for the migration {glyphs().pending}", "muted"),)]
        return timeline_lines(found, width, self.console.now())

    # Keys ---------------------------------------------------------------------------------------------------------

    def server_target(self) -> str | None:
        """Its server: one that did not move may be tried again."""
        return self._server_id

    def unavailable(self) -> dict[str, str]:
        """Also those of the migration itself."""
        found, moves = self.timeline, self.console.changes.moves
        acts = [k.id for k in keys.KEYS if k.scope == "timeline" and k.id.startswith("migrate.")]
        mends = {one: moves.why_not_act(one, found) for one in acts}
        return {**super().unavailable(), **{one: why for one, why in mends.items() if why}}

    @property
    def _commands(self) -> list[str]:
        found = self.timeline
        return [m.command for m in _mends(found) if m.command] if found is not None else []

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mend are there only where there is something to mend; those of a running one until its end."""
        found = self.timeline if action in ("mend", "act") else None
        if action in _NO_TABLE:
            return False
        if action == "act" and parameters == ("migrate.start",):
            return found is None or found.end is not None
        if action == "copy_commands":
            return bool(self._commands)
        if action != "mend":
            return super().check_action(action, parameters)
        story = found.story if found is not None else None
        if parameters[0] in ("migrate.abort", "migrate.force"):
            return story is None or not story.over
        return story is not None and found is not None and any(m.action == parameters[0] for m in _mends(found))

    def action_mend(self, action_id: str) -> None:
        """Show the plan of an action on the migration, or say why there is none."""
        found, moves = self.timeline, self.console.changes.moves
        why = moves.why_not_act(action_id, found)
        if why:
            self.console.say(f"{keys.BY_ID[action_id].word}: {why}", "warning")
        elif found is not None:
            moves.act(action_id, found)

    def action_copy_commands(self) -> None:
        """Copy the commands of the mends."""
        if self._commands:
            self.console.copy_text("\n".join(self._commands), "the commands")
        else:
            self.console.say("there is no command to copy")

    def action_copy(self) -> None:
        """Copy what of it: the ids, the text."""
        from vgpu_console.screens.dialogs.copy import CopyDialog

        choices = [("i", "server id", self._server_id), ("t", "all of it as text", self.query_one(TimelinePage).text)]
        if self._migration:
            choices.insert(0, ("u", "migration uuid", self._migration))
        self.app.push_screen(CopyDialog(choices), self.console.copy_chosen)
