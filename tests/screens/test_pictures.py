"""The screens as pictures (SVG), in the sizes that operators have. A change here is a change an operator sees.

The command palette is left out: its picture depends on timing.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.screens import fleets
from tests.screens.driving import console
from vgpu_console.config import Settings
from vgpu_console.model.snapshot import Snapshot

SIZES = [(80, 24), (120, 40), (200, 50)]


def _name(value: object) -> str:
    """The test's name: only the words and the size count."""
    if isinstance(value, tuple) and value and isinstance(value[0], int):
        return f"{value[0]}x{value[1]}"
    return value if isinstance(value, str) else "-"


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    for name in ("NO_COLOR", "COLORFGBG", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)


async def _ready(pilot: Any) -> None:
    for _ in range(300):
        if pilot.app.snapshot is not None:
            break
        await pilot.pause(0.01)
    await pilot.pause()
    await pilot.pause()


def _then(*keys: str) -> Any:
    async def run(pilot: Any) -> None:
        await _ready(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        for blinking in pilot.app.screen.query("Input"):
            blinking.cursor_blink = False
        await pilot.pause()

    return run


@pytest.mark.parametrize("size", SIZES, ids=_name)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("fleet", ()),
        ("host", ("enter",)),
        ("servers", ("2",)),
        ("quota", ("3",)),
        ("migrations", ("4",)),
    ],
    ids=_name,
)
def test_view(snap_compare: Any, name: str, keys: tuple[str, ...], size: tuple[int, int]) -> None:
    assert snap_compare(console(), terminal_size=size, run_before=_then(*keys))


@pytest.mark.parametrize("theme", ["light", "colour-blind", "mono"])
def test_theme(snap_compare: Any, theme: Any) -> None:
    app = console(settings=Settings(theme=theme))
    assert snap_compare(app, terminal_size=(120, 40), run_before=_then())


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("help", ("question_mark",)),
        ("jump", ("colon", "g", "p", "u")),
        ("sort", ("s",)),
        ("copy", ("y",)),
        ("server", ("2", "enter")),
        ("filter", ("slash", "a", "4", "0")),
        ("filter-that-fits-nothing", ("slash", "x", "x")),
        ("a-silent-host", ("down", "down", "down", "enter")),
        ("a-vendor-vfio-host", ("end", "enter")),
        ("paused-faults-only", ("p", "z")),
    ],
    ids=_name,
)
def test_dialog_or_state(snap_compare: Any, name: str, keys: tuple[str, ...]) -> None:
    assert snap_compare(console(), terminal_size=(100, 30), run_before=_then(*keys))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("all-down", fleets.all_down()),
        ("nothing-there", Snapshot(taken_at=fleets.NOW, identity=fleets.IDENTITY, sources=fleets.fleet().sources[:3])),
        (
            "nova-fails-with-old-data",
            fleets.fleet(
                sources=(fleets.source("nova", 95, error="502: bad gateway"), *fleets.fleet().sources[1:]),
            ),
        ),
    ],
    ids=_name,
)
def test_trouble(snap_compare: Any, name: str, shown: Snapshot) -> None:
    assert snap_compare(console(shown), terminal_size=(100, 30), run_before=_then())


def test_too_small(snap_compare: Any) -> None:
    assert snap_compare(console(), terminal_size=(50, 12), run_before=_then())
