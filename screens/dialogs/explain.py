"""Why a server has no vGPU, a flavor finds no host, a project cannot start one, a host gets none: one panel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vgpu_console.actions.plan import PlanError
from vgpu_console.fleet.explain import GoneError
from vgpu_console.rules.explain.chain import Explanation, Kind
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.explain import answer, commands, explain_page, question
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.seams import Copier
from vgpu_console.screens.widgets.cells import glyphs
from vgpu_console.screens.widgets.span_line import SpanLine


class Subject(NamedTuple):
    """What is explained: servers, flavors and projects by their id, hosts by their name."""

    kind: Kind
    id: str
    name: str


_KEYS: dict[Kind, str] = {"server": "s", "flavor": "f", "project": "p", "host": "h"}


class ExplainDialog(Dialog[Subject]):
    """Asks in a thread what the chain needs; ends with what is to be explained next, if anything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy_commands", "Copy the commands that mend it", id="explain.commands"),
        Binding("y", "copy_all", "Copy the explanation as text", id="explain.copy"),
        Binding("r", "again", "Look again", id="explain.again"),
        Binding("f", "next('flavor')", "Explain its flavor", id="explain.flavor"),
        Binding("p", "next('project')", "Explain its project", id="explain.project"),
        Binding("h", "next('host')", "Explain its host", id="explain.host"),
    ]
    AUTO_FOCUS = "Page"

    def __init__(
        self, subject: Subject, ask: Callable[[Subject], Explanation], related: Sequence[Subject] = ()
    ) -> None:
        """``ask`` blocks, and raises PlanError or GoneError; ``related`` is what else can be explained from here."""
        super().__init__()
        self._subject = subject
        self._ask = ask
        self._related = {one.kind: one for one in related}
        self.found: Explanation | None = None
        self._wrong = ""
        self.heading = question(subject.kind, subject.name)

    def inside(self) -> ComposeResult:
        """The answer, and the page with the chain."""
        yield SpanLine(id="explain-answer")
        yield Page(self._lines, beside=2, id="explain-page")

    def on_mount(self) -> None:
        """Ask at once."""
        self.action_again()

    def action_again(self) -> None:
        """Ask again, from what is known now."""
        self.found, self._wrong = None, ""
        self.restate()
        self.run_worker(self._find_out(), exclusive=True, group="explain")

    async def _find_out(self) -> None:
        try:
            self.found = await asyncio.to_thread(self._ask, self._subject)
        except (PlanError, GoneError) as error:
            self._wrong = str(error)
        self.restate()
        self.query_one(Page).scroll_home(animate=False)

    @property
    def settled(self) -> bool:
        """Whether there is an answer, or a reason why there is none."""
        return self.found is not None or bool(self._wrong)

    def restate(self) -> None:
        """Show what is known now."""
        if not self.is_attached:
            return
        head = self.query_one("#explain-answer", SpanLine)
        if self._wrong:
            head.set_spans(((f"{glyphs().fail} cannot be explained", "fail"),))
        elif self.found is None:
            head.set_spans(((f"looking {glyphs().pending}", "muted"),))
        else:
            head.set_spans(answer(self.found))
        self.query_one(Page).restate()
        self.set_footing(self._footing())

    def _footing(self) -> str:
        parts = ["c commands"] if self.found is not None and commands(self.found) else []
        parts += ["y copy"] if self.found is not None else []
        parts += [f"{_KEYS[kind]} {kind}" for kind in self._related]
        return " · ".join([*parts, "r again", "esc"])

    def _lines(self, width: int) -> Sequence[Line]:
        if self._wrong:
            return hang((), self._wrong, "", width)
        if self.found is None:
            return [(("what the sources have told is put together, and Placement is asked", "muted"),)]
        return explain_page(self.found, width)

    def action_next(self, kind: Kind) -> None:
        """Close, and explain what this depends on."""
        related = self._related.get(kind)
        if related is not None:
            self.dismiss(related)

    def action_copy_commands(self) -> None:
        """Copy the commands."""
        text = commands(self.found) if self.found is not None else ""
        if text and isinstance(self.app, Copier):
            self.app.copy_text(text, "the commands")

    def action_copy_all(self) -> None:
        """Copy what is shown."""
        if self.found is not None and isinstance(self.app, Copier):
            self.app.copy_text(f"{self.heading}\n{self.query_one(Page).text}", "the explanation")
