"""What every view shares: the frame around its tables, and the keys that work on the table under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.explain.chain import Kind
from vgpu_console.screens import keys
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import frame
from vgpu_console.screens.render.empty import no_faults
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.seams import DeviceTarget, LimitTarget
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow
from vgpu_console.screens.widgets.source_strip import SourceStrip
from vgpu_console.screens.widgets.span_line import SpanLine
from vgpu_console.screens.widgets.title_line import TitleLine

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp


class FilterLine(Input):
    """The filter of the table, typed at the bottom of the screen."""

    def __init__(self) -> None:
        super().__init__(placeholder="filter: words, !without, column:word, column>3", id="filter-line", compact=True)


class TablePane(Container):
    """A table with its title line. The title carries the count, the filter and what the right end says."""

    def __init__(self, title: str, columns: Sequence[Column], *, noun: str, id: str, counted: bool = True) -> None:
        super().__init__(id=id)
        self.pane_title = title
        self.noun = noun
        self.counted = counted
        self.head = SpanLine(classes="pane-title")
        self.table = FleetTable(columns)
        self.faults_only = False
        self._seen: set[str] = set()
        self._all_columns = tuple(columns)
        self._right: tuple[Span, ...] = ()
        self._empty = ""
        self._unfiltered = 0
        self._shown: Sequence[TableRow] = ()

    def compose(self) -> ComposeResult:
        """The title above the table."""
        yield self.head
        yield self.table

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Give the columns other priorities; they must have the keys and the order they had."""
        self._all_columns = tuple(columns)
        self._seen = set()
        self.table.set_columns(columns)

    def show(self, rows: Sequence[TableRow], *, empty: str, right: Sequence[Span] = (), of: int | None = None) -> None:
        """Show rows; ``empty`` says why there are none. ``of`` counts those too that ``faults_only`` hides."""
        self._empty = empty
        self._unfiltered = len(rows) if of is None else of
        self._right = tuple(right)
        if len(rows) != len(self._shown) or any(new is not old for new, old in zip(rows, self._shown, strict=True)):
            self._shown = rows
            self.table.set_rows(rows)
        self.restate()

    def turn_columns(self) -> str:
        """Give the columns that had no room yet the first claim to it; after the last, the usual ones. Says which."""
        every = [c.key for c in self._all_columns]
        self._seen |= set(self.table.shown_columns)
        if self._seen.issuperset(every):
            usual = self._seen == set(self.table.shown_columns)
            self._seen = set()
            self.table.set_columns(self._all_columns)
            if usual:
                return "every column has room"
        else:
            # The first column says which row it is, so it always stays.
            self.table.set_columns(
                [
                    replace(c, priority=0 if i == 0 else i + (100 if c.key in self._seen else 0))
                    for i, c in enumerate(self._all_columns)
                ]
            )
        shown = set(self.table.shown_columns)
        return "columns: " + ", ".join(c.title for c in self._all_columns if c.key in shown)

    def restate(self) -> None:
        """Bring the title and the reason for emptiness up to date."""
        table = self.table
        if self.faults_only and self._unfiltered:
            table.set_empty(no_faults(self._unfiltered, self.noun))
        else:
            table.set_empty(self._empty)
        left = frame.count_span(
            self.pane_title,
            (len(table.rows), self._unfiltered) if self.counted or table.filter_text else None,
            table.filter_text,
            self.faults_only,
        )
        if table.marks:
            left += ((f"  {len(table.marks)} marked", "accent"),)
        self.head.set_spans(left, self._right)

    @on(FleetTable.Counted)
    @on(FleetTable.Marked)
    def _recount(self) -> None:
        self.restate()


