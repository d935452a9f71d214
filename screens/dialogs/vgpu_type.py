"""Choose a type for new vGPUs and how many: every type of the GPU, also those that cannot be made, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.mdev_room import TypeRoom, type_rooms
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.lines import Lines
from vgpu_console.screens.render import vgpu_types
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.widgets.cells import Span, glyphs
from vgpu_console.screens.widgets.fleet_table import FleetTable
from vgpu_console.screens.widgets.span_line import SpanLine

_MOST_DIGITS = 4


class Choice(NamedTuple):
    """What was chosen. ``typed``: a function's type is set (vendor VFIO), there are no mediated devices."""

    host: str
    gpu: str
    type_id: str
    number: int
    persistent: bool
    function: str | None
    typed: bool


Planner = Callable[[Choice], tuple[Plan, ...]]
"""From what was chosen to plans. Raises PlanError."""


class CountField(Input, inherit_bindings=False):
    """A number; the dialog's keys that are no digits go before it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace", "delete_left", show=False),
        Binding("enter", "submit", show=False),
    ]

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Digits only."""
        return character is not None and character.isascii() and character.isdigit()


class VgpuTypeDialog(Dialog[tuple[Choice, tuple[Plan, ...]]]):
    """Arrows choose the type, digits the number, left and right the GPU; enter makes the plans and hands both on.

    With ``function`` the one vGPU is made there. Nothing is changed here.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "persistent", "Persistent or transient", id="type.persistent", priority=True),
        Binding("q", "close", "Close", show=False, priority=True),
        Binding("right,tab", "gpu(1)", "The next GPU", id="type.gpu"),
        Binding("left,shift+tab", "gpu(-1)", "The GPU before", show=False),
        Binding("down,j", "move(1)", "Down", show=False, priority=True),
        Binding("up,k", "move(-1)", "Up", show=False, priority=True),
        Binding("pagedown", "move(8)", "Page down", show=False),
        Binding("pageup", "move(-8)", "Page up", show=False),
        Binding("enter", "plan", "Show the plan", show=False),
    ]
    AUTO_FOCUS = "CountField"

    def __init__(
        self,
        host: str,
        gpus: Sequence[str],
        function: str | None,
        known: Callable[[], Snapshot | None],
        planner: Planner,
    ) -> None:
        super().__init__()
        self._host = host
        self._gpus = tuple(gpus)
        self._function = function
        self._known = known
        self._planner = planner
        self._at = 0
        self._persistent = True
        self._busy = False
        self._shown: tuple[Snapshot | None, int] | None = None
        self._rooms: dict[str, tuple[TypeRoom, int | None, str]] = {}
        self.heading = f"New vGPU on {host}"
        self.footing = self._keys()

    def _keys(self) -> str:
        several = ["← → GPU"] if len(self._gpus) > 1 else []
        toggle = [] if self._typed else ["p persistent or not"]
        return " · ".join(["↑ ↓ type", *several, *toggle, "enter plan", "esc"])

    @property
    def _typed(self) -> bool:
        found = vgpu_types.find(self._known(), self._host, self._gpus[self._at])
        return found is not None and found[1].mechanism == "vendor-vfio"

    def inside(self) -> ComposeResult:
        """The GPU, its types, what is to be said of the one under the cursor, the number, and what is wrong with it."""
        yield SpanLine(id="type-gpu")
        table = FleetTable(vgpu_types.COLUMNS, empty="this GPU offers no vGPU type now", id="type-table")
        table.can_focus = False
        yield table
        yield Lines(id="type-about")
        with Horizontal(classes="field", id="type-field"):
            yield SpanLine((("how many", "title"),), classes="field-name")
            field = CountField("1", restrict="[0-9]*", max_length=_MOST_DIGITS, id="type-count")
            field.can_focus = self._function is None
            yield field
            yield SpanLine(id="type-kept")
        yield Lines(id="type-error")

    def on_mount(self) -> None:
        """The types; the number is marked, so that typing replaces it."""
        self.query_one(CountField).select_all()
        self._restate()
        self.set_interval(1.0, self._restate)

    # What is shown ------------------------------------------------------------------------------------------------

    def _restate(self) -> None:
        """Follow the fleet: what was made meanwhile cannot be made any more."""
        snapshot = self._known()
        if self._shown is not None and self._shown[0] is snapshot and self._shown[1] == self._at:
            return
        other = self._shown is None or self._shown[1] != self._at
        self._shown = (snapshot, self._at)
        found = vgpu_types.find(snapshot, self._host, self._gpus[self._at])
        rooms = type_rooms(snapshot, self._host, self._gpus[self._at]) if snapshot is not None else ()
        functions = found[1].functions if found is not None else ()
        offered = next((f.creatable for f in functions if f.address == self._function), ())
        self._rooms = {r.type_id: (r, *vgpu_types.on_function(r, self._function, offered)) for r in rooms}
        table = self.query_one(FleetTable)
        table.styles.height = max(3, len(rooms) + 1)
        table.set_rows([vgpu_types.type_row(*one) for one in self._rooms.values()])
        if other:
            table.select(self._first())
        line: tuple[Span, ...] = ((f"{self._gpus[self._at]} is not there any more", "warn"),)
        if found is not None:
            line = vgpu_types.gpu_line(*found, (self._at + 1, len(self._gpus)), self._function)
        self.query_one("#type-gpu", SpanLine).set_spans(line)
        self._show_kept()
        self._show_about()
        self.set_footing(self._keys())

    def _first(self) -> str:
        """The type to begin with: one that can be made and that Nova hands out, else one that can be made."""
        best = max(
            self._rooms.values(),
            key=lambda one: (one[1] != 0, one[0].enabled is True, bool(one[0].created), one[1] or 0),
            default=None,
        )
        return best[0].type_id if best is not None else ""

    def _show_about(self) -> None:
        about = self.query_one("#type-about", Lines)
        width = max(20, self.query_one(FleetTable).size.width)
        room, creatable, why = self._rooms.get(self.query_one(FleetTable).cursor_id or "", (None, 0, ""))
        about.show(vgpu_types.type_lines(room, creatable, why, self._function, width))

    def _show_kept(self) -> None:
        kept: tuple[Span, ...]
        if self._typed:
            kept = (("a type lasts until the next boot or sriov-manage", "muted"),)
        else:
            on, off = (glyphs().mark, "accent"), (glyphs().no_bar, "muted")
            kept = (
                ("p ", "accent"),
                *((on, (" persistent  ", ""), off, (" transient", "muted")) if self._persistent else ()),
                *((off, (" persistent  ", "muted"), on, (" transient", "")) if not self._persistent else ()),
                (
                    "   comes back at boot" if self._persistent else "   gone at boot",
                    "muted",
                ),
            )
        self.query_one("#type-kept", SpanLine).set_spans(kept)

    def _say(self, text: str) -> None:
        width = max(20, self.query_one(FleetTable).size.width)
        lines = hang(((f"{glyphs().fail} ", "fail"),), text, "fail", width) if text else []
        self.query_one("#type-error", Lines).show(lines)

    def on_resize(self) -> None:
        """Another width breaks the lines elsewhere."""
        super().on_resize()
        self.call_after_refresh(self._show_about)

    # Keys ---------------------------------------------------------------------------------------------------------

    @on(FleetTable.Moved)
    def _moved(self, event: FleetTable.Moved) -> None:
        event.stop()
        self._say("")
        self._show_about()

    @on(Input.Changed)
    def _typed_number(self, event: Input.Changed) -> None:
        event.stop()
        self._say("")

    def action_move(self, step: int) -> None:
        """Another type."""
        self.query_one(FleetTable).action_move(step)

    def action_gpu(self, step: int) -> None:
        """Another GPU of the host."""
        if len(self._gpus) > 1 and self._function is None:
            self._at = (self._at + step) % len(self._gpus)
            self._say("")
            self._restate()

    def action_persistent(self) -> None:
        """Defined and started with its function, or gone at the next boot."""
        if not self._typed:
            self._persistent = not self._persistent
            self._show_kept()

    @on(FleetTable.Opened)
    @on(Input.Submitted)
    def _entered(self, event: FleetTable.Opened | Input.Submitted) -> None:
        event.stop()
        self.action_plan()

    def action_plan(self) -> None:
        """Make the plans of what is chosen, beside the dialog's own messages, so that it can still be closed."""
        if not self._busy:
            self._busy = True
            self.run_worker(self._plan(), exclusive=True)

    async def _plan(self) -> None:
        try:
            choice = self._choice()
            plans = await asyncio.to_thread(self._planner, choice)
        except PlanError as error:
            self._say(str(error))
        else:
            self.dismiss((choice, plans))
        finally:
            self._busy = False

    def _choice(self) -> Choice:
        """What is chosen. Raises PlanError where that cannot be made."""
        type_id = self.query_one(FleetTable).cursor_id
        if type_id is None or type_id not in self._rooms:
            raise PlanError("this GPU offers no vGPU type now")
        room, creatable, why = self._rooms[type_id]
        if creatable == 0:
            raise PlanError(f"no {room.label} can be made: {why}")
        number = self.query_one(CountField).value
        if not number:
            raise PlanError("no number was typed")
        gpu = self._gpus[self._at]
        return Choice(self._host, gpu, type_id, int(number), self._persistent, self._function, self._typed)
