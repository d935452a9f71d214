"""What the commands that change vGPUs do: from what was typed to plans. How plans are gone about is in ``cli_plan``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vgpu_console.actions import mdev_change, mdev_create, vgpu_type
from vgpu_console.actions.devices import find_gpu, find_host, pci_address
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.cli_plan import Proposal, Reading, Way, change
from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.views import EVERYTHING

Given = Mapping[str, tuple[Any, str]]


class Wanted(NamedTuple):
    """What ``mdev create`` was asked for, as it was typed. ``persistent`` None: not said."""

    host: str
    gpu: str
    type: str
    number: int
    persistent: bool | None
    uuid: str | None
    function: str | None


def create_devices(given: Given, wanted: Wanted, way: Way) -> int:
    """``mdev create``; returns the exit code."""

    def make(read: Reading) -> Proposal:
        owner = find_host(read.snapshot, wanted.host)
        gpu = find_gpu(read.snapshot, owner.name, wanted.gpu)
        make_plans = _typed_functions if gpu.mechanism == "vendor-vfio" else _created
        return _in_a_row(make_plans(read, owner, gpu, wanted), several=wanted.number > 1)

    return _change(given, wanted.host, way, make)


def _created(read: Reading, owner: Host, gpu: PhysicalGpu, wanted: Wanted) -> Sequence[Plan]:
    return mdev_create.plan_create(
        read.facts,
        read.snapshot,
        owner.name,
        gpu.address,
        wanted.type,
        wanted.number,
        persistent=wanted.persistent is not False,
        uuid=wanted.uuid,
        function=wanted.function,
        now=time.time(),
    )


def _typed_functions(read: Reading, owner: Host, gpu: PhysicalGpu, wanted: Wanted) -> Sequence[Plan]:
    place = f"{owner.name} {gpu.address} makes vGPUs by vendor VFIO"
    if wanted.uuid is not None:
        raise PlanError(f"{place}: they have no uuid; leave --uuid out")
    if wanted.persistent is not None:
        word = "--persistent" if wanted.persistent else "--transient"
        raise PlanError(f"{place}: a type lasts until the next boot; leave {word} out")
    return vgpu_type.plan_set_type(
        read.facts,
        read.snapshot,
        owner.name,
        gpu.address,
        wanted.type,
        wanted.number,
        function=wanted.function,
        now=time.time(),
    )


def remove_devices(given: Given, host: str, devices: Sequence[str], way: Way) -> int:
    """``mdev remove``; returns the exit code."""

    def one(read: Reading, owner: Host, text: str) -> Plan:
        address = pci_address(text)
        if address is not None and _is_vendor_vfio(read.snapshot, owner, address):
            return vgpu_type.plan_clear_type(read.facts, read.snapshot, owner.name, address, now=time.time())
        return mdev_change.plan_remove(read.facts, read.snapshot, owner.name, text, now=time.time())

    return _change_each(given, host, devices, way, one)


def start_devices(given: Given, host: str, devices: Sequence[str], way: Way) -> int:
    """``mdev start``; returns the exit code."""

    def one(read: Reading, owner: Host, text: str) -> Plan:
        return mdev_change.plan_start(read.facts, read.snapshot, owner.name, text, now=time.time())

    return _change_each(given, host, devices, way, one)


def stop_devices(given: Given, host: str, devices: Sequence[str], way: Way) -> int:
    """``mdev stop``; returns the exit code."""

    def one(read: Reading, owner: Host, text: str) -> Plan:
        return mdev_change.plan_stop(read.facts, read.snapshot, owner.name, text, now=time.time())

    return _change_each(given, host, devices, way, one)


def autostart_devices(given: Given, host: str, devices: Sequence[str], on: bool, way: Way) -> int:
    """``mdev autostart``; returns the exit code."""

    def one(read: Reading, owner: Host, text: str) -> Plan:
        return mdev_change.plan_autostart(read.facts, read.snapshot, owner.name, text, on=on, now=time.time())

    return _change_each(given, host, devices, way, one)


def _is_vendor_vfio(snapshot: Snapshot, owner: Host, address: str) -> bool:
    return find_gpu(snapshot, owner.name, address).mechanism == "vendor-vfio"


def _change_each(
    given: Given, host: str, devices: Sequence[str], way: Way, one: Callable[[Reading, Host, str], Plan]
) -> int:
    def make(read: Reading) -> Proposal:
        owner = find_host(read.snapshot, host)
        plans: dict[str, Plan] = {}  # a device that was named twice is changed once
        errors: list[PlanError] = []
        for text in devices:
            try:
                plan = one(read, owner, text)
            except PlanError as error:
                errors.append(error)
            else:
                plans[plan.target.id] = plan
        if errors:
            raise PlanError("\n".join(dict.fromkeys(map(str, errors))), max(error.exit for error in errors))
        return _in_a_row(list(plans.values()), several=len(devices) > 1)

    return _change(given, host, way, make)


def _change(given: Given, host: str, way: Way, make: Callable[[Reading], Proposal]) -> int:
    return change(given, None, way, make, kinds=EVERYTHING, hosts=frozenset({host}))


def _in_a_row(plans: Sequence[Plan], *, several: bool) -> Proposal:
    """Devices of one host, one at a time; the first that fails ends it."""
    return Proposal(plans, several=several, noun="device", chain=lambda _: "one host")
