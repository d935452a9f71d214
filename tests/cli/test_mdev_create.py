"""``mdev create`` from argument to the host: what is made, what is refused and why, and that nothing else is sent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.one_cloud import run
from tests.cli.one_fleet import Sent, asked_hosts, devices, opened, watched
from vgpu_console.actions.fleet_world import FleetWorld
from vgpu_console.actions.plan import DeviceStep, Step
from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.faults import DeviceFault

PROMISED = ["action", "target", "before", "after", "steps", "checks", "inverse", "commands", "hash"]
ONE = ("mdev", "create", "gpu-02", "--gpu", "41:00.0", "--type", "A100-20C")
SMALL = ("mdev", "create", "gpu-02", "--gpu", "0000:81:00.0", "--type", "A100-4C")
ANYWAY = ("--yes", "--accept", "mdev.migration", "--accept", "mdev.nova-type")
UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    one = opened(monkeypatch)
    one.state.hosts["gpu-02"].gpus[1].set_vfs(16)  # an empty A100: ten A100-4C and no more
    return one


@pytest.fixture
def sent(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    return watched(cloud, monkeypatch)


def plans(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--dry-run", "-o", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    return found if isinstance(found, list) else [found]


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_dry_run_gives_the_plan_under_its_promised_names_and_sends_nothing(
    cloud: DemoCloud, sent: list[Sent]
) -> None:
    [plan] = plans(*ONE)

    assert list(plan)[: len(PROMISED)] == PROMISED
    assert (plan["action"], plan["target"]["key"]["function"]) == ("mdev.create", "0000:41:00.5")
    assert (plan["before"]["state"], plan["after"]["state"]) == ("absent", "active")
    assert [step["call"] for step in plan["steps"]] == ["define", "autostart-on", "start"]
    assert [step["call"] for step in plan["inverse"]] == ["stop", "undefine"]
    assert any(line.startswith("virsh nodedev-start mdev_") for line in plan["commands"])
    assert sent == []


def test_several_are_a_list_of_plans_on_functions_of_their_own(cloud: DemoCloud) -> None:
    found = plans(*SMALL, "--count", "3")

    assert [p["target"]["key"]["function"] for p in found] == ["0000:81:00.4", "0000:81:00.5", "0000:81:00.6"]
    assert len({p["target"]["key"]["uuid"] for p in found}) == 3


def test_the_same_is_planned_twice(cloud: DemoCloud) -> None:
    assert [p["hash"] for p in plans(*SMALL, "--count", "2")] == [p["hash"] for p in plans(*SMALL, "--count", "2")]


def test_transient_is_created_at_once_and_not_defined(cloud: DemoCloud) -> None:
    [plan] = plans(*SMALL, "--transient")

    assert [step["call"] for step in plan["steps"]] == ["create"]
    assert plan["after"]["persistent"] is False


def test_only_the_host_that_is_named_is_asked(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_hosts(cloud, monkeypatch)
    plans(*ONE)

    assert asked == {"gpu-02"}


# --- done -------------------------------------------------------------------------------------------------------------


def test_a_device_that_was_created_runs_and_is_read_back(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run(*ONE, *ANYWAY, "-o", "json")

    assert result.exit_code == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert (told["result"], told["observed"]["state"], told["observed"]["autostart"]) == ("done", "active", True)
    assert [one.call for one in sent] == ["define", "autostart-on", "start"]
    assert ("0000:41:00.5", "nvidia-472", True) in devices(cloud, "gpu-02")
    listed = json.loads(run("mdevs", "--host", "gpu-02", "-o", "json").stdout)
    assert told["target"]["key"]["uuid"] in [row["uuid"] for row in listed]


def test_all_that_fit_and_not_one_more(cloud: DemoCloud, sent: list[Sent]) -> None:
    made = run(*SMALL, "--count", "10", *ANYWAY)
    assert made.exit_code == 0, made.stdout + made.stderr
    assert len(devices(cloud, "gpu-02", 1)) == 10
    assert made.stderr.splitlines()[0] == "A100-4C on gpu-02 0000:81:00.4 (1 of 10): done"
    assert len(re.findall(r"applied and read back: [0-9a-f]{8}-[0-9a-f-]{27}\n", made.stdout)) == 10

    sent.clear()
    more = run(*SMALL, *ANYWAY)
    assert (more.exit_code, more.stdout, sent) == (4, "", [])
    assert "no A100-4C can be made on gpu-02 0000:81:00.0: all 10 of its maximum are created" in more.stderr


def test_a_uuid_and_a_function_of_ones_own(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run(*SMALL, "--uuid", UUID.upper(), "--function", "81:01.0", *ANYWAY, "-o", "json")

    assert result.exit_code == 0, result.stdout + result.stderr
    assert {one.about for one in sent} == {UUID}
    assert devices(cloud, "gpu-02", 1) == [("0000:81:01.0", "nvidia-468", True)]


def test_the_plan_that_was_seen_is_the_one_that_is_applied(cloud: DemoCloud, sent: list[Sent]) -> None:
    [plan] = plans(*ONE)
    other = run(*ONE, *ANYWAY, "--expect", "0" * 16)
    assert (other.exit_code, sent) == (4, [])
    assert "the plan has changed" in other.stderr

    same = run(*ONE, *ANYWAY, "--expect", plan["hash"])
    assert same.exit_code == 0, same.stdout


def test_a_vendor_vfio_host_gives_a_function_the_type(cloud: DemoCloud, sent: list[Sent]) -> None:
    command = ("mdev", "create", "gpu-06", "--gpu", "41:00.0", "--type", "L40S-12Q")
    result = run(*command, "--yes", "--accept", "vfio.device-spec", "-o", "json")

    assert result.exit_code == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert (told["action"], told["observed"]) == ("vgpu-type.set", {"type": 1155})
    assert sent == [Sent("gpu-06", "set-vgpu-type", "0000:41:00.7 1155")]


@pytest.mark.parametrize(
    ("option", "words"), [(("--uuid", UUID), "no uuid"), (("--transient",), "until the next boot")]
)
def test_a_vendor_vfio_vgpu_has_neither_uuid_nor_permanence(
    option: tuple[str, ...], words: str, cloud: DemoCloud, sent: list[Sent]
) -> None:
    result = run("mdev", "create", "gpu-06", "--gpu", "41:00.0", "--type", "L40S-12Q", *option, "--yes")

    assert (result.exit_code, result.stdout, sent) == (2, "", [])
    assert words in result.stderr


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gpu-2", "--gpu", "41:00.0", "--type", "A100-20C"], 2, "no host is called 'gpu-2'; is it"),
        (["gpu-02", "--gpu", "42:00.0", "--type", "A100-20C"], 2, "gpu-02 has no GPU at 0000:42:00.0; it has"),
        (["gpu-02", "--gpu", "zero", "--type", "A100-20C"], 2, "'zero' is no PCI address"),
        (["gpu-02", "--gpu", "81:00.0", "--type", "A100-20"], 2, "has no vGPU type 'A100-20'; is it A100-20C"),
        (["gpu-02", "--gpu", "81:00.0", "--type", ""], 2, "no vGPU type was named"),
        (["gpu-02", "--gpu", "81:00.0"], 2, "Missing option '--type'"),
        (["gpu-02", "--type", "A100-20C"], 2, "Missing option '--gpu'"),
        (["gpu-04", "--gpu", "41:00.0", "--type", "A100-10C"], 3, "the GPUs of gpu-04 are not known"),
        (["gpu-02", "--gpu", "41:00.0", "--type", "A100-10C"], 4, "GPU runs A100-20C; free its 1 mdev"),
        (["gpu-02", "--gpu", "81:00.0", "--type", "A100-40C", "--count", "2"], 4, "1 more A100-40C can be made"),
        (
            ["gpu-02", "--gpu", "81:00.0", "--type", "A100-4C", "--function", "91:00.4"],
            2,
            "has no function 0000:91:00.4",
        ),
    ],
)
def test_what_is_not_there_or_has_no_room_is_refused_before_anything_is_sent(
    arguments: list[str], code: int, words: str, cloud: DemoCloud, sent: list[Sent]
) -> None:
    result = run("mdev", "create", *arguments, *ANYWAY)

    assert (result.exit_code, result.stdout, sent) == (code, "", [])
    assert words in result.stderr


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--count", "0"), "0 is not in the range 1<=x<=256"),
        (("--count", "-1"), "-1 is not in the range"),
        (("--count", "99999999999999999999"), "is not in the range"),
        (("--count", "two"), "'two' is not a valid integer"),
        (("--count", "1.5"), "'1.5' is not a valid integer"),
        (("--uuid", "4b20d080"), "'4b20d080' is not a uuid"),
        (("--uuid", "{4b20d080-1b54-4048-85b3-a6a62d165c01}"), "is not a uuid"),
        (("--uuid", UUID, "--count", "2"), "--uuid is of one device"),
        (("--function", "81:00.4", "--count", "2"), "--function is of one device"),
    ],
)
def test_malformed_values_are_refused_before_any_host_is_asked(
    option: tuple[str, ...], words: str, cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_hosts(cloud, monkeypatch)
    result = run(*SMALL, *option, *ANYWAY)

    assert (result.exit_code, result.stdout, asked) == (2, "", set())
    assert words in result.stderr


def test_a_uuid_that_is_taken_is_told_with_what_has_it(cloud: DemoCloud, sent: list[Sent]) -> None:
    taken = next(m.uuid for mdevs in cloud.state.hosts["gpu-02"].gpus[0].mdevs.values() for m in mdevs)
    result = run(*SMALL, "--uuid", taken, *ANYWAY)

    assert (result.exit_code, result.stdout, sent) == (4, "", [])
    assert f"{taken} is taken on gpu-02: nvidia-472 on 0000:41:00.4" in result.stderr


def test_a_warning_has_to_be_accepted(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run(*ONE, "--yes")

    assert (result.exit_code, sent) == (4, [])
    assert "to accept it: --accept mdev.migration" in result.stderr


def test_without_a_terminal_nothing_is_done_unasked(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run(*ONE)

    assert (result.exit_code, result.stdout, sent) == (4, "", [])
    assert "this needs --yes" in result.stderr


def test_read_only_is_a_wall(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run("--read-only", *ONE, *ANYWAY)

    assert (result.exit_code, result.stdout, sent) == (4, "", [])
    assert "read-only" in result.stderr
    assert run("--read-only", *ONE, "--dry-run").exit_code == 0


def test_where_libvirt_is_switched_off_it_is_refused(
    cloud: DemoCloud, sent: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGPU_CONSOLE_LIBVIRT_ENABLED", "no")
    result = run(*ONE, *ANYWAY)

    assert (result.exit_code, result.stdout, sent) == (3, "", [])
    assert "libvirt" in result.stderr


# --- failures ---------------------------------------------------------------------------------------------------------


def fails_at(number: int, fault: DeviceFault, cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a fault of gpu-02 begin with that device's start."""
    take = FleetWorld.take
    starts = 0

    def counted(self: FleetWorld, step: Step) -> None:
        nonlocal starts
        starts += isinstance(step, DeviceStep) and step.call == "start"
        if starts == number:
            cloud.faults.devices["gpu-02"] = fault
        take(self, step)

    monkeypatch.setattr(FleetWorld, "take", counted)


