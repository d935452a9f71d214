"""What an operator types for a limit and a resource, and how numbers are said."""

from __future__ import annotations

import re

from vgpu_console.actions.projects import PlanError
from vgpu_console.text import plain

UNLIMITED = -1
HIGHEST = 2_147_483_647
"""Keystone keeps limits as signed 32-bit integers from -1 on (keystone: limit/schema.py)."""

VGPU = "class:VGPU"

_LOCAL = (
    "server_metadata_items",
    "server_injected_files",
    "server_injected_file_content_bytes",
    "server_injected_file_path_bytes",
    "server_key_pairs",
    "server_groups",
    "server_group_members",
)
NOVA_NAMES: frozenset[str] = frozenset({"servers", *_LOCAL})
"""Nova's limits that are no resource class (nova: limit/local.py, limit/placement.py)."""

_CLASS = re.compile(r"class:[A-Z0-9_]{1,249}")
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def parse_limit(text: str) -> int:
    """A limit as typed: a whole number from 0 on, or -1 (also ``unlimited``). Raises PlanError."""
    typed = text.strip().replace("\u2212", "-")
    if typed.lower() == "unlimited":
        return UNLIMITED
    if not re.fullmatch(r"[+-]?[0-9]+", typed):
        raise PlanError(f"{plain(text, 40)!r} is not a whole number: a limit is 0 or more, or -1 for unlimited")
    digits = typed.lstrip("+-").lstrip("0") or "0"
    if len(digits) > len(str(HIGHEST)):  # before int(): its time grows with the square of the digits
        shown = plain(typed, 24)
        raise PlanError(f"{shown} is too {'low' if typed.startswith('-') else 'high'}: {_range()}")
    return checked_limit(int(typed))


def checked_limit(value: int) -> int:
    """The value, when Keystone can keep it. Raises PlanError."""
    if value < UNLIMITED:
        raise PlanError(f"{value} is too low: {_range()}")
    if value > HIGHEST:
        raise PlanError(f"{value} is too high: {_range()}")
    return value


def _range() -> str:
    return f"a limit is 0 to {HIGHEST}, or -1 for unlimited"


def resource_name(text: str) -> str:
    """The limit's name for what was typed: ``VGPU`` and ``CUSTOM_…`` mean resource classes. Raises PlanError."""
    typed = text.strip()
    if typed in NOVA_NAMES:
        return typed
    name = typed if typed.startswith("class:") else f"class:{typed}"
    if not _CLASS.fullmatch(name):
        raise PlanError(
            f"{plain(typed, 60)!r} names no resource: class:VGPU, class:CUSTOM_... (capitals, digits, _) or servers"
        )
    return name


def noun(resource: str, number: int = 2) -> str:
    """The resource in a sentence: ``vGPUs`` for so many of class:VGPU, else the class or the limit's name."""
    if resource == VGPU:
        return "vGPU" if number == 1 else "vGPUs"
    return resource.removeprefix("class:")


def words(number: int) -> str:
    """A small number as a word."""
    return _WORDS[number] if 0 <= number < len(_WORDS) else f"{number:,}"


def shown(limit: int | None) -> str:
    """A limit for eyes."""
    return "none" if limit is None else "unlimited (-1)" if limit == UNLIMITED else str(limit)
