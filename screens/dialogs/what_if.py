"""Could a project start some servers of a flavor now: three lines to fill in, and the answer below them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.suggester import SuggestFromList
from textual.widgets import Input

from vgpu_console.actions.projects import PlanError, find_project, project_labels
from vgpu_console.model.facts import Facts
from vgpu_console.model.nova import Flavor
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.quota_requests import nova_resources
from vgpu_console.rules.what_if import UnknownName, WhatIf, can_start, find_flavor, request_of
from vgpu_console.screens.dialogs.base import Dialog
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.lines import Line
from vgpu_console.screens.render.what_if import what_if_lines
from vgpu_console.screens.render.wrap import hang
from vgpu_console.screens.widgets.cells import glyphs
from vgpu_console.screens.widgets.span_line import SpanLine
from vgpu_console.text import plain

_MOST = 100_000
"""More servers than any cloud has; a longer number is a slip."""


class WhatIfDialog(Dialog[None]):
    """Enter goes to the next line that is empty, else answers. Names are completed with the right arrow."""

    footing = "enter answers · → completes a name · tab next · esc"
    heading = "What if"
    AUTO_FOCUS = ""

    def __init__(
        self,
        known: Callable[[], tuple[Facts, Snapshot]],
        candidates: Callable[[Sequence[RequestGroup], str | None], Candidates],
        project_id: str | None,
    ) -> None:
        """``known`` gives what has been read; ``candidates`` asks Placement and blocks."""
        super().__init__()
        self._known = known
        self._candidates = candidates
        self._asking = False
        facts, _ = known()
        self._labels = project_labels(facts)
        self._project = self._labels.get(project_id or "", "")
        self._flavors = sorted(_flavors(facts), key=lambda f: (not _asks_for_vgpus(f), f.name))
        self._answer: WhatIf | None = None
        self._wrong = ""

    def inside(self) -> ComposeResult:
        """The three lines and the answer."""
        names = list(self._labels.values())
        flavors = [f.name for f in self._flavors]
        for name, value, placeholder, known in (
            ("project", self._project, "name, name@domain or id", names),
            ("flavor", "", flavors[0] if flavors else "name or id", flavors),
            ("servers", "1", "how many", []),
        ):
            with Horizontal(classes="field"):
                yield SpanLine(((name, "title"),), classes="field-name")
                suggester = SuggestFromList(known, case_sensitive=False) if known else None
                yield Input(value, placeholder=plain(placeholder, 80), suggester=suggester, id=f"what-if-{name}")
        yield Page(self._lines, beside=3, id="what-if-page")

    def on_mount(self) -> None:
        """Begin at the first empty line."""
        self._next_empty()

    def _next_empty(self) -> bool:
        for line in self.query(Input):
            if not line.value.strip():
                line.focus()
                return True
        return False

    def _complete(self, line: Input) -> None:
        """A beginning that only one name has stands for that name."""
        known = {"what-if-project": list(self._labels.values()), "what-if-flavor": [f.name for f in self._flavors]}
        names = known.get(line.id or "", [])
        typed = line.value.strip()
        if typed and typed not in names:
            fitting = [name for name in names if name.casefold().startswith(typed.casefold())]
            if len(fitting) == 1:
                line.value = fitting[0]

    @on(Input.Submitted)
    async def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        for line in self.query(Input):
            self._complete(line)
        if self._next_empty():
            return
        project, flavor, count = (line.value.strip() for line in self.query(Input))
        self._answer, self._wrong, self._asking = None, "", True
        self._show()
        # beside the dialog's own messages, so that it can be closed; another enter makes an older question void
        self.run_worker(self._find_out(project, flavor, count), exclusive=True)

    async def _find_out(self, project: str, flavor: str, count: str) -> None:
        try:
            self._answer = await asyncio.to_thread(self._ask, project, flavor, count)
        except (PlanError, UnknownName) as error:
            self._wrong = str(error)
            near = [f.name for f in self._flavors if flavor and f.name.casefold().startswith(flavor.casefold())]
            if near and flavor not in near:
                self._wrong += f"; there are {', '.join(near[:8])}"
        self._asking = False
        self._show()

    def _show(self) -> None:
        page = self.query_one(Page)
        page.restate()
        page.scroll_home(animate=False)

    def _ask(self, project: str, flavor: str, count: str) -> WhatIf:
        """The answer, with Placement's own word for it. Blocks. Raises PlanError, UnknownName."""
        if not count.isascii() or not count.isdigit() or not 1 <= int(count[:9]) <= _MOST:
            raise UnknownName(f"{count[:20]!r} is no number of servers: 1 to {_MOST}")
        facts, snapshot = self._known()
        exact = {label: id for id, label in self._labels.items()}.get(project)
        project_id = exact or find_project(facts, project).id
        chosen = find_flavor(facts, flavor)
        request = request_of(chosen)
        candidates = self._candidates(request.groups, request.policy)
        return can_start(facts, snapshot, project_id, chosen.id, int(count), candidates)

    def _lines(self, width: int) -> Sequence[Line]:
        if self._wrong:
            return [(), *hang((("✗ ", "fail"),), self._wrong, "", width)]
        if self._asking:
            return [(), ((f"asking Placement {glyphs().pending}", "muted"),)]
        if self._answer is not None:
            return [(), *what_if_lines(self._answer, width)]
        if not self._flavors:
            return [(), (("Nova's flavors are not known yet", "unknown"),)]
        vgpu = [f.name for f in self._flavors if _asks_for_vgpus(f)]
        said = f"flavors that ask for vGPUs: {', '.join(vgpu)}" if vgpu else "no flavor asks for vGPUs"
        return [(), *hang((), said, "muted", width)]


def _flavors(facts: Facts) -> Sequence[Flavor]:
    return (facts.nova.flavors if facts.nova is not None else None) or ()


def _asks_for_vgpus(flavor: Flavor) -> bool:
    wanted = nova_resources(flavor.extra_specs, flavor.vcpus, flavor.ram_mib, flavor.disk_gib)
    return any(name == "class:VGPU" or name.startswith("class:CUSTOM_") for name in wanted)
