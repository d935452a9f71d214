"""The first line of every screen: the product, where it looks, and whether it may change anything."""

from __future__ import annotations

from vgpu_console.model.facts import CloudIdentity
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.screens.widgets.span_line import SpanLine

PRODUCT = "vgpu-console"

_NARROW = 100


class TitleLine(SpanLine):
    """Product, cloud · region · scope on the left; READ-ONLY or READ-WRITE (and what else matters) on the right."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._identity: CloudIdentity | None = None
        self._notices: tuple[Span, ...] = ()

    def show(self, identity: CloudIdentity, *notices: Span) -> None:
        """Show where the console looks. ``notices`` stand left of the mode, e.g. ``("PAUSED", "warn")``."""
        self._identity, self._notices = identity, notices
        self._arrange()

    def on_resize(self) -> None:
        """A narrow line is shorter in its words."""
        self._arrange()

    def _arrange(self) -> None:
        if self._identity is None:
            self.set_spans(((f" {PRODUCT}", "title"),))
            return
        self.set_spans(*title_spans(self._identity, self.size.width, self._notices))


def title_spans(
    identity: CloudIdentity, width: int, notices: tuple[Span, ...] = ()
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The words of the line, left and right. Below 100 columns the product's name and the second scope give way."""
    narrow = width < _NARROW
    dot = f" {cells.glyphs().separator} "
    scope = identity.scope
    if identity.limits_scope and identity.limits_scope != identity.scope and not narrow:
        scope = f"{scope} + {identity.limits_scope} for limits" if scope else f"{identity.limits_scope} for limits"
    left: list[Span] = [(" ", "")]
    if not narrow:
        left += [(PRODUCT, "title"), ("   ", "")]
    first = True
    for word, tone in ((identity.cloud, "accent"), (identity.region, ""), (scope, ""), (identity.user, "muted")):
        if not word or (narrow and word == identity.user):
            continue
        if not first:
            left.append((dot, "muted"))
        left.append((word, tone))
        first = False
    mode: Span = ("READ-ONLY", "ok") if identity.read_only else ("READ-WRITE", "warn")
    right: list[Span] = []
    for notice in notices:
        right += [notice, ("  ", "")]
    right += [mode, (" ", "")]
    return tuple(left), tuple(right)
