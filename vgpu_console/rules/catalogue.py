"""The bundled catalogue of vGPU types (``assets/vgpu_types.toml``): the fallback for a type's real maximum.

NVIDIA's sources disagree at least once, and a driver may know better, so a host's own description always goes first;
every row says where it comes from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

_FILE = Path(__file__).parent.parent / "assets" / "vgpu_types.toml"
_PREFIXES = ("GRID ", "NVIDIA ")
_NAME = re.compile(r"(?:(?P<slices>[0-9]+)-)?(?P<gib>[0-9]+)(?P<series>[A-Z]+[0-9]*)")
_TYPE_ID = re.compile(r"(?:nvidia-)?([0-9]{1,6})")


class CatalogueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A vGPU type of one GPU model. ``max`` is per physical GPU with equal sizes, ``max_mixed`` in mixed-size mode."""

    name: str  # "A100-20C": without the vendor's prefix
    board: str  # "A100"
    architecture: str
    type_id: str | None  # "nvidia-472"; None: in no public table
    framebuffer_mib: int | None
    max: int | None
    max_mixed: int | None
    mig: bool  # backed by a MIG instance instead of a time slice
    source: str  # where the maximum (without one: the type's number) is from, with what another source says
    note: str = ""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU model. ``code`` is what its types are named after, ``product_ids`` its PCI product numbers."""

    code: str
    name: str
    architecture: str
    product_ids: tuple[str, ...]
    note: str = ""


class Catalogue:
    """All rows, by type name and by number on a product."""

    def __init__(self, boards: tuple[Board, ...], rows: tuple[CatalogueRow, ...]) -> None:
        self.boards = boards
        self.rows = rows
        self._boards = {product: b for b in boards for product in b.product_ids}
        self._by_name = {r.name: r for r in rows}
        self._by_number = {(r.board, r.type_id): r for r in rows if r.type_id}

    def lookup(self, type_name: str, product_id: str | None = None) -> CatalogueRow | None:
        """The row of ``GRID A100-20C``, ``NVIDIA A40-2Q`` or ``A100-20C``; None when there is none.

        With the GPU's product id (``20f1``) the board may be missing from the name (``20C``), and a type number
        (``nvidia-472``) will do: without it a number says nothing, since other vendors count too.
        """
        name = short_type_name(type_name)
        found = self._by_name.get(name)
        if found is not None or not product_id:
            return found
        board = self.board(product_id)
        if board is None:
            return None
        number = _TYPE_ID.fullmatch(name)
        if number:
            return self._by_number.get((board.code, f"nvidia-{int(number[1])}"))
        return self._by_name.get(f"{board.code}-{name}")

    def board(self, product_id: str) -> Board | None:
        """The GPU model with this PCI product number (``20f1`` or ``0x20F1``) of NVIDIA's."""
        return self._boards.get(product_id.strip().lower().removeprefix("0x"))

    def architecture(self, type_name: str, product_id: str | None = None) -> str | None:
        """``Ampere`` of a type's name, or of the board that its name starts with, or of the GPU's product id."""
        code = short_type_name(type_name).partition("-")[0]
        named = next((b for b in self.boards if b.code == code), None)
        board = named or (self.board(product_id) if product_id else None)
        return board.architecture if board else None


def short_type_name(type_name: str) -> str:
    """The name without ``GRID `` or ``NVIDIA ``, which drivers put before it by age."""
    name = type_name.strip()
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.strip()


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that is installed with the console, read once."""
    with _FILE.open("rb") as f:
        data = tomllib.load(f)
    sources = data["sources"]
    boards: list[Board] = []
    rows: list[CatalogueRow] = []
    for entry in data["board"]:
        board = Board(
            code=entry["code"],
            name=entry["name"],
            architecture=entry["architecture"],
            product_ids=tuple(entry["product_ids"]),
            note=entry.get("note", ""),
        )
        boards.append(board)
        rows.extend(_rows(board, entry, sources))
    return Catalogue(tuple(boards), tuple(rows))


def _rows(board: Board, entry: dict[str, Any], sources: dict[str, str]) -> Iterator[CatalogueRow]:
    for row in entry["types"]:
        parts = _NAME.fullmatch(row["name"])
        number, maximum, note = row.get("id"), row.get("max"), row.get("note", "")
        source = sources[entry["source"] if maximum is not None else entry["id_source"]]
        yield CatalogueRow(
            name=f"{board.code}-{row['name']}",
            board=board.code,
            architecture=board.architecture,
            type_id=f"nvidia-{number}" if number is not None else None,
            framebuffer_mib=row.get("framebuffer_mib") or (int(parts["gib"]) * 1024 if parts else None),
            max=maximum,
            max_mixed=row.get("mixed"),
            mig=bool(parts and parts["slices"]),
            source=f"{source}; {note}" if note else source,
            note=note,
        )
