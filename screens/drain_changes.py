"""How drains begin, are gone on with and are interfered with from the keyboard. No method blocks."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.message import Message
from textual.widgets import Input

from vgpu_console.actions.drain_report import report
from vgpu_console.actions.plan import PlanError
from vgpu_console.screens.render.drain import report_text, status
from vgpu_console.screens.render.words import plural
from vgpu_console.screens.seams import Drainer, DrainingEngine

if TYPE_CHECKING:
    from vgpu_console.actions.drain import Drain
    from vgpu_console.actions.drain_desk import KnownDrain
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.screens.changes import Changes
    from vgpu_console.screens.dialogs.drain import Agreed
    from vgpu_console.screens.dialogs.drain_left import GoOn

LOG = logging.getLogger("vgpu_console.screens")

START, DISABLE, ENABLE = "migrate.start", "service.disable", "service.enable"
NO_DRAINER = "this console drains no hosts"

Wanted = Mapping[str, frozenset[str] | None]
"""Host -> the servers that are to leave it; None: every one."""


class DrainsMoved(Message):
    """Something new about drains. The desk itself holds the news."""

    def can_replace(self, message: Message) -> bool:
        """One is enough."""
        return isinstance(message, DrainsMoved)


class DrainOver(Message):
    """A drain of this console has come to its end."""

    def __init__(self, known: KnownDrain) -> None:
        super().__init__()
        self.known = known


class DrainsLeft(Message):
    """Drains that another console had begun and did not end."""

    def __init__(self, drains: tuple[KnownDrain, ...]) -> None:
        super().__init__()
        self.drains = drains


class DrainChanges:
    """Asks what is needed; the desk does it. All methods are called on the UI loop."""

    def __init__(self, app: VgpuConsoleApp, changes: Changes) -> None:
        self._app = app
        self._changes = changes
        self._asked_to_leave = float("-inf")

    @property
    def drainer(self) -> Drainer | None:
        """What drains; None while the cloud is opened, and where the engine does not."""
        engine = self._app.engine
        return engine.drainer if isinstance(engine, DrainingEngine) else None

    def open(self) -> None:
        """Hear of drains, also of those that were left."""
        drainer, app = self.drainer, self._app
        if drainer is None:
            return

        def moved() -> None:
            app.post_message(DrainsMoved())

        def over(known: KnownDrain) -> None:
            app.post_message(DrainOver(known))

        def left(drains: tuple[KnownDrain, ...]) -> None:
            app.post_message(DrainsLeft(drains))

        drainer.open(moved, over, left)

    def leave(self) -> None:
        """The console is being left: what is being asked of Nova is written down before it ends."""
        drainer = self.drainer
        if drainer is not None and any(one.runs_here for one in drainer.drains()):
            threading.Thread(target=drainer.close, name="leave-drains", daemon=False).start()

    def why_stay(self) -> str:
        """Why the console is not left at once: a drain that it runs. Asked a second time it gives way."""
        running = [one for one in self._known() if one.runs_here]
        now = time.monotonic()
        again = now - self._asked_to_leave < _LEAVE_WITHIN_S
        self._asked_to_leave = now
        if not running or again:
            return ""
        hosts = ", ".join(one.drain.host for one in running)
        return f"{hosts}: the drain stops here, migrations go on and it can be resumed; once more leaves"

    def _known(self) -> tuple[KnownDrain, ...]:
        return self.drainer.drains() if self.drainer is not None else ()

    # What is told -------------------------------------------------------------------------------------------------

    def tell_over(self, known: KnownDrain) -> None:
        """How one ended, wherever the operator is."""
        word, tone = status(known)
        done = known.view.counts.get("done", 0)
        tones = {"fail": "error", "warn": "warning"}
        said = f"drain of {known.drain.host}: {word[2:]}, {done} of {len(known.view.rows)} moved; 4 shows it"
        self._app.say(said, tones.get(tone, "information"))  # type: ignore[arg-type]

    def offer_at_start(self, left: Sequence[KnownDrain]) -> None:
        """The same for those of another console; only a word where the operator is typing or has a dialog open."""
        screen = self._app.screen
        if isinstance(self._app.focused, Input) or screen.is_modal:
            hosts = ", ".join(one.drain.host for one in left)
            self._app.say(f"{hosts}: a drain was left before it was done; 4 shows it", "warning")
        else:
            self.offer(left)

    def offer(self, left: Sequence[KnownDrain], *, seen: bool = False) -> None:
        """Offer to go on with drains that were left; nothing goes on by itself."""
        from vgpu_console.screens.dialogs.drain_left import DrainLeftDialog

        def answered(wish: GoOn | None) -> None:
            if wish is not None and wish.look:
                self._app.open_drain(wish.id)
            elif wish is not None:
                self._resume(wish)

        self._app.push_screen(DrainLeftDialog(left, self._app.steady, self.why_not_begin, seen=seen), answered)

    # Begin --------------------------------------------------------------------------------------------------------

    def why_not(self, wanted: Wanted) -> str:
        """Why no plan can be shown; one of a read-only console can."""
        if self._app.snapshot is None or self._app.engine is None:
            return self._changes.why_not(START)
        if self.drainer is None:
            return NO_DRAINER
        return "" if wanted else "no host is under the cursor and no server is marked (1 shows hosts, 2 servers)"

    def why_not_begin(self, disable: bool) -> str:
        """Why nothing may be begun; with ``disable`` the service of the host would be disabled first."""
        if self.drainer is None:
            return NO_DRAINER
        why = self._changes.why_not(START)
        return why or (self._changes.why_not(DISABLE) if disable else "")

    def begin(self, wanted: Wanted) -> None:
        """Show the plan of a drain; a host that is being drained here shows that instead."""
        from vgpu_console.screens.dialogs.drain import DrainDialog

        drainer = self.drainer
        if drainer is None:
            return
        running = next((one for one in drainer.drains() if one.runs_here and one.drain.host in wanted), None)
        if running is not None:
            self._app.say(f"{running.drain.host} is being drained: here it is")
            self._app.open_drain(running.drain.id)
            return
        left = next((one for one in drainer.drains() if one.left and one.drain.host in wanted), None)
        note = f"an earlier drain of {left.drain.host} was left: 4 shows it, to go on with it" if left else ""

        def answered(agreed: Agreed | None) -> None:
            if agreed is not None:
                self._app.run_worker(self._begin(drainer, agreed), group="drain-begin")

        self._app.push_screen(
            DrainDialog(
                drainer,
                wanted,
                _heading(wanted),
                known=lambda: self._app.snapshot,
                now=self._app.now,
                clock=self._app.steady,
                why_not=self.why_not_begin,
                note=note,
            ),
            answered,
        )

    async def _begin(self, drainer: Drainer, agreed: Agreed) -> None:
        try:
            ids = await asyncio.to_thread(drainer.begin, agreed.plans, agreed.options)
        except PlanError as error:
            self._app.say(f"nothing was begun: {error}", "error")
            return
        if len(ids) == 1:
            self._app.open_drain(ids[0])
        else:
            self._app.say(f"{plural(len(ids), 'drain')} begun")
            self._app.go("migrations")

    def _resume(self, wish: GoOn) -> None:
        drainer = self.drainer
        if drainer is None:
            return

        async def resume() -> None:
            try:
                await asyncio.to_thread(drainer.resume, wish.id, failed_too=wish.failed_too)
            except PlanError as error:
                self._app.say(f"not gone on with: {error}", "error")
                await asyncio.to_thread(drainer.read_left)
            else:
                self._app.open_drain(wish.id)

        self._app.run_worker(resume(), group="drain-begin")

    # On one that is shown -----------------------------------------------------------------------------------------

    def pause(self, id: str) -> None:
        """Start no more for now."""
        self._do(lambda drainer: drainer.pause(id))

    def go_on(self, id: str) -> None:
        """Start again; one that nobody runs is offered first."""
        drainer = self.drainer
        known = drainer.drain(id) if drainer is not None else None
        if known is not None and known.runs_here:
            self._do(lambda drainer: drainer.go_on(id))
        elif known is not None:
            self.offer((known,), seen=True)

    def stop(self, id: str) -> None:
        """Start no more at all."""
        self._do(lambda drainer: drainer.stop(id))

    def accept(self, id: str, checks: Sequence[str]) -> None:
        """Take these checks upon the drain."""
        self._do(lambda drainer: drainer.accept(id, checks))

    def enable(self, host: str) -> None:
        """Show the plan that lets the scheduler use the host again."""
        drainer = self.drainer
        if drainer is not None and self._changes.can_begin():
            self._changes.plan_at_once(lambda: (drainer.plan_enable(host),))

    def _do(self, what: Callable[[Drainer], None]) -> None:
        """In a thread: it is on the disk before it counts."""
        drainer = self.drainer
        if drainer is None:
            return

        async def do() -> None:
            await asyncio.to_thread(what, drainer)
            self._app.update_screen()

        self._app.run_worker(do(), group="drain-do", exit_on_error=False)

    def write_report(self, drain: Drain) -> None:
        """Write the report as text and as JSON, beside the other exports, and say where."""

        def make() -> Mapping[str, bytes]:
            record = json.dumps(report(drain), indent=2, ensure_ascii=False)
            return {".txt": report_text(drain).encode(), ".json": f"{record}\n".encode()}

        self._app.saving.save(f"drain-{_slug(drain)}", make)


_LEAVE_WITHIN_S = 5.0


def _slug(drain: Drain) -> str:
    """A part of a file's name: the host's letters."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in drain.host)[:60]


def _heading(wanted: Wanted) -> str:
    """``Drain gpu-01``, ``Drain 2 hosts``, ``Move 3 servers away from gpu-01``."""
    hosts = list(wanted)
    servers = [ids for ids in wanted.values() if ids is not None]
    where = hosts[0] if len(hosts) == 1 else plural(len(hosts), "host")
    if servers:
        return f"Move {plural(sum(map(len, servers)), 'server')} away from {where}"
    return f"Drain {where}"
