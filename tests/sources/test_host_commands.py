"""Changes on a host over SSH: the constant script on a real shell, the wall around it, and what its answers mean."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sources.ssh_desk import HOST, Desk
from tests.sources.ssh_servers import AsyncSshServer, free_port
from vgpu_console.sources import ssh_shell
from vgpu_console.sources.base import Refused, SourceError, Unanswered
from vgpu_console.sources.change_command import CHANGE_SCRIPT, HostChange, change_command
from vgpu_console.sources.fact_command import FACT_COMMAND
from vgpu_console.sources.host_commands import HostCommands, judged

VF, GPU = "0000:41:00.4", "0000:41:00.0"
SET = HostChange("set-vgpu-type", VF, 1414)
ENABLE = HostChange("enable-vfs", GPU)
NOBODY = 65534


class Tree:
    """A host's /sys and /usr/lib/nvidia in a folder, and a PATH with a sudo of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / f"sys/bus/pci/devices/{VF}/nvidia/current_vgpu_type"
        self.manage = root / "usr/lib/nvidia/sriov-manage"
        self.asked = root / "asked"  # what sudo was asked for
        self.bin = root / "bin"
        for folder in (self.file.parent, self.manage.parent, self.bin):
            folder.mkdir(parents=True)

    def vf(self, mode: int = 0o666) -> None:
        self.file.write_text("0\n")
        self.file.chmod(mode)

    def program(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, change: HostChange, *, user: int | None = None) -> str:
        command = change_command(change, CHANGE_SCRIPT.replace("R=\n", f"R={self.root}\n", 1))
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env={"PATH": f"{self.bin}:/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            capture_output=True,
            text=True,
            timeout=20,
            user=user if os.geteuid() == 0 else None,
        )
        assert done.stderr == ""
        return done.stdout


@pytest.fixture
def tree() -> Iterator[Tree]:
    root = Path(tempfile.mkdtemp())  # not pytest's own, which another user may not enter
    root.chmod(0o777)
    yield Tree(root)
    shutil.rmtree(root)


def test_a_type_is_written_where_the_user_may(tree: Tree) -> None:
    tree.vf()
    assert tree.run(SET, user=NOBODY) == "==vgpu-console-change 1==\n==exit 0==\n"
    assert tree.file.read_text() == "1414\n"
    assert judged("gpu-06", SET, tree.run(HostChange("set-vgpu-type", VF, 0), user=NOBODY)) == ""
    assert tree.file.read_text() == "0\n"


def test_a_type_is_written_by_sudo_where_the_user_may_not(tree: Tree) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    tree.vf(0o644)
    tree.program(tree.bin / "sudo", f"printf '%s\\n' \"$*\" >>{tree.asked}; cat >/dev/null")
    tree.asked.touch(0o666)
    tree.asked.chmod(0o666)
    assert judged("gpu-06", SET, tree.run(SET, user=NOBODY)) == ""
    assert tree.asked.read_text() == f"-n tee {tree.file}\n"


def test_what_is_not_there_is_not_run(tree: Tree) -> None:
    for change, path in ((SET, tree.file), (ENABLE, tree.manage)):
        answer = tree.run(change)
        assert answer == f"==vgpu-console-change 1==\n{path}: no such file\n==exit 100==\n"
        with pytest.raises(SourceError) as caught:
            judged("gpu-06", change, answer)
        assert (caught.value.kind, str(caught.value)) == (
            "unavailable",
            f"gpu-06: nothing was run: {path}: no such file",
        )
        assert not isinstance(caught.value, Unanswered)


def test_sriov_manage_gets_the_address_and_its_status_is_passed_on(tree: Tree) -> None:
    tree.program(tree.manage, f'echo "$@" >>{tree.asked}; echo Enabling; exit 3')
    tree.asked.touch(0o666)
    tree.asked.chmod(0o666)
    tree.program(tree.bin / "sudo", 'shift; exec "$@"')
    for user in (None, NOBODY):  # as root, and by sudo
        assert tree.run(ENABLE, user=user) == "==vgpu-console-change 1==\nEnabling\n==exit 3==\n"
    assert tree.asked.read_text() == f"-e {GPU}\n" * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (HostChange("set-vgpu-type", "0000:41:00.4; reboot", 1), "is no PCI address"),
        (HostChange("set-vgpu-type", "", 1), "nothing is no PCI address"),
        (HostChange("set-vgpu-type", "../../..", 1), "is no PCI address"),
        (HostChange("set-vgpu-type", f"{VF}\n", 1), "is no PCI address"),
        (HostChange("set-vgpu-type", VF, None), "a vGPU type is a number"),
        (HostChange("set-vgpu-type", VF, -1), "a vGPU type is a number"),
        (HostChange("set-vgpu-type", VF, 2**40), "a vGPU type is a number"),
        (HostChange("set-vgpu-type", VF, "1; reboot"), "a vGPU type is a number"),  # type: ignore[arg-type]
        (HostChange("set-vgpu-type", VF, True), "a vGPU type is a number"),
        (HostChange("reboot", VF, 1), "there is no change named reboot"),  # type: ignore[arg-type]
    ],
)
def test_values_of_another_form_make_no_command(change: HostChange, words: str) -> None:
    with pytest.raises(Refused, match=words):
        change_command(change)


