"""This console's memory of live migrations: what was predicted, what was measured, how it ended. One SQLite file.

Nova keeps no downtime, and libvirt only that of the last job; what is not written down here is lost. Two consoles may
write at once: each row is put or filled in on its own, and what one has measured the other never takes away.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from vgpu_console.rules.migration.downtime import PastMove, of_one_clock

SCHEMA = 2
BUSY_S = 3.0
"""So long a write waits for another console's."""


class HistoryError(Exception):
    """The history cannot be read or written; ``str()`` is one plain line."""


class MigrationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One migration. Times are seconds since the epoch; None is what is not known.

    ``end`` is the word of how it ended (``completed``, ``aborted`` …), "" while it runs. ``measured_by`` says where
    ``downtime_ms`` is from; ``not_measured`` why there is none. ``heard_ms`` is from the guest's stop to its start as
    this console heard both: one clock, where libvirt counts over two.
    """

    migration: str  # Nova's uuid of it
    cloud: str = ""
    server: str = ""  # id
    server_name: str = ""
    project: str = ""
    type_name: str = ""
    vgpus: int | None = None
    ram_mib: int | None = None
    framebuffer_mib: int | None = None
    source: str = ""
    destination: str = ""
    started: float | None = None
    ended: float | None = None
    end: str = ""
    predicted_low_ms: float | None = None
    predicted_high_ms: float | None = None
    downtime_ms: float | None = None
    measured_by: str = ""
    not_measured: str = ""
    rate: float | None = None  # bytes a second of guest memory
    heard_ms: float | None = None

    @property
    def pause_ms(self) -> float | None:
        """The downtime to reckon with: what was heard, where the hosts' clocks make libvirt's figure doubtful."""
        return None if self.downtime_ms is None else of_one_clock(self.downtime_ms, self.heard_ms)


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Measured downtimes of one type between two hosts, milliseconds."""

    type_name: str
    source: str
    destination: str
    count: int
    p50: float
    p90: float
    most: float


_TABLE = """
CREATE TABLE migration (
  migration TEXT PRIMARY KEY, cloud TEXT, server TEXT, server_name TEXT, project TEXT, type_name TEXT, vgpus INTEGER,
  ram_mib INTEGER, framebuffer_mib INTEGER, source TEXT, destination TEXT, started REAL, ended REAL, "end" TEXT,
  predicted_low_ms REAL, predicted_high_ms REAL, downtime_ms REAL, measured_by TEXT, not_measured TEXT, rate REAL,
  heard_ms REAL
) WITHOUT ROWID
"""
_NAMES = tuple(field.name for field in msgspec.structs.fields(MigrationRecord))
_ADDED = {2: "heard_ms"}  # the columns that a schema brought
_COLUMNS = ", ".join(f'"{name}"' for name in _NAMES)
_FILL_IN = ", ".join(f'"{name}" = COALESCE(NULLIF(excluded."{name}", \'\'), "{name}")' for name in _NAMES[1:])
_PUT = (
    f"INSERT INTO migration ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) "  # noqa: S608
    f"ON CONFLICT (migration) DO UPDATE SET {_FILL_IN}"
)


def default_path(demo: bool) -> Path:
    """``migrations.sqlite3`` in the state folder; a demo's are kept apart."""
    import platformdirs

    name = "migrations-demo.sqlite3" if demo else "migrations.sqlite3"
    return platformdirs.user_state_path("vgpu-console") / name


