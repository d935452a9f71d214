"""The console as a Textual application: it owns the engine, the latest snapshot and the keys that work everywhere."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from vgpu_console.config import APP, ConfigError, DemoChoice, Settings
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.screens import keys, themes
from vgpu_console.screens.changes import ChangeMoved, Changes
from vgpu_console.screens.drain_changes import DrainOver, DrainsLeft, DrainsMoved
from vgpu_console.screens.migration_changes import MoveEnded, MovesChanged
from vgpu_console.screens.navigation import Navigation
from vgpu_console.screens.palette import ConsoleCommands
from vgpu_console.screens.render.words import block
from vgpu_console.screens.saving import Saving
from vgpu_console.screens.seams import FleetEngine
from vgpu_console.screens.view import ViewScreen
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.sources.base import SourceError
from vgpu_console.text import plain

LOG = logging.getLogger("vgpu_console.app")

ASSETS = Path(__file__).parent / "assets"
QUIT_WITHIN_S = 2.0
"""Two ctrl+c within this time end the console."""

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_NO_CONNECTION = 0, 1, 2, 3


class SnapshotArrived(Message):
    """The engine has a new snapshot. A later one replaces one that is still waiting."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        """Only the latest snapshot is worth showing."""
        return isinstance(message, SnapshotArrived)


class EngineOpened(Message):
    """The engine was built."""

    def __init__(self, engine: FleetEngine) -> None:
        super().__init__()
        self.engine = engine


class EngineFailed(Message):
    """The engine could not be built: the settings are wrong, or there is nothing to connect to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _fleet() -> Screen[Any]:
    from vgpu_console.screens.dashboard import DashboardScreen

    return DashboardScreen()


def _servers() -> Screen[Any]:
    from vgpu_console.screens.servers import ServersScreen

    return ServersScreen()


def _quota() -> Screen[Any]:
    from vgpu_console.screens.quota import QuotaScreen

    return QuotaScreen()


def _migrations() -> Screen[Any]:
    from vgpu_console.screens.migrations import MigrationsScreen

    return MigrationsScreen()


def _doctor() -> Screen[Any]:
    from vgpu_console.screens.doctor import DoctorScreen

    return DoctorScreen()


def _journal() -> Screen[Any]:
    from vgpu_console.screens.journal import JournalScreen

    return JournalScreen()