def test_the_first_refusal_ends_it_with_libvirts_words_and_what_was_made(
    cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    fails_at(3, DeviceFault(kind="broken", call="virNodeDeviceCreate"), cloud, monkeypatch)
    result = run(*SMALL, "--count", "5", *ANYWAY, "-o", "json")

    assert result.exit_code == 5, result.stderr
    told = json.loads(result.stdout)
    assert [one["result"] for one in told] == ["done", "done", "failed", "refused", "refused"]
    assert "Error: failed to write to sysfs" in told[2]["message"]
    assert "state defined" in told[2]["message"]  # what is true now: it is defined and does not run
    assert {one["message"] for one in told[3:]} == {"not begun: the one before it failed"}
    assert "2 of 5 done; stopped at A100-4C on gpu-02 0000:81:00.6 (3 of 5): " in result.stderr
    assert [state for _, _, state in devices(cloud, "gpu-02", 1)] == [True, True, False]
    journal = json.loads(run("journal", "-o", "json").stdout)
    assert [(row["action"], row["result"]) for row in journal] == [
        ("mdev.create", "done"),
        ("mdev.create", "done"),
        ("mdev.create", "failed"),
    ]


def test_libvirtd_that_dies_in_the_middle_leaves_nothing_to_guess(
    cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_at(2, DeviceFault(kind="dies", call="virNodeDeviceCreate", stays_down=True), cloud, monkeypatch)
    result = run(*SMALL, "--count", "3", *ANYWAY)

    assert result.exit_code == 5, result.stdout
    assert "what is true now could not be read" in result.stdout
    assert "1 of 3 done; stopped at A100-4C on gpu-02 0000:81:00.5" in result.stderr


def test_the_first_of_several_that_fails_is_a_failure(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_at(1, DeviceFault(kind="acl"), cloud, monkeypatch)
    result = run(*SMALL, "--count", "2", *ANYWAY)

    assert result.exit_code == 1, result.stdout
    assert "access denied" in result.stdout
    assert "0 of 2 done; stopped at" in result.stderr
