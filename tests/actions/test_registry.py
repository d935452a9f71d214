"""The table of actions: each is known by its id, and says why it is not possible now."""

from __future__ import annotations

from typing import Any

import pytest

from vgpu_console.actions.registry import ACTIONS, action
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus

READ = SourceStatus(kind="keystone", fetched_at=1.0)


def snapshot(status: SourceStatus | None = READ, **identity: Any) -> Snapshot:
    return Snapshot(sources=(status,) if status else (), identity=CloudIdentity(**identity))


def test_ids_and_keys_are_unique() -> None:
    assert len({one.id for one in ACTIONS}) == len(ACTIONS)
    keys = {
        (one.key, one.target): {o.id for o in ACTIONS if (o.key, o.target) == (one.key, one.target)} for one in ACTIONS
    }
    shared = {ids for (key, _), of in keys.items() if key and len(ids := frozenset(of)) > 1}
    assert shared == {frozenset({"mdev.start", "mdev.stop"})}  # one key toggles
    assert all(action(one.id) is one for one in ACTIONS)


@pytest.mark.parametrize("id", ["quota.set", "quota.clear", "quota.default"])
@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (snapshot(roles=("admin",)), ""),
        (snapshot(roles=("member",), limits_roles=("Admin",)), ""),
        (snapshot(), ""),  # a credential without roles in its token: Keystone will say
        (
            snapshot(roles=("member", "reader")),
            "needs role admin on the system or in a project (Keystone limits); this credential has member, reader",
        ),
        (snapshot(None, roles=("admin",)), "limits are not read yet"),
        (
            snapshot(SourceStatus(kind="keystone", error="connection refused"), roles=("admin",)),
            "limits cannot be read: connection refused",
        ),
    ],
)
def test_says_why_not(id: str, seen: Snapshot, reason: str) -> None:
    assert action(id).available(seen, False) == reason


def test_a_read_only_console_can_do_none() -> None:
    assert {one.available(snapshot(roles=("admin",)), True) for one in ACTIONS} == {"this console is read-only"}


def test_legacy_quota_needs_the_role_where_nova_looks() -> None:
    system = snapshot(roles=("reader",), limits_roles=("admin",))
    assert action("quota.import").available(system, False).startswith("needs role admin in a project (Nova quota)")
    assert action("quota.import").available(snapshot(roles=("admin",)), False) == ""


@pytest.mark.parametrize("id", ["mdev.create", "mdev.remove", "mdev.start", "mdev.stop", "mdev.autostart"])
@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ((), "no host's libvirt is read ([libvirt] enabled?)"),
        ((SourceStatus(kind="libvirt", host="gpu-01"),), "no host's libvirt is read yet"),
        (
            (SourceStatus(kind="libvirt", host="gpu-01", error="no route to host"),),
            "no host's libvirt answers; gpu-01: no route to host",
        ),
        (
            (
                SourceStatus(kind="libvirt", host="gpu-01", error="no route to host"),
                SourceStatus(kind="libvirt", host="gpu-02", fetched_at=1.0),
            ),
            "",
        ),
    ],
)
def test_devices_need_a_libvirt_that_answers(id: str, statuses: tuple[SourceStatus, ...], reason: str) -> None:
    assert action(id).available(Snapshot(sources=statuses), False) == reason


@pytest.mark.parametrize("id", ["vgpu-type.set", "vgpu-type.clear"])
def test_what_changes_a_host_over_ssh_needs_the_right_to(id: str) -> None:
    seen = Snapshot(sources=(SourceStatus(kind="ssh", host="gpu-06", fetched_at=1.0),))
    assert action(id).available(seen, False, shell_changes=True) == ""
    assert action(id).available(seen, False, shell_changes=False).startswith("the console may only read over SSH")
    assert action("sriov.enable").available(seen, False, shell_changes=False).startswith("no host's libvirt")
