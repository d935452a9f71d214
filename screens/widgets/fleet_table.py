"""The fleet table: any number of rows, of which only the visible ones are drawn and only changed ones redrawn.

It draws line by line from immutable rows and remembers what it last drew where. After a change it compares that with
what should be there and asks the terminal for the differing cells alone, so that an unchanged refresh writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import ClassVar, NamedTuple, TypeAlias

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from vgpu_console.screens.widgets import row_filter, row_order, table_messages, table_paint
from vgpu_console.screens.widgets.cells import Cell, Span
from vgpu_console.screens.widgets.columns import Column, Placed, layout
from vgpu_console.screens.widgets.table_row import TableRow
from vgpu_console.screens.widgets.toned import Toned

__all__ = ["Cell", "Column", "FleetTable", "Span", "TableRow"]

FREEZE_S = 2.0
"""For so long after a cursor key the order stays, so that enter opens what was seen."""

AT_ONCE = 2000
"""Up to so many rows are put in order within the call itself."""


class _Drawn(NamedTuple):
    """What a line shows; two that are equal look the same."""

    row: TableRow | None
    cursor: bool = False
    marked: bool = False
    words: str = ""


class FleetTable(Toned, ScrollView, can_focus=True, inherit_bindings=False):
    """A table of rows with identity: sorted, filtered, marked, with its cursor on a row rather than on a line."""

    DEFAULT_CSS = """
    FleetTable {
        height: 1fr;
        width: 1fr;
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", id="table.open"),
        Binding("up,k", "move(-1)", "up", show=False, id="table.up"),
        Binding("down,j", "move(1)", "down", show=False, id="table.down"),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False, id="table.page_up"),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False, id="table.page_down"),
        Binding("home,g", "first", "first", show=False, id="table.first"),
        Binding("end,G", "last", "last", show=False, id="table.last"),
        Binding("space", "mark", "mark", show=False, id="table.mark"),
        Binding("ctrl+backslash", "clear_marks", "clear marks", show=False, id="table.clear_marks"),
    ]

    Opened: TypeAlias = table_messages.Opened
    Moved: TypeAlias = table_messages.Moved
    Vanished: TypeAlias = table_messages.Vanished
    Marked: TypeAlias = table_messages.Marked
    Counted: TypeAlias = table_messages.Counted

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        empty: str = "",
        id: str | None = None,
        classes: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._empty = empty
        self._clock = clock
        self._all: Sequence[TableRow] = ()
        self._rows: list[TableRow] = []
        self._counts = (0, 0)
        self._cursor = 0
        self._cursor_id: str | None = None
        self._pinned = False  # the operator, or a jump, has chosen a row
        self._marks: frozenset[str] = frozenset()
        self._sort_key: str | None = None
        self._sort_reverse = False
        self._filter = ""
        self._match: row_filter.Match | None = None
        self._drawn: dict[int, _Drawn] = {}
        self._layout: tuple[Placed, ...] = ()
        self._layout_width = -1
        self._frozen_until = 0.0
        self._thaw_timer: Timer | None = None
        self._empty_lines: tuple[tuple[int, int, str], dict[int, str]] | None = None
        self._arranger = row_order.Arranger(self._steps, self._show)
        self._clicked: str | None = None
        self._wanted: str | None = None

    # What a screen reads ------------------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, shown or not."""
        return self._columns

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """The keys of the columns that have room."""
        return tuple(placed.column.key for placed in self._placed())

    @property
    def rows(self) -> Sequence[TableRow]:
        """The rows that are shown: filtered and sorted."""
        return self._rows

    @property
    def total(self) -> int:
        """How many rows there are, shown or not."""
        return len(self._all)

    @property
    def cursor_row(self) -> TableRow | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    @property
    def cursor_id(self) -> str | None:
        """The identity of the row under the cursor."""
        return self._cursor_id

    @property
    def marks(self) -> frozenset[str]:
        """The identities of the marked rows, those that the filter hides included."""
        return self._marks

    @property
    def sort_key(self) -> str | None:
        """The key of the column that the rows are sorted by; None: in the order they were given."""
        return self._sort_key

    @property
    def sort_reverse(self) -> bool:
        """True when the largest comes first."""
        return self._sort_reverse

    @property
    def filter_text(self) -> str:
        """The filter in force; empty: none."""
        return self._filter

    # What a screen does -------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[TableRow]) -> None:
        """Show these rows. The cursor, the marks and the place on the screen follow the rows' identities.

        Many rows are put in order in small slices, and are shown when that is done.
        """
        self._all = rows
        self._arrange()

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Lay the columns out anew, e.g. with other priorities. They must have the keys and the order they had."""
        self._columns = tuple(columns)
        self._layout_width = -1
        self._drawn.clear()
        self.refresh()

    def set_empty(self, text: str) -> None:
        """Say why there are no rows."""
        if text != self._empty:
            self._empty = text
            self._redraw_changed()

    def select(self, row_id: str) -> bool:
        """Put the cursor on a row; False when it is not shown (then it is chosen once it is)."""
        index = self._find(row_id, self._cursor)
        if index is None:
            self._wanted = row_id
            return False
        self._wanted = None
        self._move_to(index)
        return True

    def filter(self, text: str) -> None:
        """Show only the rows that the text matches (``row_filter`` has the language); empty: all."""
        text = text.strip()
        if text != self._filter:
            self._filter = text
            self._match = row_filter.compile_filter(text, self._columns)
            self._unfreeze()
            self._arrange()

    def sort(self, key: str | None, reverse: bool = False) -> None:
        """Sort by a column; unknown values come last in both directions. Raises KeyError for a key of no column."""
        if key is not None and all(column.key != key for column in self._columns):
            raise KeyError(key)
        if (key, reverse) == (self._sort_key, self._sort_reverse):
            return
        self._sort_key, self._sort_reverse = key, reverse
        self._unfreeze()
        self._arrange()
        self.refresh(Region(0, 0, self.size.width, 1))

    def mark(self, row_ids: frozenset[str]) -> None:
        """Mark these rows and no others."""
        self._set_marks(row_ids)

    def clear_marks(self) -> None:
        """Take all marks away."""
        self._set_marks(frozenset())

    # Order --------------------------------------------------------------------------------------------------------

    def _steps(self) -> Generator[None, None, list[TableRow]]:
        column = next((i for i, one in enumerate(self._columns) if one.key == self._sort_key), None)
        arranged = yield from row_order.arrange(self._all, self._match, column, self._sort_reverse)
        if column is not None and self._frozen_until > self._clock():
            place = {row.id: position for position, row in enumerate(self._rows)}
            arranged.sort(key=lambda row: place.get(row.id, len(place)))
        return arranged

    def _arrange(self) -> None:
        """Put the rows in order: now when they are few, else in slices between other work of the loop."""
        if len(self._all) <= AT_ONCE or not self.is_attached:
            self._arranger.now()
        elif (work := self._arranger.ask()) is not None:
            self.run_worker(work, group="arrange")

    @property
    def arranging(self) -> bool:
        """True while many rows are being put in order; ``rows`` are the earlier ones until then."""
        return self._arranger.busy

    def _unfreeze(self) -> None:
        self._frozen_until = 0.0

    def _freeze(self) -> None:
        """Hold the order for a while after a cursor key, then catch up."""
        if self._sort_key is None:
            return
        self._frozen_until = self._clock() + FREEZE_S
        if self._thaw_timer is None:
            self._thaw_timer = self.set_timer(FREEZE_S, self._thaw)

    def _thaw(self) -> None:
        self._thaw_timer = None
        if not self._frozen_until:
            return
        left = self._frozen_until - self._clock()
        if left > 0:
            self._thaw_timer = self.set_timer(left, self._thaw)
        else:
            self._unfreeze()
            self._arrange()

    def _show(self, rows: list[TableRow]) -> None:
        """Take the arranged rows over: find the cursor's row again, keep its place on the screen, redraw the rest."""
        before = self._cursor_id
        height = max(0, self.size.height - 1)
        line = self._cursor - self.scroll_offset.y
        followed = 0 <= line < height
        self._rows = rows
        gone = None
        index = self._find(self._wanted, self._cursor) if self._wanted is not None else None
        if index is not None:
            self._wanted = None
            self._pinned = True
        elif not self._pinned and not self.has_focus:
            index = 0  # nobody has looked at a row yet: the cursor waits at the top
        elif before is not None:
            index = self._find(before, self._cursor)
            if index is None and all(row.id != before for row in self._all):
                gone = before
        if index is None:
            index = self._cursor
        self._cursor = index = max(0, min(index, len(rows) - 1))
        self._cursor_id = rows[index].id if rows else None
        if self._marks:
            there = {row.id for row in self._all}
            self._set_marks(self._marks & there)
        size = Size(0, len(rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        if followed:
            self._follow(line)
        self._redraw_changed()
        if gone is not None:
            self.post_message(self.Vanished(self, gone))
        if self._cursor_id != before:
            self.post_message(self.Moved(self, self._cursor_id))
        counts = (len(rows), len(self._all))
        if counts != self._counts:
            self._counts = counts
            self.post_message(self.Counted(self))

    def _follow(self, line: int) -> None:
        """After a change of order: leave the view as it is while it shows the cursor at the top of the list, else
        keep the cursor on its line of the screen."""
        height = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if top == 0 and self._cursor < height:
            return
        self._scroll_rows(self._cursor - line)

    def _find(self, row_id: str | None, near: int) -> int | None:
        rows = self._rows
        if near < len(rows) and rows[near].id == row_id:
            return near
        return next((index for index, row in enumerate(rows) if row.id == row_id), None)

    # Cursor, marks and keys -----------------------------------------------------------------------------------------

    def _scroll_rows(self, top: int) -> None:
        top = max(0, min(top, len(self._rows) + 1 - self.size.height))
        if top != self.scroll_offset.y or top != self.scroll_target_y:
            self.scroll_to(y=top, animate=False, force=True)

    def _move_to(self, index: int) -> None:
        """Put the cursor on a line, bring it into view, and redraw the two lines that changed."""
        if not self._rows:
            return
        index = max(0, min(index, len(self._rows) - 1))
        self._pinned = True
        moved = self._rows[index].id != self._cursor_id
        self._cursor = index
        self._cursor_id = self._rows[index].id
        self._reveal()
        self._redraw_changed()
        if moved:
            self.post_message(self.Moved(self, self._cursor_id))

    def _reveal(self) -> None:
        """Scroll as little as it takes to have the cursor in sight."""
        height = self.size.height - 1
        if height < 1:
            return
        if self._cursor < self.scroll_offset.y:
            self._scroll_rows(self._cursor)
        elif self._cursor >= self.scroll_offset.y + height:
            self._scroll_rows(self._cursor - height + 1)

    def action_move(self, step: int) -> None:
        """Move the cursor by lines."""
        self._clicked = None
        self._freeze()
        self._move_to(self._cursor + step)

    def action_page(self, step: int) -> None:
        """Move the cursor by pages; one line stays in sight."""
        self.action_move(step * max(1, self.size.height - 2))

    def action_first(self) -> None:
        """Go to the first row."""
        self.action_move(-len(self._rows))

    def action_last(self) -> None:
        """Go to the last row."""
        self.action_move(len(self._rows))

    def action_open(self) -> None:
        """Tell that the row under the cursor is to be opened."""
        if self._cursor_id is not None:
            self.post_message(self.Opened(self, self._cursor_id))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go one down."""
        if self._cursor_id is not None:
            self._set_marks(self._marks ^ {self._cursor_id})
            self.action_move(1)

    def action_clear_marks(self) -> None:
        """Take all marks away."""
        self.clear_marks()

    def _set_marks(self, marks: frozenset[str]) -> None:
        if marks != self._marks:
            self._marks = marks
            self._redraw_changed()
            self.post_message(self.Marked(self))

    def on_click(self, event: events.Click) -> None:
        """Choose the row; a second click on it opens it; a click on a title sorts by it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        event.stop()
        if offset.y == 0:
            self._sort_by_click(offset.x)
            return
        index = offset.y - 1 + self.scroll_offset.y
        if not 0 <= index < len(self._rows):
            return
        row_id = self._rows[index].id
        again = event.chain > 1 or self._clicked == row_id
        self._clicked = row_id
        self._move_to(index)
        if again:
            self.action_open()

    def _sort_by_click(self, x: int) -> None:
        for placed in self._placed():
            if placed.x <= x < placed.x + placed.width:
                key = placed.column.key
                self.sort(key, not self._sort_reverse if key == self._sort_key else False)

    # Drawing ------------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Keep the cursor in sight when there is less room."""
        if self._rows:
            self._reveal()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """The cursor line looks different without focus."""
        super().watch_has_focus(_has_focus)
        line = self._cursor - self.scroll_offset.y + 1
        if self._rows and 1 <= line < self.size.height:
            self.refresh(Region(0, line, self.size.width, 1))

    def _placed(self) -> tuple[Placed, ...]:
        width = self.size.width
        if width != self._layout_width:
            self._layout_width = width
            self._layout = layout(self._columns, width - 1, table_paint.GUTTER)
        return self._layout

    def _line(self, y: int) -> _Drawn:
        """What line ``y`` of the widget is to show."""
        if not self._rows:
            return _Drawn(None, words=self._empty_line(y))
        index = y - 1 + self.scroll_offset.y
        if not 0 <= index < len(self._rows):
            return _Drawn(None)
        row = self._rows[index]
        return _Drawn(row, index == self._cursor, row.id in self._marks)

    def _redraw_changed(self) -> None:
        """Ask for the cells that differ from what was drawn. Lines never drawn are drawn when they are shown."""
        if not self.is_attached:
            return
        regions: list[Region] = []
        for y in range(1, self.size.height):
            old = self._drawn.get(y)
            new = self._line(y)
            if old is None or old == new:
                continue
            if old.row is None or new.row is None or old[1:] != new[1:]:
                regions.append(Region(0, y, self.size.width, 1))
            else:
                regions += table_paint.differing(old.row, new.row, self._placed(), y)
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """One line: the header, a row, or a line of the text that says why there is none."""
        width = self.size.width
        styles = self.tones()
        fill = styles.normal[""]
        if y == 0:
            segments = table_paint.header(self._placed(), styles, self._sort_key, self._sort_reverse)
            return Strip(segments).adjust_cell_length(width, fill)
        line = self._line(y)
        self._drawn[y] = line
        segments = []
        if line.row is not None:
            focus = self.has_focus
            segments = table_paint.row_line(
                line.row, self._placed(), styles, cursor=line.cursor, marked=line.marked, focus=focus
            )
            if line.cursor:
                fill = (styles.cursor if focus else styles.cursor_blurred)[""]
        elif line.words:
            segments = [Segment(line.words, styles.normal["muted"])]
        return Strip(segments).adjust_cell_length(width, fill).simplify()

    def _empty_line(self, y: int) -> str:
        words = self._empty
        if self._all and self._filter:
            words = f"No row matches {self._filter}: {len(self._all)} hidden"
        key = (self.size.width, self.size.height, words)
        if self._empty_lines is None or self._empty_lines[0] != key:
            self._empty_lines = (key, table_paint.empty_lines(words, self.size.width, self.size.height))
        return self._empty_lines[1].get(y, "")
