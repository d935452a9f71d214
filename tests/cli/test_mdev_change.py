"""``mdev remove``, ``start``, ``stop`` and ``autostart``: on devices that nobody uses, and refused on the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cli.one_cloud import run
from tests.cli.one_fleet import Sent, asked_hosts, devices, opened, watched
from vgpu_console import cli_plan, log
from vgpu_console.cli import console
from vgpu_console.simulator import DemoCloud

FREE = "f0e642f4"  # on gpu-03: defined, not running, held by nobody
RUNNING = "d037cdff"  # on gpu-05: running, held by nobody
USED = "8ba56d34"  # on gpu-03: of server desk-01, project vdi


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    return opened(monkeypatch)


@pytest.fixture
def sent(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    return watched(cloud, monkeypatch)


def plan_of(*arguments: str) -> dict[str, Any]:
    result = run("mdev", *arguments, "--dry-run", "-o", "json")
    assert result.stdout, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def calls(sent: list[Sent]) -> list[str]:
    return [one.call for one in sent]


# --- remove -----------------------------------------------------------------------------------------------------------


def test_a_free_device_is_gone_when_the_plan_that_was_seen_is_confirmed(cloud: DemoCloud, sent: list[Sent]) -> None:
    seen = plan_of("remove", "gpu-05", RUNNING)
    assert [s["call"] for s in seen["steps"]] == ["stop", "undefine"]
    assert [s["call"] for s in seen["inverse"]] == ["define", "autostart-on", "start"]
    assert sent == []

    result = run("mdev", "remove", "gpu-05", RUNNING, "--yes", "--expect", seen["hash"], "-o", "json")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert (json.loads(result.stdout)["observed"]["state"], calls(sent)) == ("absent", ["stop", "undefine"])
    assert devices(cloud, "gpu-05", 1) == []


def test_yes_alone_removes_nothing(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run("mdev", "remove", "gpu-03", FREE, "--yes")

    assert (result.exit_code, result.stdout, sent) == (4, "", [])
    assert "needs --expect and the plan's hash" in result.stderr


@pytest.mark.parametrize(("typed", "code"), [(f"gpu-03 {FREE}\n", 0), ("y\n", 4), (f"{FREE}\n", 4), ("\n", 4)])
def test_on_a_terminal_its_name_is_typed(
    typed: str, code: int, cloud: DemoCloud, sent: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_plan, "_can_ask", lambda: True)
    result = CliRunner().invoke(console, ["--demo", "mdev", "remove", "gpu-03", FREE], input=typed)
    log.stop()

    assert result.exit_code == code, result.stderr
    assert f"Type gpu-03 {FREE} to go on" in result.stderr
    assert calls(sent) == (["undefine"] if code == 0 else [])


@pytest.mark.parametrize("verb", ["remove", "stop"])
def test_one_that_a_server_has_is_refused_with_the_servers_name(verb: str, cloud: DemoCloud, sent: list[Sent]) -> None:
    shown = run("mdev", verb, "gpu-03", USED, "--dry-run")
    done = run("mdev", verb, "gpu-03", USED, "--yes", "--expect", plan_of(verb, "gpu-03", USED)["hash"])

    assert (shown.exit_code, done.exit_code, sent) == (4, 4, [])
    assert "server desk-01 of project vdi" in shown.stderr
    assert "server desk-01 of project vdi" in done.stdout


def test_one_of_a_server_that_is_shut_off_is_refused_too(cloud: DemoCloud, sent: list[Sent]) -> None:
    [server] = [s for s in cloud.state.hosts["gpu-03"].guests.values() if s.title == "desk-01"]
    server.active = False
    result = run("mdev", "remove", "gpu-03", USED, "--dry-run")

    assert (result.exit_code, sent) == (4, [])
    assert "server desk-01 of project vdi" in result.stderr


def test_several_are_all_found_before_any_is_touched(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run("mdev", "remove", "gpu-03", FREE, "0123abcd", "zz", "--yes")

    assert (result.exit_code, result.stdout, sent) == (2, "", [])
    assert "there is no mediated device '0123abcd' on gpu-03" in result.stderr
    assert "'zz' is no uuid of a mediated device" in result.stderr


def test_one_that_a_server_has_stops_none_of_the_others(cloud: DemoCloud, sent: list[Sent]) -> None:
    """Nothing was sent for it, so it tells nothing of those that nobody uses."""
    wanted = ("remove", "gpu-03", USED, FREE)
    result = run("mdev", *wanted, "--yes", *(f"--expect={p['hash']}" for p in _plans(*wanted)), "-o", "json")

    assert result.exit_code == 5, result.stderr
    told = {one["target"]["key"]["uuid"][:8]: one for one in json.loads(result.stdout)}
    assert (told[USED]["result"], told[FREE]["result"]) == ("refused", "done")
    assert "server desk-01 of project vdi" in told[USED]["message"]
    assert [one.call for one in sent] == ["undefine"]


def test_on_a_terminal_it_is_said_before_which_of_several_is_not_possible(
    cloud: DemoCloud, sent: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_plan, "_can_ask", lambda: True)
    words = ["--demo", "mdev", "remove", "gpu-03", USED, FREE]
    result = CliRunner().invoke(console, words, input=f"gpu-03 {FREE}\n")
    log.stop()

    assert result.exit_code == 5, result.stderr
    before = result.stderr.partition("Type gpu-03")[0]
    assert "remove: not possible: server desk-01 of project vdi runs with it" in before, before
    assert calls(sent) == ["undefine"]


def _plans(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("mdev", *arguments, "--dry-run", "-o", "json").stdout)
    return found


def test_one_that_was_named_twice_is_one_plan(cloud: DemoCloud) -> None:
    result = run("mdev", "remove", "gpu-03", FREE, FREE[:6], "--dry-run", "-o", "json")

    assert len(json.loads(result.stdout)) == 1


def test_on_vendor_vfio_the_type_of_a_function_goes(cloud: DemoCloud, sent: list[Sent]) -> None:
    seen = plan_of("remove", "gpu-06", "41:00.6")
    result = run(
        "mdev", "remove", "gpu-06", "41:00.6", "--yes", "--expect", seen["hash"], "--accept", "vfio.device-spec"
    )

    assert seen["action"] == "vgpu-type.clear"
    assert result.exit_code == 0, result.stdout + result.stderr
    assert sent == [Sent("gpu-06", "set-vgpu-type", "0000:41:00.6 0")]


def test_on_vendor_vfio_the_function_of_a_server_is_refused(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run("mdev", "remove", "gpu-06", "0000:41:00.4", "--dry-run")

    assert (result.exit_code, sent) == (4, [])
    assert "server frame-1 of project render" in result.stderr


# --- start, stop, autostart -------------------------------------------------------------------------------------------


def test_stopped_it_stays_defined_and_starts_again(cloud: DemoCloud, sent: list[Sent]) -> None:
    stopped = run("mdev", "stop", "gpu-05", RUNNING, "--yes", "-o", "json")
    assert stopped.exit_code == 0, stopped.stdout + stopped.stderr
    assert [state for _, _, state in devices(cloud, "gpu-05", 1)] == [False]

    started = run("mdev", "start", "gpu-05", RUNNING, "--yes", "--accept", "mdev.nova-type", "-o", "json")
    assert started.exit_code == 0, started.stdout + started.stderr
    assert [state for _, _, state in devices(cloud, "gpu-05", 1)] == [True]
    assert calls(sent) == ["stop", "start"]


def test_autostart_off_and_on(cloud: DemoCloud, sent: list[Sent]) -> None:
    off = run("mdev", "autostart", "off", "gpu-05", RUNNING, "--yes", "-o", "json")
    assert off.exit_code == 0, off.stdout + off.stderr
    assert json.loads(off.stdout)["observed"]["autostart"] is False

    again = run("mdev", "autostart", "off", "gpu-05", RUNNING, "--yes", "-o", "json")
    assert (again.exit_code, json.loads(again.stdout)["message"]) == (0, "already so: nothing to do")

    on = run("mdev", "autostart", "on", "gpu-05", RUNNING, "--yes")
    assert on.exit_code == 0, on.stdout
    assert calls(sent) == ["autostart-off", "autostart-on"]


def test_what_runs_already_is_done_and_nothing_is_sent(cloud: DemoCloud, sent: list[Sent]) -> None:
    result = run("mdev", "start", "gpu-05", RUNNING, "--yes", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)["message"], sent) == (0, "already so: nothing to do", [])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["start", "gpu-03", "f0e"], 2, "'f0e' is no uuid of a mediated device"),
        (["stop", "gpu-03"], 2, "Missing argument 'DEVICE...'"),
        (["stop", "gpu-7", RUNNING], 2, "no host is called 'gpu-7'"),
        (["stop", "gpu-04", "abcdef01"], 3, "the devices of gpu-04 are not known"),
        (["autostart", "maybe", "gpu-03", FREE], 2, "'maybe' is not one of 'on', 'off'"),
        (["autostart", "on", "gpu-03", "ffffffff"], 2, "there is no mediated device 'ffffffff' on gpu-03"),
    ],
)
def test_bad_input_sends_nothing(
    arguments: list[str], code: int, words: str, cloud: DemoCloud, sent: list[Sent]
) -> None:
    result = run("mdev", *arguments, "--yes")

    assert (result.exit_code, result.stdout, sent) == (code, "", [])
    assert words in result.stderr


def test_only_the_host_that_is_named_is_asked(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_hosts(cloud, monkeypatch)
    run("mdev", "stop", "gpu-05", RUNNING, "--yes")

    assert asked == {"gpu-05"}
