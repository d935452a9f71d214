"""Could a server be live-migrated now, and where to: the answer first, then each check with evidence and age."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.rules.migration.candidates import Destination
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.migrate_check import answer, check_page, choice_line, downtime_word
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.seams import Copier, Mover
from vgpu_console.screens.widgets.cells import glyphs
from vgpu_console.screens.widgets.span_line import SpanLine
from vgpu_console.text import plain


class Begun(NamedTuple):
    """What is to be confirmed, and what was checked for it."""

    plan: Plan
    chosen: Destination


class MigrateCheckDialog(Dialog[Begun]):
    """Shows one destination at a time; p or enter makes the plan of it, which is confirmed elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,enter", "plan", "Plan the migration to this host", id="check.plan"),
        Binding("tab,right", "other(1)", "The next host", id="check.next"),
        Binding("shift+tab,left", "other(-1)", "The host before", id="check.previous"),
        Binding("r", "again", "Check again", id="check.again"),
        Binding("c,y", "copy", "Copy the checks as text", id="check.copy"),
    ]
    AUTO_FOCUS = "Page"

    def __init__(
        self,
        mover: Mover,
        server_id: str,
        name: str,
        *,
        destination: str | None = None,
        why_not: Callable[[], str] = lambda: "",
        why_again: str = "",
    ) -> None:
        """``why_not`` says why nothing may be begun; ``why_again`` why it is checked again."""
        super().__init__()
        self._mover = mover
        self._server_id = server_id
        self._destination = destination
        self._why_not = why_not
        self._said = why_again
        self._found: Precheck | None = None
        self._at = 0
        self._wrong = ""
        self._planning = False
        self.heading = f"Migrate {name}"

    def inside(self) -> ComposeResult:
        """The answer, the destinations, and the page with the reasons."""
        yield SpanLine(id="check-answer")
        yield SpanLine(id="check-hosts")
        yield SpanLine(id="check-said")
        yield Page(self._lines, beside=4, id="check-page")

    def on_mount(self) -> None:
        """Ask at once."""
        self._ask()

    # The check ----------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._found, self._wrong = None, ""
        self.restate()
        self.run_worker(self._find_out(), exclusive=True, group="check")

    async def _find_out(self) -> None:
        try:
            found = await asyncio.to_thread(self._mover.check, self._server_id, self._destination)
        except PlanError as error:
            self._wrong = str(error)
        else:
            self._found = found
            chosen = found.chosen.host if found.chosen is not None else None
            self._at = next((i for i, one in enumerate(found.candidates) if one.host == chosen), 0)
        self.restate()
        self.query_one(Page).scroll_home(animate=False)

    @property
    def chosen(self) -> Destination | None:
        """The destination that is shown; None while nothing is known, or where there is no other host."""
        found = self._found
        return found.candidates[self._at] if found is not None and found.candidates else None

    def restate(self) -> None:
        """Show what is known now."""
        if not self.is_attached:
            return
        head, hosts = self.query_one("#check-answer", SpanLine), self.query_one("#check-hosts", SpanLine)
        one, found = self.chosen, self._found
        said = self.query_one("#check-said", SpanLine)
        said.display = bool(self._said)
        said.set_spans(((self._said, "warn"),))
        if one is None or found is None:
            head.set_spans(self._waiting())
            hosts.set_spans(())
        else:
            head.set_spans(answer(one), (downtime_word(one.predicted),))
            hosts.set_spans(choice_line(found, self._at, self.size.width * 9 // 10))
            box = self.query_one("#dialog")
            box.border_title = self._title(f"{found.source} → {one.host}")
        self.query_one(Page).restate()
        self.set_footing(self._keys())

    def _title(self, route: str) -> str:
        from textual.content import Content

        return Content(f" {plain(self.heading, 80)}   {plain(route, 80)} ")  # type: ignore[return-value]

    def _waiting(self) -> tuple[tuple[str, str], ...]:
        if self._wrong:
            return ((f"{glyphs().fail} cannot be checked", "fail"),)
        if self._found is not None:
            return ((f"{glyphs().fail} NOWHERE TO GO", "fail"),)
        return ((f"asking Placement {glyphs().pending}", "muted"),)

    def _keys(self) -> str:
        one = self.chosen
        parts = []
        if self._planning:
            parts.append(f"asking Nova {glyphs().pending}")
        elif one is not None and one.verdict != "fail" and not self._why_not():
            parts.append("enter plan")
        if self._found is not None and len(self._found.candidates) > 1:
            parts.append("tab other host")
        return " · ".join([*parts, "r again", "c copy", "esc"])

    def _lines(self, width: int) -> Sequence[Line]:
        if self._wrong:
            return hang((), self._wrong, "", width)
        if self._found is None:
            return [(("every host is looked at as a destination", "muted"),)]
        return check_page(self._found, self._at, width)

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_other(self, step: int) -> None:
        """Another destination with its checks."""
        if self._found is not None and self._found.candidates:
            self._at = (self._at + step) % len(self._found.candidates)
            self._said = ""
            self.restate()
            self.query_one(Page).scroll_home(animate=False)

    def action_again(self) -> None:
        """Check again from what is known now; the destination stays."""
        if self._found is not None or self._wrong:
            self._destination = self.chosen.host if self.chosen is not None else self._destination
            self._said = ""
            self._ask()

    def action_plan(self) -> None:
        """Make the plan, if anything may be begun there."""
        one, found = self.chosen, self._found
        if one is None or found is None or self._planning:
            return
        why = self._why_not()
        if why:
            self._tell(f"nothing can be begun: {why}")
        elif one.verdict == "fail":
            self._tell(f"{one.host} fails a check, which cannot be overridden: tab shows another host")
        else:
            self._planning = True
            self.set_footing(self._keys())
            self.run_worker(self._plan(found, one), exclusive=True, group="check")

    async def _plan(self, found: Precheck, one: Destination) -> None:
        try:
            plan = await asyncio.to_thread(self._mover.plan_start, found, one)
        except PlanError as error:
            self._planning = False
            self._destination = one.host
            self._said = f"not begun: {error}; checked again"
            self._ask()
        else:
            self.dismiss(Begun(plan, one))

    def _tell(self, text: str) -> None:
        self._said = text
        self.restate()

    def action_copy(self) -> None:
        """Copy what is shown."""
        if isinstance(self.app, Copier) and self._found is not None:
            head = self.query_one("#check-answer", SpanLine).text
            self.app.copy_text(f"{self.heading}\n{head}\n{self.query_one(Page).text}", "the checks")
