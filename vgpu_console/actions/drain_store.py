"""Where drains are written down: one file each in the state folder, and a lock so that one console alone runs a drain.

A file is replaced as a whole, so that a console that is killed leaves the last state or the one before. The lock is the
kernel's (flock): it ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import socket
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from vgpu_console.actions.drain import VERSION, Drain

_ID = re.compile(r"^[0-9]{8}T[0-9]{6}-[0-9a-f]{6}$")

LOOKS, LOOK_AGAIN_S = 5, 0.02
"""How often a lock that nobody has put a name into is tried for, and how long between."""


class DrainFileError(Exception):
    """A drain cannot be read or written; ``str()`` is one plain line."""


class DrainHeld(DrainFileError):
    """Another console runs a drain of this host."""


class Unreadable(NamedTuple):
    """A file that is there and cannot be used, with the reason."""

    path: Path
    why: str


def default_folder(demo: bool) -> Path:
    """``drains`` in the state folder (XDG_STATE_HOME is honoured); a demo's are kept apart."""
    import platformdirs

    return platformdirs.user_state_path("vgpu-console") / ("drains-demo" if demo else "drains")


def new_id(now: float) -> str:
    """An id that sorts by time: ``20261122T213000-1a2b3c`` (UTC)."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"


class DrainLock:
    """Holds a host's lock until ``release``, or the end of the process."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path

    def release(self) -> None:
        """Let another console run it. The file stays: taking it away would let two hold different ones."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


class DrainStore:
    """Reads and writes the folder, which is made with mode 0700, the files with 0600. All raise DrainFileError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, drain: Drain) -> None:
        """Replace the drain's file, and wait for the disk."""
        path = self.path(drain.id)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        data = msgspec.json.format(msgspec.json.encode(drain), indent=1) + b"\n"
        try:
            self._make()
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(beside, flags, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, path)
            except OSError:
                beside.unlink(missing_ok=True)
                raise
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DrainFileError(f"the drain {path} cannot be written: {error.strerror}") from None

    def load(self, id: str) -> Drain:
        """The drain of that id."""
        if not _ID.match(id):
            raise DrainFileError(f"'{id}' is not the id of a drain")
        return self._read(self.path(id))

    def drains(self, cloud: str | None = None) -> tuple[tuple[Drain, ...], tuple[Unreadable, ...]]:
        """All drains of a cloud, the newest first, and the files that cannot be used."""
        found: list[Drain] = []
        broken: list[Unreadable] = []
        try:
            paths = sorted(self.folder.glob("*.json"), reverse=True)
        except OSError as error:
            raise DrainFileError(f"{self.folder} cannot be read: {error.strerror}") from None
        for path in paths:
            try:
                drain = self._read(path)
            except DrainFileError as error:
                broken.append(Unreadable(path, str(error)))
                continue
            if cloud is None or drain.cloud == cloud:
                found.append(drain)
        return tuple(found), tuple(broken)

    def unfinished(self, cloud: str, host: str | None = None) -> tuple[Drain, ...]:
        """Drains that have something left to do, the newest first."""
        found, _ = self.drains(cloud)
        return tuple(d for d in found if d.unfinished and host in (None, d.host))

    def lock(self, cloud: str, host: str) -> DrainLock:
        """Take the lock of a host. Raises DrainHeld, which names the process that has it."""
        path = self.folder / f"{_slug(cloud, host)}.lock"
        try:
            self._make()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DrainFileError(f"the lock {path} cannot be made: {error.strerror}") from None
        try:
            self._take(descriptor)
        except BlockingIOError:
            holder = _holder(descriptor) or "another process"
            os.close(descriptor)
            raise DrainHeld(f"a drain of {host} is run by another console: {holder}") from None
        except OSError as error:
            os.close(descriptor)
            raise DrainFileError(f"the lock {path} cannot be taken: {error.strerror}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return DrainLock(descriptor, path)

    def held(self, cloud: str, host: str) -> str:
        """Who runs a drain of the host now: ``process 4711 on jump-1``; "" when nobody does."""
        path = self.folder / f"{_slug(cloud, host)}.lock"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(descriptor) or "another process"
        except OSError:
            return ""
        finally:
            os.close(descriptor)
        return ""

    def path(self, id: str) -> Path:
        """The file of a drain."""
        return self.folder / f"{id}.json"

    def _take(self, descriptor: int) -> None:
        """Take the lock; who merely looks whether it is held has it for a moment, and writes no name into it."""
        for _ in range(LOOKS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if _holder(descriptor):
                break
            time.sleep(LOOK_AGAIN_S)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _read(self, path: Path) -> Drain:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise DrainFileError(f"there is no drain {path.stem}") from None
        except OSError as error:
            raise DrainFileError(f"the drain {path} cannot be read: {error.strerror}") from None
        try:
            version = msgspec.json.decode(data, type=_Versioned).version
            if version > VERSION:
                raise DrainFileError(f"the drain {path} was written by a newer vgpu-console (version {version})")
            drain = msgspec.json.decode(data, type=Drain)
        except msgspec.DecodeError as error:
            raise DrainFileError(f"the drain {path} is damaged: {error}") from None
        if drain.id != path.stem:
            raise DrainFileError(f"the drain {path} says that it is {drain.id}: it was copied or renamed")
        return drain


class _Versioned(msgspec.Struct, frozen=True):
    version: int


def _holder(descriptor: int) -> str:
    """The name that the holder of a lock has put into it; "" when there is none."""
    return os.pread(descriptor, 300, 0).decode("utf-8", "replace").strip()


def _slug(cloud: str, host: str) -> str:
    """A file name that no two pairs share, readable as far as letters go."""
    import hashlib

    digest = hashlib.sha256(f"{cloud}\0{host}".encode()).hexdigest()[:10]
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', host)[:60]}-{digest}"
