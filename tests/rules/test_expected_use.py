"""What Nova lets expect of Placement: what is sure, what holds nothing, and what only Placement can tell."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.quota_facts import NOVA, migration, server
from vgpu_console.model.nova import MigrationFacts, NovaFacts, Server
from vgpu_console.model.placement import Holder
from vgpu_console.rules.expected_use import expected_holders

ONE = {"VGPU": 1}


def nova(*servers: Server, live: tuple[MigrationFacts, ...] = (), other: tuple[MigrationFacts, ...] = ()) -> NovaFacts:
    return msgspec.structs.replace(NOVA, servers=servers, migrations=live, other_migrations=other)


@pytest.mark.parametrize(
    ("changes", "resources"),
    [
        ({}, ONE),
        ({"status": "SHUTOFF"}, ONE),
        ({"status": "PAUSED"}, ONE),
        ({"status": "REBOOT", "task_state": "rebooting"}, ONE),
        # several groups, and a class of the operator's own
        ({"extra_specs": {"resources1:VGPU": "1", "resources2:VGPU": "1"}}, {"VGPU": 2}),
        ({"extra_specs": {"resources:CUSTOM_X": "2", "resources:VCPU": "0"}}, {"CUSTOM_X": 2}),
        # no vGPU: nothing, whatever it is doing
        ({"extra_specs": {}}, {}),
        ({"extra_specs": {}, "status": "ERROR"}, {}),
        ({"extra_specs": {"resources:VGPU": "0"}, "status": "BUILD"}, {}),
        # never placed, or taken off its host
        ({"host": None, "status": "ERROR"}, {}),
        ({"host": None, "status": "SHELVED_OFFLOADED"}, {}),
        # only Placement knows
        ({"status": "ERROR"}, None),
        ({"status": "BUILD", "task_state": "spawning"}, None),
        ({"host": None, "status": "BUILD"}, None),
        ({"status": "VERIFY_RESIZE"}, None),
        ({"status": "MIGRATING", "task_state": "migrating"}, None),
        ({"task_state": "deleting"}, None),
        ({"status": None}, None),
        ({"extra_specs": None}, None),
        ({"status": "LEVITATING"}, None),
    ],
)
def test_of_a_server(changes: dict[str, Any], resources: dict[str, int] | None) -> None:
    found = expected_holders(nova(server("vm-1", **changes)))
    assert found["vm-1"].resources == resources
    assert found["vm-1"].project_id == "p-ml"


def test_the_node_is_the_hypervisors_name_which_placements_root_bears() -> None:
    found = expected_holders(nova(server("vm-1", hypervisor="gpu-01.example"), server("vm-2")))
    assert (found["vm-1"].node, found["vm-2"].node) == ("gpu-01.example", "gpu-01")


@pytest.mark.parametrize(("kind", "status"), [("live-migration", "running"), ("resize", "finished")])
def test_both_sides_of_a_migration_are_to_be_asked(kind: str, status: str) -> None:
    moving = (migration("vm-1", status, migration_type=kind),)
    found = expected_holders(nova(server("vm-1"), server("vm-2"), **{"live" if "live" in kind else "other": moving}))
    assert (found["vm-1"].resources, found["mig-1"], found["vm-2"].resources) == (None, Holder("p-ml"), ONE)


def test_a_migration_of_a_server_without_vgpus_holds_none() -> None:
    found = expected_holders(nova(server("vm-1", extra_specs={}), live=(migration("vm-1", "running"),)))
    assert (found["vm-1"].resources, found["mig-1"].resources) == ({}, {})


def test_one_that_has_ended_or_whose_server_is_gone_is_nobody() -> None:
    ended, lost = migration("vm-1", "completed"), migration("vm-9", "running", uuid="mig-9")
    assert set(expected_holders(nova(server("vm-1"), live=(ended, lost)))) == {"vm-1"}


@pytest.mark.parametrize("changes", [{"servers": None}, {"all_projects": False}])
def test_nothing_is_expected_unless_all_servers_are_shown(changes: dict[str, Any]) -> None:
    assert expected_holders(msgspec.structs.replace(NOVA, **changes)) == {}
    assert expected_holders(None) == {}