class VgpuConsoleApp(Navigation):
    """The console. ``engine_factory`` is called in a thread once the first picture is on the screen."""

    TITLE = APP
    CSS_PATH: ClassVar[Any] = [ASSETS / "base.tcss", ASSETS / "console.tcss"]
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "fleet": _fleet,
        "servers": _servers,
        "quota": _quota,
        "migrations": _migrations,
        "doctor": _doctor,
        "journal": _journal,
    }
    DEFAULT_MODE = "fleet"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("app")]
    COMMANDS: ClassVar[Any] = {ConsoleCommands}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it as an instance variable
        (0, "-tiny-w"),
        (60, "-narrow"),
        (100, "-medium"),
        (140, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-tiny-h"),
        (15, "-short"),
        (30, "-tall"),
        (46, "-high"),
    ]
    ENABLE_COMMAND_PALETTE = True
    NOTIFICATION_TIMEOUT = 4

    def __init__(
        self,
        engine_factory: Callable[[], FleetEngine],
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        export_folder: Path | None = None,
    ) -> None:
        # Textual takes NO_COLOR out of the environment for itself, so the theme is chosen before.
        theme = themes.choose_theme(os.environ, settings.theme if settings else None)
        super().__init__()
        self.settings = settings or Settings()
        self.snapshot: Snapshot | None = None
        self.engine: FleetEngine | None = None
        self._engine_factory = engine_factory
        self._clock = clock
        self.steady = steady
        """Seconds that never jump, for what counts from one key to the next."""
        self.changes = Changes(self)
        self.saving = Saving(self, export_folder)
        self._clashes: set[str] = set()
        self._interrupted_at = float("-inf")
        self.failure: str | None = None
        """Why the console ended by itself, as one plain line."""
        themes.register_themes(self, theme)

    # Life ---------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Start the engine in a thread of its own, so that the first picture does not wait for anything."""
        self.set_keymap(dict(self.settings.keys))
        for line in keys.unknown_ids(self.settings.keys):
            self.say(line, "warning")
        threading.Thread(target=self._open_engine, name="open-engine", daemon=True).start()
        self.set_interval(1.0, self.update_screen)

    def _open_engine(self) -> None:
        try:
            engine = self._engine_factory()
        except Exception as error:  # whatever it is, the operator gets one line instead of a frozen screen
            self.post_message(EngineFailed(error))
        else:
            self.post_message(EngineOpened(engine))

    def on_engine_opened(self, message: EngineOpened) -> None:
        """Begin to receive snapshots."""
        self.engine = message.engine
        message.engine.start(self._receive)
        self.changes.look_for_unfinished()
        self.changes.moves.open()
        self.changes.drains.open()

    def _receive(self, snapshot: Snapshot) -> None:
        """Called from the engine's thread."""
        self.post_message(SnapshotArrived(snapshot))

    def on_engine_failed(self, message: EngineFailed) -> None:
        """Leave with one line on standard error: nothing on a screen could mend a wrong setting."""
        error = message.error
        self.failure = plain(str(error) or type(error).__name__)
        code = EXIT_NO_CONNECTION if isinstance(error, SourceError) else EXIT_USAGE
        if not isinstance(error, (SourceError, ConfigError)):
            code = EXIT_FAILED
            LOG.error("the engine could not be built", exc_info=error)
            self.failure = f"{type(error).__name__}: {self.failure} (the log has more)"
        self.exit(code, return_code=code)

    def on_unmount(self) -> None:
        """Let the engine end beside us: a call that hangs must not hold the terminal."""
        self.changes.leave()
        if self.engine is not None:
            threading.Thread(target=self.engine.stop, name="stop-engine", daemon=True).start()

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """Show the new snapshot."""
        if self.snapshot is None:
            gc.freeze()  # what is loaded by now stays: no collection need walk it while a key waits
        self.snapshot = message.snapshot
        self.update_screen()
        self.changes.on_snapshot(message.snapshot)

    def on_change_moved(self, message: ChangeMoved) -> None:
        """Show how far a change is."""
        self.changes.on_moved(message.run)

    def on_moves_changed(self, _message: MovesChanged) -> None:
        """Something new about followed live migrations: the screens that show them say it at once."""
        screen = next((s for s in reversed(self.screen_stack) if isinstance(s, ViewScreen)), None)
        if screen is not None and screen.view == "migrations":
            screen.update()

    def on_drains_moved(self, _message: DrainsMoved) -> None:
        """Something new about drains: they are shown beside the migrations."""
        self.on_moves_changed(MovesChanged())

    def on_drain_over(self, message: DrainOver) -> None:
        """Tell the end of a drain of this console."""
        self.changes.drains.tell_over(message.known)
        self.update_screen()
        self.ask_sources()

    def on_drains_left(self, message: DrainsLeft) -> None:
        """Offer to go on with what another console left."""
        self.changes.drains.offer_at_start(message.drains)

    def on_move_ended(self, message: MoveEnded) -> None:
        """Tell the end of a followed live migration, and show it where it is listed."""
        self.changes.moves.tell(message.timeline)
        self.update_screen()
        self.ask_sources()

    def update_screen(self) -> None:
        """Bring the view in front up to date, also when a dialog stands before it. Called every second for the ages."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ViewScreen):
                screen.update()
                return

    def why_not(self, action_id: str) -> str:
        """Why an action of the registry is not possible now; "" when it is."""
        return self.changes.why_not(action_id)

    def now(self) -> float:
        """Seconds since the epoch, by the clock that the app was given."""
        return self._clock()

    def frame_lines(self) -> Iterable[Widget]:
        """Lines that every view has above its keys; none here."""
        return ()

    def notices(self) -> list[Span]:
        """What the first line says beside who may do what."""
        return [("‖ PAUSED", "warn")] if self.paused else []

    @property
    def paused(self) -> bool:
        """True while no source is asked."""
        return self.engine is not None and self.engine.paused

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: object) -> None:
        """Two actions on one key of the configuration: say it once."""
        names = ", ".join(sorted({b.id or b.action for b in clashed_bindings}))
        if names not in self._clashes:
            self._clashes.add(names)
            self.say(f"keys: two actions on one key; {names} lost theirs", "warning")

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """All keys that work on the screen in front."""
        from vgpu_console.screens.dialogs.help import HelpDialog

        def chosen(action: tuple[str, Any] | None) -> None:
            if action is not None:
                self.call_next(self.run_action, *action)

        screen = self.screen
        unavailable = screen.unavailable() if isinstance(screen, ViewScreen) else {}
        self.push_screen(HelpDialog(list(screen.active_bindings.values()), unavailable), chosen)

    def action_refresh_now(self) -> None:
        """Ask every source again."""
        if self.engine is None:
            self.say("the cloud is still being opened")
            return
        self.ask_sources()
        self.say("asking every source")

    def ask_sources(self) -> None:
        """Ask every source again, without a word."""
        if self.engine is not None:
            threading.Thread(target=self.engine.refresh_now, name="refresh", daemon=True).start()

    def action_pause(self) -> None:
        """Hold still, or go on."""
        if self.engine is None:
            self.say("the cloud is still being opened")
            return
        if self.engine.paused:
            self.engine.resume()
        else:
            self.engine.pause()
        self.update_screen()

    def action_theme(self) -> None:
        """The next theme."""
        names = [theme.name for theme in themes.THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        self.say(f"theme {self.theme.removeprefix('vgpu-')}")

    def action_quit_or_back(self) -> None:
        """Quit; in a detail, back."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.action_exit_now()

    def action_exit_now(self) -> None:
        """Quit from wherever we are, but not in the middle of a change."""
        if self.changes.running:
            self.say("a change is being applied; ctrl+c twice leaves all the same", "warning")
        elif why := self.changes.drains.why_stay():
            self.say(why, "warning")
        else:
            self.exit(EXIT_OK)

    def action_interrupt(self) -> None:
        """Quit at the second ctrl+c in a row."""
        now = time.monotonic()
        if now - self._interrupted_at <= QUIT_WITHIN_S:
            self.exit(EXIT_OK)
            return
        self._interrupted_at = now
        self.say("ctrl+c once more quits")

    # Copies and exports -------------------------------------------------------------------------------------------

    def copy_chosen(self, chosen: tuple[str, str] | None) -> None:
        """Copy what was chosen in the copy dialog: what it is, and the text."""
        if chosen is not None:
            self.copy_text(chosen[1], chosen[0])

    def copy_text(self, text: str, what: str) -> None:
        """To the operator's clipboard through the terminal (OSC 52); what is too long is shown to be selected."""
        text = block(text)
        size = 4 * -(-len(text.encode()) // 3)  # as base64
        most = self.settings.copy.osc52_max
        if size > most:
            from vgpu_console.screens.dialogs.text import TextDialog

            why = (
                "copying is off (copy.osc52_max is 0)"
                if most == 0
                else f"{size} bytes, more than {most} for a terminal"
            )
            self.push_screen(TextDialog(what, text, f"{why}: select it here"))
            return
        self.copy_to_clipboard(text)
        shown = text if len(text) <= 60 and "\n" not in text else f"{len(text)} characters"
        self.say(f"copied {what}: {shown}")

    def action_export(self) -> None:
        """Write the screen in front, or a report of the fleet, into a file."""
        self.saving.ask()


def run(settings: Settings, demo: DemoChoice | None = None) -> int:
    """Show the console until the operator leaves; returns the exit code."""

    def factory() -> FleetEngine:
        from vgpu_console.runtime import open_engine

        return open_engine(settings, demo)

    cells.use_glyphs(cells.glyphs_for(getattr(sys.__stderr__, "encoding", None)))  # where Textual writes to
    app = VgpuConsoleApp(factory, settings=settings)
    code = app.run()
    if app.failure is not None:
        print(f"vgpu-console: {app.failure}", file=sys.stderr)  # noqa: T201 - words for the shell, after the screen
    return EXIT_FAILED if code is None else code
