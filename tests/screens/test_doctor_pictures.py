"""Pictures (SVG) of the doctor: with findings, with none, and of one finding, in the sizes that operators have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.screens import ailing, fleets
from tests.screens.driving import console
from tests.screens.test_pictures import _name, _still, _then
from vgpu_console.config import Settings
from vgpu_console.model.snapshot import Snapshot

__all__ = ["_still"]  # the fixture that keeps pictures from moving

WELL = fleets.fleet(hosts=tuple(msgspec.structs.replace(h, findings=()) for h in fleets.six_hosts()))
SHOWN = {
    "findings": ailing.ailing(),
    "nothing-wrong": msgspec.structs.replace(WELL, unlooked=ailing.UNLOOKED),
    "all-looked-at": WELL,
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=_name)
@pytest.mark.parametrize(("name", "shown"), SHOWN.items(), ids=_name)
def test_doctor(snap_compare: Any, name: str, shown: Snapshot, size: tuple[int, int]) -> None:
    assert snap_compare(console(shown), terminal_size=size, run_before=_then("exclamation_mark"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=_name)
@pytest.mark.parametrize(
    ("name", "keys"), [("finding", ("down", "enter")), ("several", ("down", "down", "enter")), ("unlooked", ("u",))]
)
def test_dialog(snap_compare: Any, name: str, keys: tuple[str, ...], size: tuple[int, int]) -> None:
    assert snap_compare(console(ailing.ailing()), terminal_size=size, run_before=_then("exclamation_mark", *keys))


@pytest.mark.parametrize("keys", [(), ("down", "enter")], ids=["view", "finding"])
def test_without_colours(snap_compare: Any, keys: tuple[str, ...]) -> None:
    app = console(ailing.ailing(), settings=Settings(theme="mono"))
    assert snap_compare(app, terminal_size=(100, 30), run_before=_then("exclamation_mark", *keys))
