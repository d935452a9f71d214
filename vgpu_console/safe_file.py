"""Files written whole or not at all: private, never through a symbolic link, never by accident over another file."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

_MODE = 0o600
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What a file system without hard links answers to ``link``: vfat, some of FUSE."""

_MOST_NUMBERS = 1_000


def write_new(path: Path, data: bytes, *, replace: bool = False) -> Path:
    """Write a file that only its owner can read, and return its path.

    The bytes go beside it and are synced before the name appears, so a reader never meets half of them; nothing is left
    behind when that fails or is interrupted. What stands at the path already is kept (FileExistsError), with
    ``replace`` it gives way, unless it is a symbolic link or no regular file. Raises OSError with the path in it.
    """
    with _in_folder(path) as folder:
        if replace:
            _look_at(folder, path.name)
        part = f".vgpu-console-{secrets.token_hex(8)}.part"
        try:
            _fill(folder, part, data)
            if replace:
                os.rename(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                _take_name(folder, part, path.name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
        with contextlib.suppress(OSError):  # the file is there; some file systems cannot sync a folder
            os.fsync(folder)
    return path


def write_numbered(folder: Path, stem: str, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files that belong together: one stem, a suffix each; where a name is taken all get ``-2``, ``-3`` …

    Makes the folder when it is missing, for its owner only. Raises OSError, with nothing of the set left behind.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, _MOST_NUMBERS):
        base = stem if number == 1 else f"{stem}-{number}"
        paths = [folder / (base + suffix) for suffix in files]
        if any(os.path.lexists(path) for path in paths):
            continue
        written: list[Path] = []
        try:
            for path, data in zip(paths, files.values(), strict=True):
                written.append(write_new(path, data))
        except FileExistsError:  # another console took the name just now
            _remove(written)
        except BaseException:
            _remove(written)
            raise
        else:
            return tuple(written)
    raise FileExistsError(errno.EEXIST, "so many files of this name exist already", str(folder / stem))


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def _in_folder(path: Path) -> Iterator[int]:
    """The folder of a path, held open so that nobody swaps it meanwhile; errors name the path, not the part beside it.

    Raises OSError.
    """
    if path.name in ("", ".."):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _look_at(folder: int, name: str) -> None:
    """Raises OSError when what stands there is nothing that a file may replace."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "it is a symbolic link, and none is written through")
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def _fill(folder: int, part: str, data: bytes) -> None:
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=folder)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, _MODE)  # whatever the umask takes away
        file.write(data)
        file.flush()
        os.fsync(fd)


def _take_name(folder: int, part: str, name: str) -> None:
    """Give the part its name unless that is taken, by a symbolic link too. Raises FileExistsError."""
    try:
        os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    else:
        return
    # Without hard links the name is held by an empty file until the whole one takes its place.
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE, dir_fd=folder))
    try:
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
