"""The parts of the README that are made from the code: run ``python -m tests.docs.readme`` to bring them up to date."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from vgpu_console.app import VgpuConsoleApp

TREE = Path(__file__).resolve().parents[2]
README = TREE / "README.md"
PICTURES = TREE / "assets" / "pictures"
SIZE = (120, 36)


def with_part(text: str, name: str, body: str) -> str:
    """The text with what stands between the markers of a part replaced. Raises ValueError when there are none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md has no part {name}")
    return pattern.sub(lambda _: f"{begin}\n{body.strip()}\n{end}", text)


def with_keys(text: str) -> str:
    """The text with the table of keys as the screens bind them."""
    from vgpu_console.screens.keys import markdown_table

    return with_part(text, "keys", markdown_table())


def draw() -> None:
    """All pictures, as SVG, of consoles on the embedded cloud that leave no trace in the operator's own folders."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        _on("small", _views)
        _on("moves", _moves)


def _on(scenario: str, work: Callable[[VgpuConsoleApp, Pilot[Any]], Awaitable[None]]) -> None:
    """Run the console on a scenario until everything has answered, then do the work."""
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.runtime import open_engine

    def answered(app: VgpuConsoleApp) -> bool:
        seen = app.snapshot
        return seen is not None and bool(seen.mdevs) and all(s.fetched_at or s.error for s in seen.sources)

    async def run() -> None:
        settings = Settings(theme="dark")
        app = VgpuConsoleApp(lambda: open_engine(settings, DemoChoice(scenario)), settings=settings)
        async with app.run_test(size=SIZE, notifications=True) as pilot:
            await _until(pilot, lambda: answered(app))
            await pilot.pause(2.0)
            await work(app, pilot)

    asyncio.run(run())


async def _until(pilot: Pilot[Any], true: Callable[[], Any], seconds: float = 120.0) -> None:
    """Wait until something is so. Raises TimeoutError when it never is."""
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        await pilot.pause(0.05)
    raise TimeoutError("the embedded cloud does not come to what the picture is to show")


def _save(app: VgpuConsoleApp, name: str) -> None:
    from vgpu_console.screens.export import picture_of

    app.clear_notifications()
    (PICTURES / f"{name}.svg").write_text(picture_of(app).svg, encoding="utf-8")


async def _views(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
    """The dashboard, a host and the quota screen."""
    for name, keys in (("dashboard", ()), ("host", ("enter",)), ("quota", ("escape", "3"))):
        await pilot.press(*keys)
        await pilot.pause(0.5)
        _save(app, name)


async def _moves(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
    """The checks before a live migration, then the drain of a host: one server's timeline, and all in a table."""
    from vgpu_console.screens.dialogs.drain import DrainDialog
    from vgpu_console.screens.dialogs.migrate_check import MigrateCheckDialog
    from vgpu_console.screens.drain import DrainScreen

    def percent(number: int) -> float:
        drainer = app.changes.drains.drainer
        rows = drainer.drains()[0].view.rows if drainer is not None and drainer.drains() else ()
        return (rows[number].ram_percent or 0.0) if rows and rows[number].state == "running" else 0.0

    await _until(pilot, lambda: not app.changes.why_not("migrate.start"))
    await pilot.press("2")
    await pilot.pause(0.5)
    await pilot.press("m")
    await _until(pilot, lambda: isinstance(app.screen, MigrateCheckDialog) and app.screen.chosen is not None)
    await pilot.pause(0.5)
    _save(app, "check")
    await pilot.press("escape", "1")
    await pilot.resize_terminal(SIZE[0], 26)
    await pilot.pause(0.5)
    await pilot.press("d")
    await _until(pilot, lambda: isinstance(app.screen, DrainDialog) and app.screen.options.to is None)
    await pilot.pause(2.0)
    await pilot.press("s", *["space"] * 6, "a")
    await _until(pilot, lambda: isinstance(app.screen, DrainScreen))
    await _until(pilot, lambda: percent(0) > 60)
    await pilot.press("enter")
    await pilot.pause(2.0)
    _save(app, "timeline")
    await pilot.press("escape")
    await _until(pilot, lambda: percent(1) > 40)
    await pilot.pause(1.0)
    _save(app, "drain")


def main(arguments: list[str]) -> None:
    """Write the README's parts; with ``pictures`` draw the pictures too."""
    README.write_text(with_keys(README.read_text(encoding="utf-8")), encoding="utf-8")
    if "pictures" in arguments:
        draw()


if __name__ == "__main__":
    main(sys.argv[1:])
