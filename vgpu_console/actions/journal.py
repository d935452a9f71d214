"""The journal: every plan that was begun, with who, when, from where and how it ended. Append-only JSON lines.

The line that says what is about to be done is on the disk before the first step is taken, so that the next console can
tell what a killed one had under way. Standard tools read it: a JSON object a line, times in UTC.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import logging
import os
import socket
import syslog
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from vgpu_console.actions.plan import Plan

LOG = logging.getLogger("vgpu_console.journal")

Event = Literal["begun", "step", "ended", "outcome"]
"""``outcome`` comes after ``ended``: what became of something that goes on by itself once it was begun."""
Result = Literal["done", "failed", "moved", "refused", "unverified", "interrupted"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. ``run`` ties the lines of one plan's application together."""

    at: str
    run: str
    event: Event
    user: str = ""
    source: str = ""  # where the operator's session came from (SSH_CONNECTION's first field), else "local"
    cloud: str = ""
    plan: Plan | None = None  # with "begun" only
    overrides: tuple[str, ...] = ()  # ids of checks that the operator accepted
    step: int | None = None
    message: str = ""
    result: Result | None = None  # with "ended" only
    observed: dict[str, Any] | None = None


def default_path(demo: bool) -> Path:
    """``journal.jsonl`` in the state folder (XDG_STATE_HOME is honoured); what is done to a demo is kept apart."""
    import platformdirs

    return platformdirs.user_state_path("vgpu-console") / ("journal-demo.jsonl" if demo else "journal.jsonl")


_SYSLOG_BYTES = 8_000
"""A datagram that every syslog takes."""


class JournalError(Exception):
    """The journal cannot be written: nothing may be changed then."""


class Journal:
    """Appends to and reads one journal file, made with mode 0600."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, syslog: str | None = None) -> None:
        """``syslog`` is a socket that takes every line as well (``/dev/log``); None: none does."""
        self.path = path
        self._clock = clock
        self._syslog = syslog

    def begin(self, plan: Plan, *, cloud: str, overrides: tuple[str, ...] = ()) -> str:
        """Write that a plan is about to be applied, and wait for the disk; returns the run's id.

        Raises JournalError.
        """
        run = uuid.uuid4().hex[:12]
        origin = (os.environ.get("SSH_CONNECTION") or "").partition(" ")[0] or "local"
        self._append(
            Entry(
                at=self._now(),
                run=run,
                event="begun",
                user=_user(),
                source=origin,
                cloud=cloud,
                plan=plan,
                overrides=overrides,
            )
        )
        return run

    def step(self, run: str, number: int, message: str = "") -> None:
        """Write that a step (counted from 1) is about to be taken, or what became of it. Raises JournalError."""
        self._append(Entry(at=self._now(), run=run, event="step", step=number, message=message))

    def end(self, run: str, result: Result, message: str = "", observed: dict[str, Any] | None = None) -> None:
        """Write how it ended. Raises JournalError."""
        entry = Entry(at=self._now(), run=run, event="ended", result=result, message=message, observed=observed)
        self._append(entry)

    def outcome(self, run: str, message: str) -> None:
        """Write what became, long after its end, of what a run began: a migration that arrived or failed.

        Raises JournalError.
        """
        self._append(Entry(at=self._now(), run=run, event="outcome", message=message))

    def entries(self) -> Iterator[Entry]:
        """All lines that can be read, oldest first; a line that a killed writer left half is passed over."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                yield msgspec.json.decode(line, type=Entry)

    def unfinished(self) -> tuple[Entry, ...]:
        """The "begun" lines of runs that never ended: their console was killed."""
        begun: dict[str, Entry] = {}
        for entry in self.entries():
            if entry.event == "begun":
                begun[entry.run] = entry
            elif entry.event == "ended":
                begun.pop(entry.run, None)
        return tuple(begun.values())

    def _now(self) -> str:
        moment = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _append(self, entry: Entry) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o600)
            try:
                # a line that a killed writer left half must not swallow this one
                if os.fstat(descriptor).st_size and not _ends_a_line(self.path):
                    line = b"\n" + line
                written = os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise JournalError(f"the journal {self.path} cannot be written: {error.strerror}") from None
        if written != len(line):
            raise JournalError(f"the journal {self.path} cannot be written: no space left")
        if self._syslog is not None:
            _tell_syslog(self._syslog, entry)


def _tell_syslog(socket_path: str, entry: Entry) -> None:
    """The line in short, as ``key=value``. A copy: that it cannot be sent stops no change, and the log says so."""
    fields: dict[str, Any] = {"run": entry.run, "event": entry.event, "user": entry.user, "from": entry.source}
    fields |= {"cloud": entry.cloud, "step": entry.step, "result": entry.result, "message": entry.message}
    if entry.plan is not None:
        fields |= {"action": entry.plan.action, "target": entry.plan.target.id, "title": entry.plan.title}
        fields |= {"accepted": ",".join(entry.overrides), "plan": entry.plan.hash}
    words = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in fields.items() if value)
    line = f"<{syslog.LOG_AUTHPRIV | syslog.LOG_NOTICE}>vgpu-console[{os.getpid()}]: {words}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(1.0)
            channel.connect(socket_path)
            channel.send(line.encode()[:_SYSLOG_BYTES])
    except OSError as error:
        LOG.warning("syslog %s: %s", socket_path, error.strerror or error)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
