"""Out of the console: the clipboard."""

from __future__ import annotations

import base64
from typing import Any

from textual.pilot import Pilot
from textual.widgets import TextArea

from tests.screens import fleets
from tests.screens.driving import (
    console,
    drive,
    press,
    toasts,
)
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.config import CopySettings, Settings
from vgpu_console.screens.dialogs.copy import CopyDialog
from vgpu_console.screens.dialogs.text import TextDialog

Driver = Pilot[Any]


def _clipboard(app: VgpuConsoleApp) -> str:
    return app.clipboard


def test_copy_offers_name_and_row_and_writes_the_clipboard() -> None:
    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "y")
        assert isinstance(app.screen, CopyDialog)
        await press(pilot, "n")
        assert _clipboard(app) == "gpu-01"
        assert "copied host name: gpu-01" in toasts(app)
        await press(pilot, "y", "a")
        lines = _clipboard(app).splitlines()
        assert len(lines) == 7
        assert lines[0].startswith("HOST\tSTATE\tGPUS")
        await press(pilot, "2", "y", "i")
        assert _clipboard(app) == fleets.server_id(100)

    drive(console(), test)


def test_what_is_too_long_for_the_terminal_is_shown_instead() -> None:
    most = len(base64.b64encode(b"gpu-01"))
    settings = Settings(copy=CopySettings(osc52_max=most))

    async def test(app: VgpuConsoleApp, pilot: Driver) -> None:
        await press(pilot, "y", "n")
        assert _clipboard(app) == "gpu-01", "at the limit it is written"
        await press(pilot, "y", "t")
        assert isinstance(app.screen, TextDialog)
        assert _clipboard(app) == "gpu-01", "above it, not"
        assert app.screen.query_one(TextArea).text.startswith("gpu-01  ✓ up")

    drive(console(settings=settings), test)
