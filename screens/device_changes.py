"""How a change of devices begins: what a key means on a row, which type and how many, and the plans of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vgpu_console.actions import mdev_change, mdev_create, vgpu_type
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.actions.sriov import plan_enable
from vgpu_console.model.snapshot import MediatedDevice
from vgpu_console.screens import device_keys
from vgpu_console.screens.device_keys import Meant, meant
from vgpu_console.screens.seams import DeviceTarget

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.screens.changes import Changes
    from vgpu_console.screens.dialogs.vgpu_type import Choice


class DeviceChanges:
    """Asks what is needed and makes the plans; ``changes`` has them confirmed and applied.

    Several devices are several plans, applied in order; after the first that fails none is begun.
    """

    def __init__(self, app: VgpuConsoleApp, changes: Changes) -> None:
        self._app = app
        self._changes = changes

    def why_not(self, key_id: str, targets: Sequence[DeviceTarget]) -> str:
        """Why the key of that action does nothing on these rows; "" when it does."""
        snapshot = self._app.snapshot
        if snapshot is None:
            return self._changes.why_not(key_id)
        found = meant(snapshot, key_id, targets)
        return self._changes.why_not(found.action) or found.why_not

    def begin(self, key_id: str, targets: Sequence[DeviceTarget]) -> None:
        """Ask for type and number where that is needed, and show the plans."""
        if not self._changes.can_begin():
            return
        _, snapshot = self._changes.known()
        found = meant(snapshot, key_id, targets)
        if found.why_not:
            self._app.say(found.why_not, "warning")
        elif key_id == device_keys.CREATE:
            self._ask_type(targets[0], found.gpus)
        elif key_id == device_keys.ENABLE:
            self._changes.plan_at_once(lambda: self._enabling(targets[0].host, found.gpus[0]))
        else:
            self._changes.plan_at_once(lambda: self._changing(found), stop_at_first=True)

    # A new vGPU ---------------------------------------------------------------------------------------------------

    def _ask_type(self, target: DeviceTarget, gpus: Sequence[str]) -> None:
        from vgpu_console.screens.dialogs.vgpu_type import VgpuTypeDialog

        function = target.function if target.kind == "function" else None

        def planned(result: tuple[Choice, tuple[Plan, ...]] | None) -> None:
            if result is not None:
                choice, plans = result
                self._changes.confirm(plans, lambda: self._creating(choice), stop_at_first=True)

        self._app.push_screen(
            VgpuTypeDialog(target.host, gpus, function, lambda: self._app.snapshot, self._creating), planned
        )

    def _creating(self, choice: Choice) -> tuple[Plan, ...]:
        facts, snapshot = self._changes.known()
        now = self._app.now()
        if choice.typed:
            why = self._changes.why_not(device_keys.SET_TYPE)
            if why:
                raise PlanError(why)
            return vgpu_type.plan_set_type(
                facts,
                snapshot,
                choice.host,
                choice.gpu,
                choice.type_id,
                choice.number,
                now=now,
                function=choice.function,
            )
        return mdev_create.plan_create(
            facts,
            snapshot,
            choice.host,
            choice.gpu,
            choice.type_id,
            choice.number,
            persistent=choice.persistent,
            function=choice.function,
            now=now,
        )

    # What is there ------------------------------------------------------------------------------------------------

    def _enabling(self, host: str, gpu: str) -> tuple[Plan, ...]:
        facts, snapshot = self._changes.known()
        by_console = self._changes.shell_changes
        return (plan_enable(facts, snapshot, host, gpu, self._app.now(), by_console=by_console),)

    def _changing(self, found: Meant) -> tuple[Plan, ...]:
        plans = [self._plan(found, device) for device in found.devices]
        return tuple(p for p in plans if not p.changes_nothing) or tuple(plans)

    def _plan(self, found: Meant, device: MediatedDevice) -> Plan:
        facts, snapshot = self._changes.known()
        host, name, now = device.host, device.uuid or device.parent or "", self._app.now()
        if found.action == device_keys.REMOVE:
            return mdev_change.plan_remove(facts, snapshot, host, name, now)
        if found.action == device_keys.CLEAR_TYPE:
            return vgpu_type.plan_clear_type(facts, snapshot, host, name, now)
        if found.action == device_keys.START:
            return mdev_change.plan_start(facts, snapshot, host, name, now)
        if found.action == device_keys.STOP:
            return mdev_change.plan_stop(facts, snapshot, host, name, now)
        return mdev_change.plan_autostart(facts, snapshot, host, name, now, on=found.on)
