"""One table of a report, whatever format it is written in.

The names of a section's data columns, and their order, are a promise to scripts: they only ever grow at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from vgpu_console.views import Column

Tone = Literal["fail", "warn", "info", "unknown", ""]


class Section(NamedTuple):
    """One table. ``about`` says what it shows, ``empty`` why it has no rows, ``notes`` what it leaves out.

    ``under`` are columns that a page shows as lines under the one called ``lead``; ``code`` those that are copied into
    a shell; ``bar`` is a figure and the one that it is a part of; ``tone`` says which rows need an eye.
    """

    id: str
    title: str
    about: str
    columns: tuple[Column, ...]
    rows: tuple[Any, ...]
    empty: str
    notes: tuple[str, ...] = ()
    lead: str = ""
    under: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    bar: tuple[str, str] = ("", "")
    tone: Callable[[Any], Tone] = lambda row: ""

    def records(self) -> list[dict[str, Any]]:
        """The rows under their promised names; unknown is None."""
        named = [(c.name, c.get) for c in self.columns if c.data]
        return [{name: get(row) for name, get in named} for row in self.rows]


_LABELS = {
    "framebuffer_mib": "framebuffer, MiB",
    "max": "real max",
    "mdevs_created": "created",
    "mdevs_used": "used",
    "mdevs_max": "real max",
    "mdevs_free": "free",
    "gpus": "GPUs",
    "vfs": "VFs",
    "duration_s": "took, s",
}


def label(column: Column) -> str:
    """A column's name for eyes."""
    return _LABELS.get(column.name, column.name.replace("_", " "))


def words_only(name: str, show: Callable[[Any], str | None], *, right: bool = False) -> Column:
    """A column for eyes only."""
    return Column(name, show, right, data=False)


def data_only(name: str, get: Callable[[Any], Any]) -> Column:
    """A column for scripts only."""
    return Column(name, get, table=False)
