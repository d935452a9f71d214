"""Reading JSON that may be wrong: a missing, null or ill-typed field is None, a broken record is skipped and counted.

One bad record must never cost the operator the other 9,999, so lists are read through :func:`records`. Text passes
``plain()`` here, which makes these functions the entrance for everything that Keystone, Placement and Nova say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from vgpu_console.sources.base import SourceError
from vgpu_console.text import plain

T = TypeVar("T")

_MAX_ID = 255  # the longest id or name column in Keystone, Placement and Nova


class BadRecord(ValueError):
    """A record lacks what it cannot do without; ``str()`` says what, without quoting the record."""


def decode_object(content: bytes) -> dict[str, Any]:
    """The JSON object in ``content``. Raises ValueError with a plain reason when it is anything else."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("JSON that is cut off or broken" if content.strip() else "an empty body") from None
    if not isinstance(value, dict):
        raise ValueError(f"JSON that is {_KIND.get(type(value), 'no object')}, not an object")
    return value


_KIND: dict[type, str] = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def text(record: dict[str, Any], key: str, limit: int = 1024) -> str | None:
    """A field as plain text; None when it is missing, null, empty or no scalar."""
    value = record.get(key)
    if isinstance(value, str):
        return plain(value, limit) or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return plain(value, limit)
    return None


def ident(record: dict[str, Any], key: str) -> str:
    """An id that calls may use. Raises BadRecord when it is missing or is not what an id looks like.

    An id is never altered: one that ``plain()`` would change is refused, for a changed id would name something else.
    """
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise BadRecord(f"no {key}")
    if len(value) > _MAX_ID or plain(value) != value or "/" in value or value != value.strip() or value in (".", ".."):
        raise BadRecord(f"{key} is not an id")
    return value


def optional_ident(record: dict[str, Any], key: str) -> str | None:
    """An id, or None when the field is missing, null, empty or no id."""
    try:
        return ident(record, key)
    except BadRecord:
        return None


def integer(record: dict[str, Any], key: str) -> int | None:
    """A whole number; digits in a string count. None for anything else (true and 1.5 are not whole numbers)."""
    value = record.get(key)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isascii():
        return int(value) if value.removeprefix("-").isdigit() else None
    return None


def flag(record: dict[str, Any], key: str) -> bool | None:
    """A boolean, also written as the words true and false; None for anything else."""
    value = record.get(key)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def mapping(record: dict[str, Any], key: str) -> dict[str, Any]:
    """A nested object; empty when it is missing or no object."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def text_map(record: dict[str, Any], key: str) -> dict[str, str] | None:
    """An object of text, e.g. extra specs; None when it is missing or no object. Members that are no text drop out."""
    value = record.get(key)
    if not isinstance(value, dict):
        return None
    out: dict[str, str] = {}
    for name in value:
        member = text(value, name)
        if member is not None or value[name] == "":
            out[plain(name)] = member or ""
    return out


def amounts(record: dict[str, Any], key: str) -> dict[str, int]:
    """An object of whole numbers, e.g. resource class -> amount. Members that are no whole number drop out."""
    value = mapping(record, key)
    out: dict[str, int] = {}
    for name in value:
        amount = integer(value, name)
        if amount is not None:
            out[plain(name)] = amount
    return out


def rows(body: dict[str, Any], key: str, what: str) -> list[Any]:
    """The list under ``key``. Raises SourceError("protocol") when the answer holds no such list."""
    value = body.get(key)
    if not isinstance(value, list):
        raise SourceError("protocol", f"the answer holds no list of {what} ('{key}')")
    return value


def records(
    items: Iterable[Any],
    build: Callable[[dict[str, Any]], T],
    what: str,
    notes: list[str],
) -> list[T]:
    """Each item through ``build``; those that cannot be built are skipped, and one note tells how many and why."""
    out: list[T] = []
    skipped = 0
    reason = ""
    for item in items:
        try:
            if not isinstance(item, dict):
                raise BadRecord("not an object")
            out.append(build(item))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
            skipped += 1
            if not reason:
                reason = str(exc) if isinstance(exc, BadRecord) else type(exc).__name__
    if skipped:
        notes.append(f"{what}: {skipped} could not be read and {'is' if skipped == 1 else 'are'} left out ({reason})")
    return out
