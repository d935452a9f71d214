"""Pictures (SVG) of the dialogs beside a change of limits: what if, and what an earlier console left unfinished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from textual.widgets import Input

from tests.rules.quota_facts import IN_ORDER, NOVA, own, snapshot_of, with_keystone
from tests.screens.demo_console import until
from tests.screens.driving import console
from tests.screens.fleets import NOW
from tests.screens.plans import plan
from tests.screens.test_pictures import _name, _still
from tests.screens.test_quota_pictures import _mono, _over
from vgpu_console.actions.journal import Entry
from vgpu_console.actions.unfinished import Unfinished
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidate, Candidates, RequestGroup
from vgpu_console.screens.dialogs.page import Page
from vgpu_console.screens.dialogs.unfinished import UnfinishedDialog
from vgpu_console.screens.dialogs.what_if import WhatIfDialog

__all__ = ["_still"]  # the fixture that keeps pictures from moving

SIZES = [(80, 24), (120, 40)]
FREE = [f"gpu-01-vf{n}" for n in (1, 2, 3)]
ROOM = Candidates(
    candidates=tuple(Candidate({"gpu-01-root": {"MEMORY_MB": 1024}, f: {"VGPU": 1}}) for f in FREE),
    free={"gpu-01-root": {"MEMORY_MB": 2048}, **{f: {"VGPU": 1} for f in FREE}},
    roots=dict.fromkeys(["gpu-01-root", *FREE], "gpu-01-root"),
)
ENOUGH = with_keystone(project_limits=(own("p-ml", 9),))

CASES: dict[str, tuple[Facts, Candidates, str]] = {
    "yes": (ENOUGH, ROOM, "2"),
    "no-quota": (IN_ORDER, ROOM, "3"),
    "no-memory": (ENOUGH, ROOM, "3"),
    "unknown": (ENOUGH, Candidates(error="placement at cloud:8778 failed: 503 Service Unavailable"), "2"),
}


def _what_if(name: str) -> tuple[WhatIfDialog, Any]:
    facts, candidates, count = CASES[name]

    def asked(groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        assert [g.resources for g in groups if "VGPU" in g.resources]
        return candidates

    shown = WhatIfDialog(lambda: (facts, snapshot_of(facts)), asked, "p-ml")

    async def answered(pilot: Any) -> None:
        await _over(shown, *"vgpu", "enter")(pilot)
        number = shown.query_one("#what-if-servers", Input)
        number.value = count
        number.focus()
        await pilot.press("enter")
        number.cursor_blink = False
        await until(pilot, lambda: "Capacity" in shown.query_one(Page).text)

    return shown, answered


@pytest.mark.parametrize("size", SIZES, ids=_name)
@pytest.mark.parametrize("name", [*CASES])
def test_what_if(snap_compare: Any, name: str, size: tuple[int, int]) -> None:
    assert snap_compare(console(), terminal_size=size, run_before=_what_if(name)[1])


@pytest.mark.parametrize("name", ["yes", "unknown"])
def test_mono_what_if(snap_compare: Any, name: str) -> None:
    assert snap_compare(_mono(), terminal_size=(120, 40), run_before=_what_if(name)[1])


def test_what_if_before_it_is_asked(snap_compare: Any) -> None:
    flavors = (*(NOVA.flavors or ()), msgspec.structs.replace((NOVA.flavors or ())[0], id="f2", name="vgpu.large"))
    facts = msgspec.structs.replace(IN_ORDER, nova=msgspec.structs.replace(NOVA, flavors=flavors))
    shown = WhatIfDialog(lambda: (facts, snapshot_of(facts)), lambda groups, policy: ROOM, "p-ml")
    assert snap_compare(console(), terminal_size=(80, 24), run_before=_over(shown))


def _left() -> UnfinishedDialog:
    def begun(at: str, name: str) -> Entry:
        return Entry(at=at, run="1f0c", event="begun", user="op", source="198.51.100.7", plan=plan(name=name))

    old, new = "2026-09-21T09:02:11.000Z", "2026-09-21T14:12:50.000Z"
    wanted = plan()
    return UnfinishedDialog(
        [
            Unfinished(begun(old, "ml-research"), dict(wanted.after), ""),
            Unfinished(begun(old, "render"), dict(wanted.before), ""),
            Unfinished(begun(old, "vdi"), {"limit": 7}, ""),
            Unfinished(begun(new, "students"), None, "keystone at cloud:5000 did not answer within 20 s"),
        ],
        lambda: NOW,
    )


@pytest.mark.parametrize("size", SIZES, ids=_name)
def test_unfinished(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(console(), terminal_size=size, run_before=_over(_left()))


def test_mono_unfinished(snap_compare: Any) -> None:
    assert snap_compare(_mono(), terminal_size=(120, 40), run_before=_over(_left()))
