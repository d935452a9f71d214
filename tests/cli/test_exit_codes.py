"""How commands end: 0 ok, 1 failed, 2 usage, 3 no connection, 4 refused, 5 partial, 130 interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.canned_console import SILENT_SERVER
from tests.cli.conftest import ROOT

Invoke = Callable[..., Result]
Spawn = Callable[..., "subprocess.CompletedProcess[str]"]

ENDINGS = [
    ("whole", ["hosts"], 0, ""),
    ("whole", ["hosts", "-o", "yaml"], 2, "'yaml' is not one of"),
    ("whole", ["hots"], 2, "No such command 'hots'"),
    ("whole", ["hosts", "--deadline", "soon"], 2, "--deadline: expected a number, got text"),
    ("whole", ["--deadline", "0", "hosts"], 2, "--deadline: expected a number > 0"),
    ("whole", ["--config", "/nowhere/x.toml", "hosts"], 2, "/nowhere/x.toml: no such file (--config)"),
    ("whole", ["--demo", "--scenario", "smal", "hosts"], 2, "no such scenario; did you mean small?"),
    ("whole", ["--scenario", "0", "hosts"], 2, "a fleet has 1 to 100000 hosts"),
    ("whole", ["demo", "--port", "8774"], 2, "--port needs --serve"),
    ("whole", [], 2, "the console needs a terminal"),
    ("whole", ["demo"], 2, "the console needs a terminal"),
    ("dark", ["hosts"], 3, "no connection: the credential was not accepted (HTTP 401)"),
    ("dark", ["snapshot"], 3, "no connection: the credential was not accepted (HTTP 401)"),
    ("unknown_cloud", ["quota"], 3, "no connection: cloud prodd is not in clouds.yaml; there are: prod, lab"),
    ("refused", ["hosts"], 4, "refused: read-only: PUT is not sent"),
    ("partial", ["gpus"], 5, "libvirt:gpu-04: no answer within 5 s"),
    ("broken", ["hosts"], 1, "failed: RuntimeError: unexpected; password=<hidden>"),
    ("interrupted", ["hosts"], 130, ""),
]


@pytest.mark.parametrize(("case", "arguments", "code", "words"), ENDINGS)
def test_every_ending_has_its_code_and_its_words(
    case: str, arguments: list[str], code: int, words: str, invoke: Invoke
) -> None:
    result = invoke(case, *arguments)

    assert result.exit_code == code
    assert words in result.stderr
    if code not in (0, 5):
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("case", "arguments", "code"),
    [
        ("whole", ["hosts", "-o", "json"], 0),
        ("broken", ["hosts"], 1),
        ("whole", ["hots"], 2),
        ("whole", [], 2),
        ("dark", ["hosts"], 3),
        ("refused", ["hosts"], 4),
        ("partial", ["hosts", "-o", "json"], 5),
        ("interrupted", ["hosts"], 130),
    ],
)
def test_a_process_ends_with_the_same_codes_and_without_a_traceback(
    case: str, arguments: list[str], code: int, spawn: Spawn
) -> None:
    done = spawn(case, *arguments)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    if code in (0, 5):
        assert len(json.loads(done.stdout)) == 6


def test_a_failure_leaves_its_traceback_in_the_log_and_no_secret(spawn: Spawn, home: Path) -> None:
    spawn("broken", "hosts", "--log-file", str(home / "console.log"))
    text = (home / "console.log").read_text()

    assert "RuntimeError: unexpected" in text
    assert "canned_console.py" in text
    assert "hunter2" not in text


def test_a_partly_silent_fleet_gives_its_data_and_says_what_is_missing(invoke: Invoke) -> None:
    result = invoke("partial", "hosts", "-o", "json")

    assert len(json.loads(result.stdout)) == 6
    assert result.stderr.splitlines()[-3:] == [
        "errors:",
        "  libvirt:gpu-04: no answer within 5 s",
        "  ssh:gpu-04: no answer within 10 s",
    ]


def test_a_source_that_leaves_something_out_is_noted_without_being_an_error(invoke: Invoke) -> None:
    result = invoke("partial", "quota")

    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["notes:", "  keystone: limits: only this project's are visible"]


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ("hosts", "no hosts: no compute host is known"),
        ("mdevs", "no mediated devices: no compute host is known"),
        ("servers", "no servers with vGPUs: no server has a flavor with resources:VGPU"),
        ("quota", "no vGPU quotas: Keystone has no registered or project limit"),
        ("migrations", "no migrations: Nova lists no live migration"),
        ("providers", "no resource providers: no resource provider has an inventory of vGPUs"),
    ],
)
@pytest.mark.parametrize(("form", "data"), [("table", ""), ("json", "[]\n"), ("ndjson", "")])
def test_an_empty_view_says_why_on_stderr(view: str, reason: str, form: str, data: str, invoke: Invoke) -> None:
    result = invoke("empty", view, "-o", form)

    assert (result.exit_code, result.stdout) == (0, data)
    assert reason in result.stderr


def test_an_empty_view_of_a_silent_source_is_unknown_not_none(invoke: Invoke) -> None:
    result = invoke("partial", "gpus", "--host", "gpu-04")

    assert result.exit_code == 5
    assert "GPUs: unknown, for want of an answer from libvirt:gpu-04, ssh:gpu-04" in result.stderr
    assert "no GPUs" not in result.stderr


def test_a_reader_that_goes_away_ends_the_command_quietly(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.canned_console", "large", "servers", "-o", "csv"],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("id,name,")
    process.stdout.close()
    words = process.stderr.read()

    assert process.wait(60) == 0
    assert words == ""


def test_a_full_disk_is_a_failure(home: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.canned_console", "whole", "hosts"],
            cwd=ROOT,
            env={"HOME": str(home), "PATH": os.defpath},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_global_options_may_stand_before_and_after_the_command(invoke: Invoke, home: Path) -> None:
    (home / "c.toml").write_text('cloud = "from-file"\n')
    for arguments in (
        ["--config", str(home / "c.toml"), "--read-only", "config", "-o", "json"],
        ["config", "-o", "json", "--config", str(home / "c.toml"), "--read-only"],
    ):
        listed = {s["key"]: s for s in json.loads(invoke("whole", *arguments).stdout)}
        assert listed["cloud"]["value"] == "from-file"
        assert (listed["read_only"]["value"], listed["read_only"]["detail"]) == (True, "--read-only")


def test_demo_and_settings_reach_the_reading(invoke: Invoke) -> None:
    seen = []

    def reader(settings: object, demo: object, *_: object) -> object:
        from tests.builders import small_fleet

        seen.append((settings, demo))
        return small_fleet(broken=False)

    invoke(reader, "--demo", "hosts")
    invoke(reader, "hosts", "--scenario", "40", "--os-cloud", "prod", "--deadline", "3")
    invoke(reader, "hosts")
    (_, plain_demo), (settings, sized), (_, real) = seen

    assert (plain_demo.scenario, sized.scenario, real) == (None, 40, None)  # type: ignore[attr-defined]
    assert (settings.cloud, settings.deadline) == ("prod", 3.0)  # type: ignore[attr-defined]


def test_help_shows_examples_and_the_exit_codes(invoke: Invoke) -> None:
    words = invoke("whole", "--help").stdout

    assert "Exit codes: 0 ok, 1 failed, 2 usage, 3 no connection, 4 refused, 5 partial, 130 interrupted." in words
    for command in (
        "hosts",
        "gpus",
        "mdevs",
        "types",
        "servers",
        "quota",
        "migrations",
        "providers",
        "snapshot",
        "config",
    ):
        assert command in words
        assert "Examples:" in invoke("whole", command, "--help").stdout


def test_the_silent_host_keeps_its_servers(invoke: Invoke) -> None:
    """What Nova knows of a host stays when the host itself is silent."""
    assert SILENT_SERVER in invoke("partial", "servers", "--host", "gpu-04").stdout


def test_a_scenario_is_a_bundled_name_a_file_or_a_number(invoke: Invoke, home: Path) -> None:
    seen: list[object] = []

    def reader(_settings: object, demo: object, *_: object) -> object:
        from tests.builders import small_fleet

        seen.append(demo.scenario)  # type: ignore[attr-defined]
        return small_fleet(broken=False)

    file = home / "mine.toml"
    file.write_text("")
    for name in ("small", str(file), "250"):
        invoke(reader, "--demo", "--scenario", name, "hosts")

    assert seen == ["small", str(file), 250]
