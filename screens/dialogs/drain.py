"""A drain before it begins: its options, one plan for all servers, what is to be accepted, and the question.

The plan is made in a thread; escape leaves it at once. ``a`` begins it, after each warning and each unknown has been
accepted by itself with space. Enter begins nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.drain import DrainOptions, new_drain
from vgpu_console.actions.drain_commands import commands_of
from vgpu_console.actions.plan import PlanError
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.drain_words import DrainPlans
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.destinations import DestinationsDialog
from vgpu_console.screens.dialogs.guard import InputGuard
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.drain_plan import (
    STOPS,
    Choices,
    answer,
    downtime_word,
    host_rows,
    options_line,
    plan_page,
)
from vgpu_console.screens.render.words import plural
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.seams import Copier, Drainer
from vgpu_console.screens.widgets.cells import Span, glyphs
from vgpu_console.screens.widgets.span_line import SpanLine

MOST_PARALLEL = 64


class Agreed(NamedTuple):
    """What is to be begun."""

    plans: DrainPlans
    options: DrainOptions


class DrainDialog(Dialog[Agreed]):
    """Shows the plan of one drain, or of several hosts' together; gives back what was agreed to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "apply", "Begin the drain", id="drain.apply"),
        Binding("space", "accept", "Accept the next check", id="drain.accept-check"),
        Binding("backspace", "take_back", "Take the last acceptance back", show=False),
        Binding("t", "destinations", "Choose destinations", id="drain.to"),
        Binding("plus", "parallel(1)", "One more at a time", id="drain.more"),
        Binding("minus", "parallel(-1)", "One fewer at a time", id="drain.fewer"),
        Binding("f", "failures", "Stop after so many failures", id="drain.failures"),
        Binding("s", "service", "Disable the compute service first, or not", id="drain.service"),
        Binding("r", "again", "Plan again", id="drain.again"),
        Binding("c", "copy", "Copy the commands", id="drain.copy"),
        Binding("n", "close", "No", show=False),
        Binding("enter", "enter", "Begins nothing", show=False),
    ]
    AUTO_FOCUS = "Page"

    def __init__(
        self,
        drainer: Drainer,
        wanted: Mapping[str, frozenset[str] | None],
        heading: str,
        *,
        known: Callable[[], Snapshot | None],
        now: Callable[[], float],
        clock: Callable[[], float],
        why_not: Callable[[bool], str] = lambda disable: "",
        note: str = "",
    ) -> None:
        """``why_not`` says why nothing may be begun, with the service disabled first or not; ``note`` is said above."""
        super().__init__()
        self._drainer = drainer
        self._wanted = wanted
        self._known = known
        self._now = now
        self._clock = clock
        self._guard = InputGuard(clock)
        self._why_not = why_not
        self._note = note
        self._plans: DrainPlans | None = None
        self._wrong = ""
        self._told = ""
        self._said = ""
        self._chosen = Choices()
        self._accepted: list[str] = []
        self._line = 0
        self._cancel = threading.Event()
        self.heading = heading

    def inside(self) -> ComposeResult:
        """The answer, the options, the page with the plan, and the choice."""
        yield SpanLine(id="drain-answer")
        yield SpanLine(id="drain-options")
        yield SpanLine(id="drain-said")
        yield Page(self._lines, beside=7, id="drain-page")
        yield SpanLine(id="drain-choice")

    def on_mount(self) -> None:
        """Plan at once."""
        self._guard = InputGuard(self._clock)
        self._plan()

    def on_unmount(self) -> None:
        """Nobody waits for the plan any more."""
        self._cancel.set()

    # The plan -----------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        self._cancel.set()
        self._cancel = threading.Event()
        self._plans, self._wrong, self._told = None, "", ""
        self.restate()
        self.run_worker(self._find_out(self._cancel), exclusive=True, group="drain-plan")

    async def _find_out(self, cancel: threading.Event) -> None:
        def tell(words: str) -> None:
            if not cancel.is_set():
                self.app.call_later(self._tell_progress, words, cancel)

        to = self._chosen.to or None
        try:
            plans = await asyncio.to_thread(self._drainer.plan, self._wanted, to, tell=tell, cancelled=cancel.is_set)
        except PlanError as error:
            if cancel.is_set():
                return
            self._wrong = str(error)
        else:
            if cancel.is_set():
                return
            self._plans = plans
            self._accepted = [one for one in self._accepted if one in plans.to_accept]
        self.restate()
        self.query_one(Page).scroll_home(animate=False)

    def _tell_progress(self, words: str, cancel: threading.Event) -> None:
        if not cancel.is_set() and self._plans is None:
            self._told = words
            self.restate()

    @property
    def _left(self) -> list[str]:
        """The checks that are still to be accepted."""
        if self._plans is None or self._why():
            return []
        return [one for one in self._plans.to_accept if one not in self._accepted]

    def _why(self) -> str:
        """Why it cannot be begun; "" when only the operator's word is missing."""
        why = self._why_not(self._chosen.disable)
        if why or self._plans is None:
            return why
        totals = self._plans.totals
        if not totals.servers and not self._chosen.disable:
            return "there is nothing to do"
        return "" if totals.go or (self._chosen.disable and not totals.stay) else "no server can go"

    @property
    def options(self) -> DrainOptions:
        """What is chosen now."""
        one = self._chosen
        return DrainOptions(
            to=self._plans.to if self._plans is not None else one.to or None,
            max_parallel=one.max_parallel,
            stop_after_failures=one.stop_after,
            accepted=frozenset(self._accepted),
            disable=one.disable,
            chosen=self._plans is not None and self._plans.chosen,
        )

    @property
    def commands(self) -> tuple[str, ...]:
        """The same by hand."""
        if self._plans is None:
            return ()
        drains = [new_drain(p, self.options, id="", cloud="", now=0.0) for p in self._plans.plans if p.moves]
        return commands_of(drains)

    # What is shown ------------------------------------------------------------------------------------------------

    def restate(self) -> None:
        """Show what is known and chosen now."""
        if not self.is_attached:
            return
        plans = self._plans
        head = self.query_one("#drain-answer", SpanLine)
        width = self.query_one(Page).size.width or 76
        if plans is not None:
            head.set_spans(answer(plans, brief=width < 80), (downtime_word(plans),))
        elif self._wrong:
            head.set_spans(((f"{glyphs().fail} cannot be planned", "fail"),))
        else:
            head.set_spans(((f"planning {glyphs().pending}  ", "accent"), (self._told, "muted")))
        self.query_one("#drain-options", SpanLine).set_spans(options_line(plans, self._chosen, width))
        said = self.query_one("#drain-said", SpanLine)
        said.display = bool(self._said or self._note)
        said.set_spans(((self._said or self._note, "warn"),))
        self.query_one(Page).restate()
        self.query_one("#drain-choice", SpanLine).set_spans(*self._choice())
        self.set_footing(self._keys())

    def _lines(self, width: int) -> Sequence[Line]:
        if self._wrong:
            return hang((), self._wrong, "", width)
        if self._plans is None:
            return [(("every server is looked at against every destination; esc leaves it", "muted"),)]
        cursor = next(iter(self._left), None)
        lines = plan_page(self._plans, self._chosen, width, self._accepted, cursor, self.commands)
        mark = (f"{glyphs().cursor} ", "accent")
        self._line = next((i for i, line in enumerate(lines) if line and line[0] == mark), 0)
        return lines

    def _choice(self) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
        if self._plans is None:
            return (), ()
        why = self._why()
        if why:
            return ((f"{glyphs().fail} nothing can be begun", "fail"), (f"  {why}", "muted")), ()
        no: tuple[Span, ...] = (("[ No ]", "accent"), ("   n or esc", "muted"))
        if self._left:
            word = "it" if len(self._left) == 1 else f"each of {len(self._left)}"
            return no, ((f"space accepts {word} first", "warn"),)
        return no, (("a begins it", "accent"),)

    def _keys(self) -> str:
        if self._plans is None:
            return "esc cancel"
        parts = ["space accept"] if self._left else []
        parts += ["a begin", "n no"] if not self._why() else []
        return " · ".join([*parts, "c copy commands", "r again", "esc"])

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_accept(self) -> None:
        """Accept the check under the cursor, once it is in sight; the cursor goes to the next."""
        if not self._left or not self._guard.lets_pass():
            return
        page = self.query_one(Page)
        if page.shows(self._line):
            self._accepted.append(self._left[0])
            self._said = ""
            self.restate()
        if self._left:
            page.reveal(self._line)

    def action_take_back(self) -> None:
        """Take the last acceptance back."""
        if self._accepted:
            self._accepted.pop()
            self.restate()

    def action_apply(self) -> None:
        """Begin it, if it may be and all is accepted."""
        plans = self._plans
        if plans is None or not self._guard.lets_pass():
            return
        why = self._why()
        if why:
            self._tell(f"nothing can be begun: {why}")
        elif self._left:
            self._tell(f"first {plural(len(self._left), 'check')} to accept, one by one, with space")
        else:
            self.dismiss(Agreed(plans, self.options))

    def action_enter(self) -> None:
        """Enter alone is no answer."""
        if self._plans is not None and not self._why():
            self._tell("enter alone is no answer: n for no, a begins it")

    def action_destinations(self) -> None:
        """Choose where servers may go; the plan is made again."""
        snapshot = self._known()
        if snapshot is None:
            return

        def chosen(hosts: tuple[str, ...] | None) -> None:
            if hosts is not None and hosts != self._chosen.to:
                self._choose(to=hosts)
                self._plan()

        rows = host_rows(snapshot, self._wanted if len(self._wanted) == 1 else (), self._now())
        self.app.push_screen(DestinationsDialog(rows, self._chosen.to), chosen)

    def action_parallel(self, step: int) -> None:
        """One more or one fewer at a time, as far as Nova goes."""
        wanted = self._chosen.max_parallel + step
        bound = self._plans.at_once if self._plans is not None else None
        if bound is not None and bound.most is not None and wanted > bound.most:
            self._tell(f"Nova runs {bound.most} at once ({bound.why}): more would only wait in its queue")
        elif 1 <= wanted <= MOST_PARALLEL:
            self._choose(max_parallel=wanted)

    def action_failures(self) -> None:
        """The next number of failures to stop after."""
        at = STOPS.index(self._chosen.stop_after)
        self._choose(stop_after=STOPS[(at + 1) % len(STOPS)])

    def action_service(self) -> None:
        """Disable nova-compute first, or leave it as it is."""
        if self._plans is not None and self._plans.chosen:
            self._tell("only marked servers leave: the service stays as it is")
        else:
            self._choose(disable=not self._chosen.disable)

    def _choose(self, **changes: object) -> None:
        self._chosen = dataclasses.replace(self._chosen, **changes)  # type: ignore[arg-type]
        self._said = ""
        self.restate()

    def action_again(self) -> None:
        """Plan again from what is known now."""
        if self._plans is not None or self._wrong:
            self._said = ""
            self._plan()

    def action_copy(self) -> None:
        """Copy the equivalent commands."""
        if self.commands and isinstance(self.app, Copier):
            self.app.copy_text("\n".join(self.commands), "the commands")

    def _tell(self, text: str) -> None:
        self._said = text
        self.restate()
