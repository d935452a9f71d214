"""The manual page and the shells' completion: made from the commands, and read by the real programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from vgpu_console.cli import console
from vgpu_console.manual import page
from vgpu_console.rules.diagnosis.doctor import DIAGNOSES
from vgpu_console.screens.keys import key_rows

PROGRAM = Path(sys.executable).with_name("vgpu-console")


def run(*arguments: str) -> str:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
    return found


@pytest.mark.parametrize(("path", "command"), every_command(console), ids=lambda value: str(value)[:40])
def test_every_command_has_help_with_examples(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help, "a command says what it does"
    assert len(command.get_short_help_str(200)) < 80
    if not isinstance(command, click.Group) and path not in (("version",),):
        assert f"vgpu-console {' '.join(path)}" in (command.epilog or ""), "a command shows how it is typed"


def test_the_help_lists_every_command_once() -> None:
    listed = console.list_commands(click.Context(console))
    assert sorted(listed) == sorted(console.commands)
    text = run("--help")
    assert text.index("See:") < text.index("Change:") < text.index("This program:")


def test_the_page_names_every_command_key_and_diagnosis() -> None:
    roff = run("man").replace("\\-", "-")
    for path, command in every_command(console):
        if not command.hidden:
            assert f'.SS "{" ".join(path)}' in roff
    for key in key_rows():
        assert key.help.replace("'", "\\(aq") in roff
    for diagnosis in DIAGNOSES:
        assert f"\\fB{diagnosis.id}\\fR" in roff


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff on this machine")
def test_groff_has_nothing_to_complain_of() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-P-c"]
    done = subprocess.run(command, input=run("man"), capture_output=True, text=True, check=True, timeout=60)
    assert not [line for line in done.stderr.splitlines() if "can't break line" not in line]
    text = re.sub(r".\x08", "", done.stdout)
    assert "quota set" in text
    assert "vgpu-console quota set" in text
    assert "0000:41:00.0" in text or "--gpu" in text


def test_what_roff_would_take_for_a_request_stays_text() -> None:
    group = click.Group("x", help="\b\n.TH is no request\n'nor this \\n", commands={})
    roff = page(group, "x", "1", (), ())
    assert "\n\\&.TH is no request\n\\&\\(aqnor this \\en\n" in roff


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("qu", {"quota"}), ("quota se", {"set"}), ("hosts -o nd", {"ndjson"}), ("completion z", {"zsh"})],
)
def test_bash_completes(tmp_path: Path, words: str, expected: set[str]) -> None:
    script = tmp_path / "completion"
    script.write_text(run("completion", "bash"))
    typed = f"{PROGRAM} {words}".split()
    quoted = " ".join(f'"{word}"' for word in typed)
    ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(typed) - 1}; _vgpu_console_completion {PROGRAM}"
    line = f"source {script}; {ask}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shell: str) -> None:
    assert "_VGPU_CONSOLE_COMPLETE" in run("completion", shell)
