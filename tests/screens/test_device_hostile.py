"""Whatever a host calls its GPUs and types, and a tenant its servers: what changes devices stays text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from tests.screens.driving import console, drive, press
from tests.screens.hostile import PIECES, hostile_fleet
from tests.screens.test_hostile_text import harmless
from vgpu_console.app import VgpuConsoleApp
from vgpu_console.model.snapshot import PhysicalGpu, Snapshot
from vgpu_console.screens.dialogs.nova_side import NovaSideDialog
from vgpu_console.screens.dialogs.vgpu_type import VgpuTypeDialog


def hostile_hosts(names: list[str]) -> Snapshot:
    """The hostile fleet, whose GPUs, types and nova.conf are hostile too."""
    whole = hostile_fleet(names)

    def board(gpu: PhysicalGpu) -> PhysicalGpu:
        types = tuple(
            msgspec.structs.replace(gpu.types[0], type_id=f"t{n}", type_name=name, max_evidence=name)
            for n, name in enumerate(names)
        )
        return msgspec.structs.replace(gpu, model=names[0], types=(*gpu.types, *types))

    hosts = tuple(
        msgspec.structs.replace(
            h, gpus=tuple(board(g) for g in h.gpus or ()), nova_conf={"devices.enabled_mdev_types": names[-1]}
        )
        for h in whole.hosts
    )
    return msgspec.structs.replace(whole, hosts=hosts)


@pytest.mark.parametrize("size", [(60, 15), (120, 36)])
def test_all_pieces_through_the_types_and_novas_side(size: tuple[int, int]) -> None:
    async def test(app: VgpuConsoleApp, pilot: Pilot[Any]) -> None:
        app.changes.why_not = lambda action_id: ""  # type: ignore[method-assign]
        await press(pilot, "enter")
        harmless(app)
        await press(pilot, "n")
        assert isinstance(app.screen, VgpuTypeDialog)
        harmless(app)
        for _ in range(len(PIECES) + 1):
            await press(pilot, "down")
            harmless(app)
        await press(pilot, "enter")
        await pilot.pause(0.2)
        harmless(app)
        await press(pilot, "escape", "N")
        assert isinstance(app.screen, NovaSideDialog)
        harmless(app)
        await press(pilot, "y", "escape")
        harmless(app)

    drive(console(hostile_hosts(list(PIECES))), test, size=size)
