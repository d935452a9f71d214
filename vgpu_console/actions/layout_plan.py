"""From a layout to plans: what is missing is made; what is too many is removed if that is asked for and it is free."""

from __future__ import annotations

import msgspec

from vgpu_console.actions.layout import Difference, differences
from vgpu_console.actions.layout_file import Layout
from vgpu_console.actions.mdev_change import plan_remove, plan_start
from vgpu_console.actions.mdev_create import plan_create
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.actions.vgpu_type import plan_clear_type, plan_set_type
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import MediatedDevice, Snapshot


class Left(msgspec.Struct, frozen=True):
    """A difference, or a part of one, that no plan mends. ``again``: it can be planned once the others are done."""

    difference: Difference
    reason: str
    again: bool = False


class LayoutPlans(msgspec.Struct, frozen=True):
    """Plans in the order in which they are applied, and what they do not reach. Both empty: all is as it should be."""

    plans: tuple[Plan, ...]
    left: tuple[Left, ...]

    @property
    def again(self) -> bool:
        """Whether, with these plans done and the hosts read anew, more can be planned."""
        return any(one.again for one in self.left)


def plan_layout(
    facts: Facts,
    snapshot: Snapshot,
    layout: Layout,
    now: float,
    *,
    prune: bool = False,
    stale_s: float | None = None,
) -> LayoutPlans:
    """What has to be done for the layout to be true; nothing where it is. ``prune``: also remove free devices.

    What is impossible on one GPU keeps none of the others. Raises LayoutError where two entries disagree.
    """
    work = _Work(facts, snapshot, now, stale_s, prune)
    found = differences(layout, snapshot)
    for difference in found:
        if difference.verdict in ("surplus", "other type"):
            work.remove(difference)
    for difference in found:
        if difference.verdict == "missing":
            work.make(difference)
        elif difference.verdict == "not running":
            work.start(difference)
        elif difference.verdict == "not persistent":
            work.left.append(Left(difference, f"{difference.why}: virsh nodedev-define keeps a device that runs"))
        elif difference.verdict not in ("surplus", "other type"):
            work.left.append(Left(difference, difference.why))
    return LayoutPlans((*work.removing, *work.making), tuple(work.left))


class _Work:
    """Plans as they gather. GPUs that are being changed take no further plan until they have been read anew."""

    def __init__(self, facts: Facts, snapshot: Snapshot, now: float, stale_s: float | None, prune: bool) -> None:
        self.facts, self.snapshot, self.now, self.stale_s, self.prune = facts, snapshot, now, stale_s, prune
        self.removing: list[Plan] = []
        self.making: list[Plan] = []
        self.left: list[Left] = []
        self.changing: set[tuple[str, str]] = set()

    def remove(self, difference: Difference) -> None:
        """Plans that remove the free ones of what is too many."""
        if not self.prune:
            self.left.append(Left(difference, f"{difference.why}; left alone, for removing was not asked for"))
            return
        held = 0
        for device in difference.devices:
            if device.used is not False:
                held += 1
                continue
            try:
                plan = self._removal(device)
            except PlanError as error:
                self.left.append(Left(difference, str(error)))
                continue
            if plan.blocked_by:
                self.left.append(Left(difference, "; ".join(c.evidence for c in plan.blocked_by)))
            elif plan.steps:
                self.removing.append(plan)
                self.changing.add((difference.host, difference.gpu))
        if held:
            self.left.append(Left(difference, f"{held} of {len(difference.devices)} in use, or not known to be free"))

    def _removal(self, device: MediatedDevice) -> Plan:
        if device.mechanism == "vendor-vfio":
            return plan_clear_type(
                self.facts, self.snapshot, device.host, device.parent or "", self.now, stale_s=self.stale_s
            )
        return plan_remove(self.facts, self.snapshot, device.host, device.uuid or "", self.now, stale_s=self.stale_s)

    def make(self, difference: Difference) -> None:
        """Plans that make what is missing of one type on one GPU: all of it, or none with the reason."""
        where = (difference.host, difference.gpu)
        count = (difference.wanted or 0) - (difference.present or 0)
        if where in self.changing:
            reason = f"{count} to be made once what is planned for this GPU is done"
            self.left.append(Left(difference, reason, again=True))
            return
        try:
            plans = self._makings(difference, count)
        except PlanError as error:
            self.left.append(Left(difference, str(error)))
            return
        self.making += plans
        self.changing.add(where)

    def _makings(self, difference: Difference, count: int) -> tuple[Plan, ...]:
        host, gpu, type_id = difference.host, difference.gpu, difference.type_id or difference.type
        board = next(g for h in self.snapshot.hosts if h.name == host for g in h.gpus or () if g.address == gpu)
        if board.mechanism == "vendor-vfio":
            return plan_set_type(
                self.facts, self.snapshot, host, gpu, type_id, count, now=self.now, stale_s=self.stale_s
            )
        return plan_create(
            self.facts,
            self.snapshot,
            host,
            gpu,
            type_id,
            count,
            persistent=difference.persistent,
            now=self.now,
            stale_s=self.stale_s,
        )

    def start(self, difference: Difference) -> None:
        """Plans that start what is defined and does not run."""
        for device in difference.devices:
            try:
                plan = plan_start(
                    self.facts, self.snapshot, device.host, device.uuid or "", self.now, stale_s=self.stale_s
                )
            except PlanError as error:
                self.left.append(Left(difference, str(error)))
                continue
            if plan.blocked_by:
                self.left.append(Left(difference, "; ".join(c.evidence for c in plan.blocked_by)))
            elif plan.steps:
                self.making.append(plan)
                self.changing.add((difference.host, difference.gpu))