class MigrationHistory:
    """Reads and writes the file, which is made when something is first written, with mode 0600.

    Each call opens it anew: they come seconds apart, from several threads. All raise HistoryError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, record: MigrationRecord) -> None:
        """Add a migration, or fill in what is now known of it: an empty field never replaces a known one."""
        with self._writing() as database:
            database.execute(_PUT, [getattr(record, name) for name in _NAMES])
            if record.downtime_ms is not None:
                database.execute("UPDATE migration SET not_measured = '' WHERE migration = ?", (record.migration,))

    def records(self, *, cloud: str | None = None, last: int | None = None) -> tuple[MigrationRecord, ...]:
        """The latest first."""
        most = -1 if last is None else last
        which = "WHERE (? IS NULL OR cloud = ?) ORDER BY started DESC LIMIT ?"
        return tuple(_record(row) for row in self._read(which, (cloud, cloud, most)))

    def get(self, migration: str) -> MigrationRecord | None:
        """One migration by Nova's uuid."""
        rows = self._read("WHERE migration = ?", (migration,))
        return _record(rows[0]) if rows else None

    def past_moves(self, cloud: str | None = None) -> tuple[PastMove, ...]:
        """What predictions are made from: completed, measured, of known sizes."""
        return tuple(
            PastMove(
                type_name=r.type_name,
                source=r.source,
                destination=r.destination,
                ram_mib=int(r.ram_mib),
                framebuffer_mib=int(r.framebuffer_mib),
                downtime_ms=r.pause_ms,
                heard=r.pause_ms != r.downtime_ms,
            )
            for r in self.records(cloud=cloud)
            if r.end == "completed"
            and r.pause_ms is not None
            and r.ram_mib is not None
            and r.framebuffer_mib is not None
        )

    def _read(self, which: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        """The rows, their fields in the record's order; none when nothing was ever written."""
        if not self.path.exists():
            return []
        with self._telling("read"), contextlib.closing(self._connect("ro")) as database:
            schema = self._schema_of(database)
            lacking = {name for added, name in _ADDED.items() if added > schema}
            columns = ", ".join("NULL" if name in lacking else f'"{name}"' for name in _NAMES)
            # the names above and words of this class, nothing that was given
            return database.execute(f"SELECT {columns} FROM migration {which}", values).fetchall()  # noqa: S608

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the file, which is made when it is missing."""
        with self._telling("written"):
            self._make()
            with contextlib.closing(self._connect("rw")) as database, database:
                database.execute("BEGIN IMMEDIATE")  # so that one of two consoles makes the table
                if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                    database.execute(_TABLE)
                    database.execute(f"PRAGMA user_version = {SCHEMA}")
                for schema in range(self._schema_of(database) + 1, SCHEMA + 1):
                    database.execute(f"ALTER TABLE migration ADD COLUMN {_ADDED[schema]} REAL")
                    database.execute(f"PRAGMA user_version = {schema}")
                yield database

    def _connect(self, mode: str) -> sqlite3.Connection:
        # autocommit: transactions are begun by hand
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None
        )

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """SQLite's and the system's errors as one plain line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            busy = "locked" in str(error) or "busy" in str(error)
            why = "another console is writing to it" if busy else str(error)
            raise HistoryError(f"the history {self.path} cannot be {what}: {why}") from None
        except sqlite3.DatabaseError as error:
            raise HistoryError(f"the history {self.path} is damaged ({error}): move it away to begin anew") from None
        except OSError as error:
            raise HistoryError(f"the history {self.path} cannot be {what}: {error.strerror}") from None

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(self.path, flags, 0o600))

    def _schema_of(self, database: sqlite3.Connection) -> int:
        """Which of this console's schemas the file has; HistoryError when it is none of them."""
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise HistoryError(f"the history {self.path} was written by a newer vgpu-console (schema {version})")
        if version < 1:
            raise HistoryError(f"the history {self.path} is not one of this console's files")
        return version


def percentiles(records: Sequence[MigrationRecord]) -> tuple[Percentiles, ...]:
    """Of completed and measured migrations, for each type and pair of hosts; the nearest rank, which is a real one.

    Where the hosts' clocks make a measured downtime doubtful, what was heard counts in its place.
    """
    groups: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        if record.end == "completed" and record.pause_ms is not None:
            key = (record.type_name, record.source, record.destination)
            groups.setdefault(key, []).append(record.pause_ms)
    out = []
    for (type_name, source, destination), times in sorted(groups.items()):
        times.sort()
        out.append(
            Percentiles(
                type_name=type_name,
                source=source,
                destination=destination,
                count=len(times),
                p50=_rank(times, 50),
                p90=_rank(times, 90),
                most=times[-1],
            )
        )
    return tuple(out)


def _rank(times: Sequence[float], percent: int) -> float:
    return times[max(0, -(-len(times) * percent // 100) - 1)]


def _record(row: Sequence[object]) -> MigrationRecord:
    known = {name: value for name, value in zip(_NAMES, row, strict=True) if value is not None}
    return msgspec.convert(known, MigrationRecord)
