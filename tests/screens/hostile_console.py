"""The console over a fleet of hostile names, to be run in a pseudo-terminal."""

from __future__ import annotations

import sys

from tests.screens.fleets import NOW, StillEngine
from tests.screens.hostile import PIECES, hostile_fleet
from vgpu_console.app import VgpuConsoleApp

if __name__ == "__main__":
    app = VgpuConsoleApp(lambda: StillEngine(hostile_fleet(list(PIECES))), clock=lambda: NOW)
    sys.exit(app.run())