class ViewScreen(Screen[None]):
    """A view of the fleet. Subclasses give ``body()`` and ``show_snapshot()``."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("view")]
    AUTO_FOCUS = "FleetTable"
    view: ClassVar[str] = ""
    place: ClassVar[str] = ""
    """What the key line goes by where a detail has keys of its own; else the view."""
    detail: ClassVar[bool] = False
    """True on screens that were drilled down to: there q goes back."""

    @property
    def console(self) -> VgpuConsoleApp:
        """The application."""
        return cast("VgpuConsoleApp", self.app)

    @property
    def narrow(self) -> bool:
        """Below 100 columns."""
        return self.app.size.width < 100

    # The frame ----------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Title, sources, tabs, the body, the filter line and the key line."""
        with Container(id="frame"):
            yield TitleLine(id="title")
            yield SourceStrip(id="sources", clock=self.console.now)
            yield SpanLine(id="tabs")
            with Container(id="body"):
                yield from self.body()
            yield FilterLine()
            yield from self.console.frame_lines()
            yield SpanLine(id="keys")
        yield Lines(
            (("This window is too small.", "warn"),), (("60 × 15 characters are the least.", "muted"),), id="too-small"
        )

    def body(self) -> Iterable[Widget]:
        """The widgets of the view."""
        raise NotImplementedError

    def show_snapshot(self, snapshot: Snapshot | None, now: float) -> None:
        """Bring the body up to date; called with every snapshot and every second."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """The first picture, before any source has answered."""
        self.query_one(FilterLine).display = False
        self.update()

    def on_screen_resume(self) -> None:
        """What came while another screen was in front."""
        if self.is_mounted:
            self.update()

    def on_resize(self, _event: events.Resize) -> None:
        """The frame's lines depend on the width."""
        self.call_after_refresh(self.update)

    def update(self) -> None:
        """Show what is known now. Widgets repaint only what changed. Nothing while the console is being taken down."""
        if not self.is_mounted or not self.app.is_running:
            return
        snapshot, now = self.console.snapshot, self.console.now()
        narrow = self.narrow
        notices = self.console.notices()
        if snapshot is not None:
            self.query_one(TitleLine).show(snapshot.identity, *notices)
            self.query_one(SourceStrip).show(snapshot)
        self.query_one("#tabs", SpanLine).set_spans(frame.tab_spans(snapshot, self.view, narrow=narrow))
        self.show_snapshot(snapshot, now)
        self.show_keys()

    def more_rows(self, *caches: RowCache[Any]) -> None:
        """Come back soon for the rows that a cache left for later."""
        if not all(cache.complete for cache in caches):
            self.set_timer(0.03, self.update)

    def show_keys(self) -> None:
        """The keys that work here, those that say a reason dim."""
        line = self.query_one("#keys", SpanLine)
        if self.query_one(FilterLine).has_focus:
            line.set_spans(keys.words_line(("enter", "keep"), ("esc", "clear")))
        else:
            active = self.active_bindings.values()
            width = self.app.size.width - 1
            line.set_spans(keys.key_line(active, width, view=self.place or self.view, unavailable=self.unavailable()))

    # The table in question ----------------------------------------------------------------------------------------

    @property
    def pane(self) -> TablePane | None:
        """The pane whose table has the focus, else the first one that is shown."""
        panes = [p for p in self.query(TablePane) if p.display and p.table.is_on_screen]
        for pane in panes:
            if pane.table.has_focus:
                return pane
        aimed = [p for p in panes if p.id == self._aimed]
        return next(iter(aimed or panes), None)

    _aimed: str | None = None

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember the pane, so that the filter line works on it; the key line depends on the focus."""
        for node in event.widget.ancestors:
            if isinstance(node, TablePane):
                self._aimed = node.id
        self.show_keys()

    @on(FleetTable.Vanished)
    def _vanished(self, event: FleetTable.Vanished) -> None:
        event.stop()
        if any(pane.faults_only for pane in self.query(TablePane) if pane.table is event.table):
            return  # it may be there, with nothing wrong any more
        self.console.say(f"{self.name_of(event.row_id)} is not in the fleet any more", "warning")

    def name_of(self, row_id: str) -> str:
        """What a row is called in a message."""
        return row_id

    # Keys ---------------------------------------------------------------------------------------------------------

    def limit_targets(self) -> Sequence[LimitTarget]:
        """The limits that a key for limits is about: of the marked rows, else of the row under the cursor."""
        return ()

    def device_targets(self, key_id: str) -> Sequence[DeviceTarget]:
        """What a key for devices is about: the row under the cursor, and for some keys the marked rows instead."""
        return ()

    def server_target(self) -> str | None:
        """The id of the server that a key is about: that of the row under the cursor."""
        return None

    def drain_target(self) -> Mapping[str, frozenset[str] | None]:
        """The hosts that servers are to leave, each with those servers; None: all of them. Empty: nothing is meant."""
        return {}

    def why_not(self, action_id: str) -> str:
        """Why an action is not possible here and now; "" when it is."""
        if action_id.startswith("migrate."):
            return self.console.changes.moves.why_not_check(self.server_target())
        if not action_id.startswith("quota."):
            return self.console.changes.devices.why_not(action_id, self.device_targets(action_id))
        why = self.console.why_not(action_id)
        return why or ("" if self.limit_targets() else "no project is under the cursor (3 shows them)")

    def unavailable(self) -> dict[str, str]:
        """The ids of the keys for changes that are not possible here and now, with why."""
        found = {one: why for one in keys.ACTION_KEYS if (why := self.why_not(one))}
        why = self.console.changes.drains.why_not(self.drain_target())
        return {**found, "drain": why} if why else found

    def action_act(self, action_id: str) -> None:
        """Begin what the key of an action means on what is under the cursor or marked, or say why it cannot be."""
        why = self.why_not(action_id)
        if why:
            self.console.say(f"{keys.BY_ID[action_id].word}: {why}", "warning")
        elif action_id.startswith("migrate."):
            self.console.changes.moves.begin(self.server_target() or "")
        elif action_id.startswith("quota."):
            self.console.changes.limits.begin(action_id, self.limit_targets())
        else:
            self.console.changes.devices.begin(action_id, self.device_targets(action_id))

    def action_drain(self) -> None:
        """Show the plan of a drain of what is under the cursor or marked, or say why there is none."""
        wanted = self.drain_target()
        why = self.console.changes.drains.why_not(wanted)
        if why:
            self.console.say(f"drain: {why}", "warning")
        else:
            self.console.changes.drains.begin(wanted)

    def action_nova_side(self) -> None:
        """Show what Nova and Placement are told of the host under the cursor."""
        target = next(iter(self.device_targets("nova-side")), None)
        if target is None:
            self.console.say("no host is under the cursor (1 shows them)")
            return
        from vgpu_console.screens.dialogs.nova_side import NovaSideDialog

        self.app.push_screen(NovaSideDialog(target.host, self.console.snapshot))

    def explain_target(self) -> tuple[Kind, str] | None:
        """What is under the cursor, to be explained: a server before the host it is on, a host before a project."""
        server = self.server_target()
        if server is not None:
            return "server", server
        device = next(iter(self.device_targets("explain")), None)
        if device is not None:
            return "host", device.host
        limit = next(iter(self.limit_targets()), None)
        return ("project", limit.project_id) if limit is not None else None

    def action_explain(self) -> None:
        """Show why what is under the cursor has a vGPU, or gets none."""
        target = self.explain_target()
        if target is None:
            self.console.say("no server, host or project is under the cursor (: flavor NAME explains a flavor)")
        else:
            self.console.open_explanation(*target)

    def action_what_if(self) -> None:
        """Ask whether a project could start servers now."""
        targets = self.limit_targets()
        self.console.changes.what_if(targets[0].project_id if targets else None)

    def action_reserved(self, key_id: str) -> None:
        """Say why a kept key does nothing yet."""
        self.console.say(keys.BY_ID[key_id].reason)

    def action_filter(self) -> None:
        """Open the filter line."""
        pane = self.pane
        if pane is None:
            self.console.say("nothing to filter here")
            return
        self._aimed = pane.id
        line = self.query_one(FilterLine)
        line.value = pane.table.filter_text
        line.display = True
        line.focus()

    @on(Input.Changed, "#filter-line")
    def _filter_typed(self, event: Input.Changed) -> None:
        event.stop()
        pane = self.pane
        if pane is not None and event.input.display:
            pane.table.filter(event.value)
            pane.restate()

    @on(Input.Submitted, "#filter-line")
    def _filter_kept(self, event: Input.Submitted) -> None:
        event.stop()
        self._close_filter()

    def select(self, row_id: str) -> None:
        """Put the cursor of the view's first table on a row; a filter that hides it is taken away."""
        pane = self.pane
        if pane is not None and not pane.table.select(row_id) and self.clear_filter():
            pane.table.select(row_id)

    def filter_to(self, text: str) -> None:
        """Filter the view's first table, as if it had been typed."""
        pane = self.pane
        if pane is not None:
            pane.table.filter(text)
            pane.restate()

    def _close_filter(self) -> None:
        pane = self.pane
        self.query_one(FilterLine).display = False
        if pane is not None:
            pane.table.focus()

    def clear_filter(self) -> bool:
        """Take the filter away; False when there was none and its line was not open."""
        line, pane = self.query_one(FilterLine), self.pane
        had = line.display or bool(pane and pane.table.filter_text)
        if pane is not None:
            pane.table.filter("")
            pane.restate()
        if line.display:
            self._close_filter()
            line.value = ""
        return had

    def action_back(self) -> None:
        """Clear the filter; else leave a detail; at the top nothing, since escape never quits."""
        if not self.clear_filter() and self.detail:
            self.console.leave_detail()

    def action_sort(self) -> None:
        """Choose a column to sort by; choosing the current one again reverses."""
        pane = self.pane
        if pane is None:
            return
        from vgpu_console.screens.dialogs.sort import SortDialog

        table = pane.table

        def chosen(key: str | None) -> None:
            if key is not None:
                table.sort(key, not table.sort_reverse if key == table.sort_key else False)

        self.app.push_screen(SortDialog(table.columns, table.sort_key, table.sort_reverse), chosen)

    def action_sort_reverse(self) -> None:
        """Turn the order around."""
        pane = self.pane
        if pane is None:
            return
        if pane.table.sort_key is None:
            self.console.say("not sorted by a column yet: s chooses one")
            return
        pane.table.sort(pane.table.sort_key, not pane.table.sort_reverse)

    def action_wide(self) -> None:
        """Turn to the columns that there was no room for; after the last, back to the usual ones."""
        pane = self.pane
        if pane is not None:
            self.console.say(pane.turn_columns())

    def action_faults(self) -> None:
        """Only rows that need an eye, or all."""
        pane = self.pane
        if pane is None:
            return
        pane.faults_only = not pane.faults_only
        self.update()

    def action_copy(self) -> None:
        """Choose what of the row to copy."""
        pane = self.pane
        row = pane.table.cursor_row if pane else None
        if pane is None or row is None:
            self.console.say("no row to copy")
            return
        from vgpu_console.screens.dialogs.copy import CopyDialog

        choices = [*self.copies_of(row.id), ("t", "the row as text", row_text(row))]
        choices.append(("a", f"all {len(pane.table.rows)} rows shown", table_text(pane.table)))
        self.app.push_screen(CopyDialog(choices), self.console.copy_chosen)

    def copies_of(self, row_id: str) -> list[tuple[str, str, str]]:
        """What can be copied of a row beside its text: key, what it is, and the text."""
        return [("n", "name", self.name_of(row_id))]


def row_text(row: TableRow) -> str:
    """A row's words, cells separated by two spaces."""
    return "  ".join(cell.text.strip() for cell in row.cells if cell.text.strip())


def table_text(table: FleetTable) -> str:
    """The shown rows with a line of titles, as tab-separated text."""
    lines = ["\t".join(column.title for column in table.columns)]
    lines += ["\t".join(cell.text.strip() for cell in row.cells) for row in table.rows]
    return "\n".join(lines) + "\n"
