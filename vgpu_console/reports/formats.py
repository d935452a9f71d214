"""The formats of a report: their names, the suffixes of their files, and how each is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vgpu_console.reports.report import Report

SECTIONS = ("capacity", "hosts", "quota", "quota_totals", "migrations", "findings", "sources", "unlooked")
"""The ids of all sections, in their order."""

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "md": (".md", ".markdown"),
    "html": (".html", ".htm"),
    "json": (".json",),
    "csv": (".csv",),
    "svg": (".svg",),
}
"""Of each format, its own suffix first."""


def format_of(path: PurePath) -> str | None:
    """The format that a file's suffix asks for."""
    return next((name for name, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes), None)


def write_as(report: Report, form: str, section: str | None = None) -> str:
    """The report in one of the formats of text; ``section`` is for CSV: only that table.

    The picture (``svg``) is the terminal's and not made here. Raises KeyError for it and for any other word.
    """
    return _writers()[form](report, section)


def _writers() -> Mapping[str, Callable[[Report, str | None], str]]:
    from vgpu_console.reports import markdown, page, tables

    return {
        "md": lambda report, _: markdown.as_markdown(report),
        "html": lambda report, _: page.as_page(report),
        "json": lambda report, _: tables.as_json(report),
        "csv": tables.as_csv,
    }
