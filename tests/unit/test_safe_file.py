"""Files written whole or not at all: what stands in the folder afterwards, whatever went wrong."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from vgpu_console.safe_file import write_new, write_numbered


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = write_new(tmp_path / "report.md", b"all of it")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"all of it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1
    assert _names(tmp_path) == ["report.md"]


def test_a_umask_that_takes_everything_leaves_the_owner_his_file(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        path = write_new(tmp_path / "report.md", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with pytest.raises(FileExistsError) as caught:
        write_new(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    write_new(path, b"new", replace=True)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _names(tmp_path) == ["report.md"]


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("replace", [False, True])
def test_a_symbolic_link_is_never_written_through(tmp_path: Path, dangling: bool, replace: bool) -> None:
    victim, link = tmp_path / "victim", tmp_path / "report.md"
    if not dangling:
        victim.write_bytes(b"mine")
    link.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link" if replace else "exists") as caught:
        write_new(link, b"theirs", replace=replace)
    assert caught.value.filename == str(link)
    assert link.is_symlink()
    assert (victim.read_bytes() == b"mine") if not dangling else not victim.exists()
    assert _names(tmp_path) == (["report.md"] if dangling else ["report.md", "victim"])


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "reports").symlink_to(tmp_path / "real")
    write_new(tmp_path / "reports" / "a.md", b"x")
    assert _names(tmp_path / "real") == ["a.md"]


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        write_new(tmp_path / "folder", b"x", replace=True)
    with pytest.raises(OSError, match="not a regular file"):
        write_new(tmp_path / "pipe", b"x", replace=True)
    assert _names(tmp_path) == ["folder", "pipe"]


@pytest.mark.parametrize("path", ["/", ".", "nowhere/report.md", "/dev/null/report.md"])
def test_what_is_no_place_for_a_file_is_named(path: str) -> None:
    with pytest.raises(OSError, match=r".+") as caught:
        write_new(Path(path), b"x")
    assert caught.value.filename == path


def test_a_name_as_long_as_a_file_system_takes_it(tmp_path: Path) -> None:
    name = "n" * 251 + ".svg"
    assert write_new(tmp_path / name, b"x").name == name


@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_leaves_nothing_new_and_keeps_what_was_there(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "report.md"
    if replace:
        path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r".+") as caught:
            write_new(path, b"x" * 100_000, replace=replace)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert _names(tmp_path) == (["report.md"] if replace else [])
    assert not replace or path.read_bytes() == b"old"


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """The signal comes while the bytes are being synced: the last moment at which nothing has the name yet."""
    program = """
        import os, signal, sys
        from pathlib import Path
        from vgpu_console import safe_file
        real = os.fsync
        def fsync(fd):
            os.kill(os.getpid(), signal.SIGINT)
            real(fd)
        os.fsync = fsync
        safe_file.write_new(Path(sys.argv[1]), b"x" * 1_000_000)
    """
    path = tmp_path / "report.md"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert _names(tmp_path) == []


def test_without_hard_links_nothing_is_replaced_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)  # as vfat does
    path = tmp_path / "report.md"
    write_new(path, b"first")
    with pytest.raises(FileExistsError):
        write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert _names(tmp_path) == ["report.md"]


def test_files_that_belong_together_share_a_number(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "exports"
    first = write_numbered(folder, "screen", {".svg": b"1", ".txt": b"2"})
    (folder / "screen-2.txt").symlink_to("nowhere")
    second = write_numbered(folder, "screen", {".svg": b"3", ".txt": b"4"})
    assert [p.name for p in first] == ["screen.svg", "screen.txt"]
    assert [p.name for p in second] == ["screen-3.svg", "screen-3.txt"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_set_that_cannot_be_finished_leaves_none_of_it(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r".+"):
            write_numbered(tmp_path, "screen", {".svg": b"small", ".txt": b"x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _names(tmp_path) == []


def test_many_at_once_each_get_a_set_of_their_own(tmp_path: Path) -> None:
    written: list[tuple[Path, ...]] = []

    def write(number: int) -> None:
        content = str(number).encode()
        written.append(write_numbered(tmp_path, "screen", {".svg": content, ".txt": content}))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({svg for svg, _ in written}) == 16
    assert all(svg.stem == txt.stem and svg.read_bytes() == txt.read_bytes() for svg, txt in written)
    assert len(_names(tmp_path)) == 32