def answer(code: int, *lines: str) -> str:
    return "\n".join(["==vgpu-console-change 1==", *lines, f"==exit {code}==", ""])


@pytest.mark.parametrize(
    ("change", "said", "error", "kind", "words"),
    [
        (SET, answer(1, "sudo: a password is required"), SourceError, "forbidden", "this user may not do it, nothing"),
        (
            SET,
            answer(1, "Sorry, user nova is not allowed to execute '/usr/bin/tee x' as root on gpu-06."),
            SourceError,
            "forbidden",
            "nothing was run: Sorry, user nova is not allowed",
        ),
        (SET, answer(1, "tee: x: Permission denied"), SourceError, "forbidden", "this user may not write it"),
        (
            SET,
            answer(1, "tee: x: Device or resource busy"),
            SourceError,
            "protocol",
            "the driver refused it: tee: x: D",
        ),
        (SET, answer(1), SourceError, "protocol", "the driver refused it: exit 1"),
        (
            ENABLE,
            answer(127, "sh: sudo: not found"),
            SourceError,
            "unavailable",
            "nothing was run: sh: sudo: not found",
        ),
        (
            ENABLE,
            answer(1, "Cannot obtain unbindLock"),
            Unanswered,
            "protocol",
            "ended with 1: Cannot obtain unbindLock",
        ),
        (ENABLE, answer(1, "sudo: a password is required"), SourceError, "forbidden", "nothing was run"),
        (SET, "", Unanswered, "protocol", "the answer is cut short or strange"),
        (SET, "==vgpu-console-change 1==\n", Unanswered, "protocol", "cut short"),
        (SET, "This account is not available.\n", Unanswered, "protocol", "strange: This account is not available."),
        (SET, answer(0) + "more\n", Unanswered, "protocol", "cut short"),
    ],
)
def test_what_an_answer_means(change: HostChange, said: str, error: type[SourceError], kind: str, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        judged("gpu-06", change, said)
    assert (type(caught.value), caught.value.kind) == (error, kind)
    assert str(caught.value).startswith("gpu-06: ")
    assert words in str(caught.value)


def test_hostile_words_are_one_plain_line() -> None:
    hostile = "\x1b[31mred\x07 [b]x[/b] " + "x" * 1000
    with pytest.raises(SourceError) as caught:
        judged("gpu-06", SET, answer(1, hostile, "two", "three", "four"))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


# Over the wire


def test_without_the_right_nothing_is_sent(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server, only=FACT_COMMAND)
    with pytest.raises(Refused, match=r"may only read over SSH \(\[ssh\] changes\)"):
        HostCommands(HOST, shell).take("set-vgpu-type", VF, 0)
    with pytest.raises(Refused, match="this is not the command that reads facts"):
        shell.run(HOST, "reboot", 5)
    with pytest.raises(Refused, match="not the command that reads facts"):
        desk.shell(server, only=FACT_COMMAND, changes=True).run(HOST, change_command(SET), 5)
    assert server.logins == 0


def test_a_change_is_run_on_the_host_by_a_connection_of_its_own(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server, changes=True)
    assert shell.run(HOST, "echo facts", 10) == "facts\n"
    for _ in range(2):
        with pytest.raises(SourceError, match="nothing was run: /sys/bus/pci/devices/00ff"):
            HostCommands(HOST, shell).take("set-vgpu-type", "00ff:41:00.4", 0)
    assert server.logins == 3
    assert shell.run(HOST, "echo facts", 10) == "facts\n"
    assert server.logins == 3


def test_a_host_that_is_not_there_was_sent_nothing(desk: Desk) -> None:
    shell = desk.shell(free_port(), changes=True)
    with pytest.raises(SourceError) as caught:
        HostCommands(HOST, shell).take("enable-vfs", GPU)
    assert (type(caught.value), caught.value.kind) == (SourceError, "unreachable")


def test_a_command_that_does_not_end_and_one_whose_line_is_cut(
    server: AsyncSshServer, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"

    def slow(change: Any) -> str:
        return f"echo once >>{ran}; sleep 2"

    monkeypatch.setattr(ssh_shell, "change_command", slow)
    shell = desk.shell(server, changes=True)
    began = time.monotonic()
    with pytest.raises(
        Unanswered, match=r"did not finish the command within 0\.5 s: nobody knows whether it was obeyed"
    ):
        HostCommands(HOST, shell, timeout_s=0.5).take("enable-vfs", GPU)
    assert time.monotonic() - began < 10
    assert ran.read_text() == "once\n"

    def cut() -> None:
        while ran.read_text() == "once\n":
            time.sleep(0.02)
        server.drop_links()

    threading.Thread(target=cut, daemon=True).start()
    with pytest.raises(Unanswered, match="nobody knows whether it was obeyed") as caught:
        HostCommands(HOST, shell, timeout_s=15).take("enable-vfs", GPU)
    assert caught.value.kind == "unreachable"
    assert ran.read_text() == "once\n" * 2  # sent once, and not again
    end = time.monotonic() + 10
    while server.running and time.monotonic() < end:  # the host goes on with it, whoever asks
        time.sleep(0.05)
