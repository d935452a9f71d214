"""Any plan before it is carried out: what changes, what that means, what was looked at, how it is done and undone.

How it is confirmed grows with its danger. ``change``: y, or moving the choice to yes and enter. ``risk``: a, which is
neither the key that opened it nor enter. ``destroy``: the object's name is typed. Each warning and each unknown is
accepted by itself before. Enter alone never confirms anything. Of several that destroy their number is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from vgpu_console.actions.plan import Plan
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.guard import InputGuard
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.bulk import bulk_lines
from vgpu_console.screens.render.plans import greatest_danger, open_checks, plan_lines
from vgpu_console.screens.render.words import plural
from vgpu_console.screens.seams import Copier
from vgpu_console.screens.widgets.cells import Span, glyphs
from vgpu_console.screens.widgets.span_line import SpanLine
from vgpu_console.text import plain


class PlanDialog(Dialog[frozenset[str]]):
    """Shows one plan, or several of one kind; gives back the ids of the accepted checks, or None for no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "Yes", id="confirm.yes"),
        Binding("n", "close", "No", id="confirm.no"),
        Binding("a", "apply", "Apply", id="confirm.apply"),
        Binding("space", "accept", "Accept the next check", id="confirm.accept"),
        Binding("backspace", "take_back", "Take the last acceptance back", show=False),
        Binding("c", "copy", "Copy the commands", id="confirm.copy"),
        Binding("left,right", "choose", "The other choice", show=False),
        Binding("enter", "enter", "What is chosen", show=False),
    ]
    AUTO_FOCUS = "Page"

    def __init__(self, plans: Sequence[Plan], clock: Callable[[], float]) -> None:
        super().__init__()
        self._plans = tuple(plans)
        self._clock = clock
        self._guard = InputGuard(clock)
        self.danger = greatest_danger(plans)
        self._open = open_checks([p for p in plans if not p.blocked_by])
        self._accepted: list[str] = []
        self._line = 0  # of the page, where the check under the cursor stands
        self._chosen: str | None = None  # None: the choice was never moved, and stands on no
        self._blocked = all(p.blocked_by for p in plans)
        self._nothing = all(p.changes_nothing for p in plans)
        one = self._plans[0]
        self.heading = one.title if len(self._plans) == 1 else plural(len(self._plans), "change")
        if self._possible and self.danger != "change":
            self.heading += {"risk": "  ! risk", "destroy": "  ! destroys"}[self.danger]

    @property
    def _possible(self) -> bool:
        return not self._blocked and not self._nothing

    @property
    def must_type(self) -> str:
        """What is typed to confirm what destroys: the object's name; of several how many they are (``3 devices``)."""
        possible = [p for p in self._plans if not p.blocked_by and not p.changes_nothing]
        if len(self._plans) == 1:
            return self._plans[0].target.name
        return plural(len(possible), possible[0].target.kind.split()[-1]) if possible else ""

    @property
    def _left(self) -> list[str]:
        return [one for one in self._open if one not in self._accepted] if self._possible else []

    def inside(self) -> ComposeResult:
        """The page, for ``destroy`` the line for the name, and the choice."""
        named = self._possible and self.danger == "destroy"
        yield Page(self._lines, beside=4 if named else 2, id="plan-page")
        if named:
            yield Input(placeholder=f"type {plain(self.must_type, 80)}", id="plan-name")
        yield SpanLine(id="plan-choice")

    def on_mount(self) -> None:
        """From now on keys count, after a moment."""
        self._guard = InputGuard(self._clock)
        self.restate()

    def _lines(self, width: int) -> Sequence[Line]:
        cursor = next(iter(self._left), None)
        if len(self._plans) == 1:
            lines = plan_lines(self._plans[0], width, self._accepted, cursor)
        else:
            lines = bulk_lines(self._plans, width, self._accepted, cursor)
        mark = (f"{glyphs().cursor} ", "accent")
        self._line = next((i for i, line in enumerate(lines) if line and line[0] == mark), 0)
        return lines

    def restate(self) -> None:
        """Show what is accepted and chosen now."""
        self.query_one(Page).restate()
        left, right = self._choice()
        self.query_one("#plan-choice", SpanLine).set_spans(left, right)
        self.set_footing(self._keys())

    def _choice(self) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
        if self._nothing:
            return (("Nothing to do: it is already so.", "muted"),), ()
        if self._blocked:
            return ((f"{glyphs().fail} cannot be applied", "fail"), ("  the checks say why", "muted")), ()
        right: tuple[Span, ...] = ()
        if self._left:
            word = "it" if len(self._left) == 1 else f"each of {len(self._left)}"
            right = ((f"space accepts {word} first", "warn"),)
        elif self.danger == "risk":
            right = (("a applies", "accent"),)
        elif self.danger == "destroy":
            right = (("the name, then enter, applies", "accent"),)
        if self.danger != "change":
            return (("[ No ]", "accent"), ("   n or esc", "muted")), right
        yes = self._chosen == "yes"
        return (("  No  " if yes else "[ No ]", "muted" if yes else "accent"), ("  ", ""), *self._yes(yes)), right

    def _yes(self, chosen: bool) -> tuple[Span, ...]:
        return (("[ Yes ]" if chosen else "  Yes  ", "accent" if chosen else "muted"),)

    def _keys(self) -> str:
        parts = []
        if self._possible:
            parts += ["space accept"] if self._left else []
            parts += {"change": ["y yes", "n no"], "risk": ["a apply", "n no"], "destroy": ["tab to the name"]}[
                self.danger
            ]
        parts += ["c copy commands"] if self._commands else []
        return " · ".join([*parts, "esc"])

    @property
    def _commands(self) -> list[str]:
        return [line for plan in self._plans if not plan.blocked_by for line in plan.commands]

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_accept(self) -> None:
        """Accept the check under the cursor, once it is in sight; the cursor goes to the next."""
        if not self._left or not self._guard.lets_pass():
            return
        page = self.query_one(Page)
        if page.shows(self._line):
            self._accepted.append(self._left[0])
            self.restate()
        if self._left:
            page.reveal(self._line)

    def action_take_back(self) -> None:
        """Take the last acceptance back."""
        if self._accepted:
            self._accepted.pop()
            self.restate()

    def action_choose(self) -> None:
        """Move the choice."""
        if self._possible and self.danger == "change":
            self._chosen = "no" if self._chosen == "yes" else "yes"
            self.restate()

    def action_enter(self) -> None:
        """Do what was chosen, if anything was: enter alone is no answer."""
        if not self._guard.lets_pass():
            return
        if not self._possible or self._chosen == "no":
            self.dismiss(None)
        elif self._chosen == "yes":
            self._confirm()
        elif self.danger == "change":
            self._say("enter alone is no answer: y for yes, n for no")
        else:
            self._say("enter alone is no answer: n for no" + (", a applies" if self.danger == "risk" else ""))

    def action_yes(self) -> None:
        """Yes, where that is enough."""
        if not self._possible or not self._guard.lets_pass():
            return
        if self.danger == "change":
            self._confirm()
        elif self.danger == "risk":
            self._say("this is a risk: a applies it, not y")
        else:
            self._say("type the name to apply it")

    def action_apply(self) -> None:
        """Apply what is a risk."""
        if not self._possible or not self._guard.lets_pass():
            return
        if self.danger == "risk":
            self._confirm()
        else:
            self._say("y for yes, n for no" if self.danger == "change" else "type the name to apply it")

    @on(Input.Submitted, "#plan-name")
    def _named(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._guard.lets_pass():
            return
        if event.value == self.must_type:
            self._confirm()
        else:
            self._say(f"that is not the name: {self.must_type}")

    def _confirm(self) -> None:
        if self._left:
            self._say(f"first {plural(len(self._left), 'check')} to accept, one by one, with space")
        else:
            self.dismiss(frozenset(self._accepted))

    def action_copy(self) -> None:
        """Copy the equivalent commands."""
        if self._commands and isinstance(self.app, Copier):
            self.app.copy_text("\n".join(self._commands), "commands")

    def _say(self, text: str) -> None:
        if isinstance(self.app, Copier):
            self.app.say(text)
