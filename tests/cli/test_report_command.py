"""``vgpu-console report``: where it writes, what it says, how it ends; and what is left when it cannot."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import ROOT
from vgpu_console.cli_report import report
from vgpu_console.reports.formats import SECTIONS, SUFFIXES

Invoke = Callable[..., Result]
Spawn = Callable[..., "subprocess.CompletedProcess[str]"]


def test_without_options_it_is_markdown_on_stdout(invoke: Invoke) -> None:
    result = invoke("whole", "report")

    assert result.exit_code == 0
    assert result.stdout.startswith("# vGPU fleet of prod, RegionOne\n")
    assert result.stderr == ""


@pytest.mark.parametrize("suffix", [s for group in SUFFIXES.values() for s in group])
def test_the_format_is_that_of_the_name(suffix: str, invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / f"fleet{suffix}"
    result = invoke("whole", "report", "-O", str(path))

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"written: {path}\n"
    begins = {"md": "# ", "html": "<!DOCTYPE html>", "json": "{", "csv": "capacity\n", "svg": "<svg"}
    form = next(name for name, suffixes in SUFFIXES.items() if suffix in suffixes)
    assert path.read_text().startswith(begins[form])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_named_format_goes_before_the_name(invoke: Invoke, tmp_path: Path) -> None:
    invoke("whole", "report", "--format", "json", "-O", str(tmp_path / "fleet.txt"))

    assert json.loads((tmp_path / "fleet.txt").read_text())["schema_version"] == 1


def test_the_picture_is_the_dashboard_of_the_terminal(invoke: Invoke) -> None:
    svg = invoke("partial", "report", "--format", "svg").stdout

    assert svg.startswith("<svg")
    for words in ("gpu-03", "ml-research", "vm-train-7", "READ-WRITE"):
        assert words in svg.replace("&#160;", " ")
    assert "@font-face" not in svg


def test_a_section_of_the_csv_alone(invoke: Invoke) -> None:
    result = invoke("whole", "report", "--format", "csv", "--section", "hosts")

    assert result.stdout.splitlines()[0].startswith("name,service_state,")
    assert len(result.stdout.splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-O", "fleet.pdf"), "give --format"),
        (("-O", "fleet"), "give --format"),
        (("--section", "hosts"), "--section needs --format csv"),
        (("--format", "pdf"), "'pdf' is not one of"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_the_fleet_is_read(
    arguments: tuple[str, ...], words: str, invoke: Invoke
) -> None:
    result = invoke("broken", "report", *arguments)

    assert result.exit_code == 2
    assert words in result.stderr


def test_sources_that_failed_are_told_and_the_file_is_there(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    result = invoke("partial", "report", "-O", str(path))

    assert result.exit_code == 5
    assert "libvirt:gpu-04: no answer within 5 s" in result.stderr
    assert json.loads(path.read_text())["summary"]["sources_failed"] == 2


@pytest.mark.parametrize(("case", "code"), [("dark", 3), ("unknown_cloud", 3), ("refused", 4), ("broken", 1)])
def test_without_a_fleet_there_is_no_file(case: str, code: int, invoke: Invoke, tmp_path: Path) -> None:
    result = invoke(case, "report", "-O", str(tmp_path / "fleet.md"))

    assert result.exit_code == code
    assert not (tmp_path / "fleet.md").exists()


# --- what stands in the way -------------------------------------------------------------------------------------------


def _files(folder: Path) -> set[str]:
    """All but what the program keeps for itself in a home."""
    return {p.name for p in folder.iterdir() if not p.name.startswith(".")}


def test_a_file_is_replaced_only_when_that_was_said(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "fleet.md"
    path.write_text("mine")
    kept = invoke("broken", "report", "-O", str(path))  # "broken": the fleet would have been read in vain

    assert (kept.exit_code, path.read_text()) == (1, "mine")
    assert kept.stderr == f"vgpu-console: not written: {path}: exists already (--force replaces it)\n"
    assert invoke("whole", "report", "-O", str(path), "--force").exit_code == 0
    assert path.read_text().startswith("# vGPU fleet")


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_symbolic_link_is_not_written_through(options: tuple[str, ...], invoke: Invoke, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "fleet.md").symlink_to(victim)
    result = invoke("whole", "report", "-O", str(tmp_path / "fleet.md"), *options)

    assert result.exit_code == 1
    assert ("symbolic link" if options else "exists already") in result.stderr
    assert victim.read_text() == "mine"
    assert _files(tmp_path) == {"fleet.md", "victim"}


@pytest.mark.parametrize("where", ["nowhere/fleet.md", "taken/fleet.md"])
def test_a_folder_that_is_none_is_said_before_the_fleet_is_read(where: str, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = invoke("broken", "report", "-O", str(tmp_path / where))

    assert result.exit_code == 1
    assert result.stderr.endswith(": no such folder\n")
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said_before_the_fleet_is_read(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    result = invoke("broken", "report", "-O", str(folder / "fleet.md"))

    assert (result.exit_code, result.stderr) == (1, f"vgpu-console: not written: {folder}: Permission denied\n")


def test_a_full_disk_leaves_no_half_of_it(home: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails in the middle, as it would there."""
    folder = tmp_path / "reports"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.canned_console", "whole", "report", "-O", str(folder / "fleet.html")],
        cwd=ROOT,
        # Python would leave cut-off bytecode behind it, for everybody
        env={"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, 8_192)),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr == f"vgpu-console: not written: {folder}/fleet.html: File too large\n"
    assert list(folder.iterdir()) == []


def test_ctrl_c_leaves_nothing(spawn: Spawn, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    done = spawn("interrupted", "report", "-O", str(folder / "fleet.md"))

    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(home: Path) -> None:
    command = f"{sys.executable} -m tests.cli.canned_console large report --format json | head -c 20"
    environment = {"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert done.stdout == '{\n  "schema_version"'
    assert done.stderr == ""


def test_the_help_names_every_section_and_shows_examples() -> None:
    section = next(p for p in report.params if p.name == "section")

    assert list(section.type.choices) == list(SECTIONS)  # type: ignore[attr-defined]
    assert "vgpu-console report -O fleet.html" in (report.epilog or "")
