"""The console over a recording: the same screens, a line that says where it is, and keys that move it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, TextArea

from vgpu_console.app import EXIT_FAILED, VgpuConsoleApp
from vgpu_console.config import Settings
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.recording.moments import local_words, moment_s
from vgpu_console.recording.replay import A_RECORDING
from vgpu_console.screens import keys
from vgpu_console.screens.changes import Changes
from vgpu_console.screens.drain_changes import DrainChanges, Wanted
from vgpu_console.screens.migration_changes import MigrationChanges
from vgpu_console.screens.replay_bar import ReplayBar
from vgpu_console.screens.seams import Transport
from vgpu_console.screens.view import ViewScreen
from vgpu_console.screens.widgets import cells
from vgpu_console.screens.widgets.cells import Span


class NoMoves(MigrationChanges):
    """No migration can be checked or begun in the past."""

    def why_not_check(self, server_id: str | None) -> str:
        """Always the same reason."""
        return A_RECORDING

    def why_not_act(self, action_id: str, timeline: Timeline | None) -> str:
        """Always the same reason."""
        return A_RECORDING


class NoDrains(DrainChanges):
    """No host can be drained in the past."""

    def why_not(self, wanted: Wanted) -> str:
        """Always the same reason."""
        return A_RECORDING


class NoChanges(Changes):
    """Nothing can be changed in the past, whatever the recorded credential could do."""

    def __init__(self, app: VgpuConsoleApp) -> None:
        super().__init__(app)
        self.moves = NoMoves(app, self)
        self.drains = NoDrains(app, self)

    def why_not(self, action_id: str) -> str:
        """Always the same reason."""
        return A_RECORDING


class ReplayApp(VgpuConsoleApp):
    """The console whose engine and clock are a recording."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(one for one in keys.bindings("replay") if one.id != "replay.play"),
        # a table marks rows with space; there is nothing to mark for here
        Binding("space", "replay_play", keys.BY_ID["replay.play"].help, id="replay.play", show=True, priority=True),
    ]

    def __init__(self, transport: Transport, *, settings: Settings | None = None) -> None:
        super().__init__(lambda: transport, settings=settings, clock=transport.now)
        self.transport = transport
        self.changes = NoChanges(self)
        self._told = ""

    def frame_lines(self) -> Iterable[Widget]:
        """The transport line, above the keys."""
        yield ReplayBar(self.transport)

    def notices(self) -> list[Span]:
        """Instead of PAUSED: that this is the past, and which."""
        return [(f"REPLAY {local_words(self.transport.position.time)}", "warn")]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Space is for words where something is typed, and for the dialog in front."""
        if action == "replay_play":
            return isinstance(self.screen, ViewScreen) and not isinstance(self.focused, Input | TextArea)
        if action.startswith("replay_") and not isinstance(self.screen, ViewScreen):
            return False
        return super().check_action(action, parameters)

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_replay_play(self) -> None:
        """Play or pause."""
        self.transport.toggle()
        self.update_screen()

    def action_pause(self) -> None:
        """The console's own key for it."""
        self.action_replay_play()

    def action_replay_step(self, frames: int) -> None:
        """Frame by frame."""
        self.transport.step(frames)
        self.update_screen()

    def action_replay_skip(self, seconds: int) -> None:
        """Some minutes on or back."""
        self.transport.skip(seconds)
        self.update_screen()

    def action_replay_mark(self, direction: int) -> None:
        """To where something began."""
        if not self.transport.to_mark(direction):
            self.say("nothing begins after this" if direction > 0 else "nothing began before this")
        self.update_screen()

    def action_replay_speed(self, steps: int) -> None:
        """Faster or slower."""
        self.transport.change_speed(steps)
        self.update_screen()

    def action_replay_time(self) -> None:
        """To a time that is typed."""
        from vgpu_console.screens.dialogs.replay_time import ReplayTimeDialog

        position = self.transport.position

        def chosen(time: float | None) -> None:
            if time is not None:
                self.transport.seek(time)
                self.update_screen()

        self.push_screen(ReplayTimeDialog(position, lambda text: moment_s(text, position.first, position.last)), chosen)

    def action_refresh_now(self) -> None:
        """There is nobody to ask."""
        self.say(A_RECORDING)

    def update_screen(self) -> None:
        """Also say what could not be read, once."""
        super().update_screen()
        note = self.transport.position.note
        if note != self._told:
            self._told = note
            self.say(f"this recording: {note}", "warning")
        for screen in self.screen_stack:
            for bar in screen.query(ReplayBar):  # the first picture ends its "reading"
                bar.tick()


def run(settings: Settings, transport: Transport) -> int:
    """Show a recording until the operator leaves; returns the exit code."""
    cells.use_glyphs(cells.glyphs_for(getattr(sys.__stderr__, "encoding", None)))  # where Textual writes to
    app = ReplayApp(transport, settings=settings)
    code = app.run()
    if app.failure is not None:
        print(f"vgpu-console: {app.failure}", file=sys.stderr)  # noqa: T201 - words for the shell, after the screen
    return EXIT_FAILED if code is None else code
