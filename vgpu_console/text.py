"""The one gate that foreign text passes before anything else sees it."""

from __future__ import annotations

_STAND_IN = "·"

MAX_CHARS = 1024
"""Longer text is cut here with an ellipsis; no field of the model needs more."""


def _is_hostile(code: int) -> bool:
    return (
        code < 0x20
        or 0x7F <= code <= 0x9F
        or code in (0x061C, 0x00AD, 0x180E, 0xFEFF)
        or 0x200B <= code <= 0x200F
        or 0x2028 <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or 0xD800 <= code <= 0xDFFF
        or 0xFFF9 <= code <= 0xFFFB
        or 0xE0000 <= code <= 0xE0FFF
        or 0xFE00 <= code <= 0xFE0F
    )


class _Table(dict[int, str]):
    """A translation table that decides each code point once and remembers it."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        out = _STAND_IN if _is_hostile(code) or not (char.isprintable() or char == " ") else char
        self[code] = out
        return out


_TABLE = _Table()


def plain(value: object, limit: int = MAX_CHARS) -> str:
    """Foreign text as one line that is safe on a terminal: control, bidirectional, invisible characters become ``·``.

    Takes anything (None becomes the empty string) and never raises. The result holds no character that moves the
    cursor, changes colours, writes the clipboard or turns the reading direction; it is still not markup: give it to
    widgets as Content, never as a markup string.
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_TABLE)
