"""Ages, counts and states as an operator reads them: a glyph with its word, never a colour alone."""

from __future__ import annotations

from vgpu_console.screens.widgets.cells import age_text
from vgpu_console.text import plain

UNKNOWN = "?"


def age(seconds: float | None) -> str:
    """``2s``, ``3m``, ``5h``, ``9d``; ``never`` for None."""
    return "never" if seconds is None else age_text(seconds)


def number(value: int | None) -> str:
    """A count, or ``?`` where it is not known."""
    return UNKNOWN if value is None else str(value)


def plural(count: int, noun: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def short_type(name: str) -> str:
    """A vGPU type's name without its brand: ``GRID A100-20C`` and ``NVIDIA A100-20C`` become ``A100-20C``."""
    return name.removeprefix("NVIDIA ").removeprefix("GRID ")


def gib(mib: int | None) -> str:
    """MiB as GiB: ``20 GiB``, ``0.5 GiB``."""
    if mib is None:
        return UNKNOWN
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib / 1024:.1f} GiB"


def gib_bytes(count: int | None) -> str:
    """Bytes as a bare number of GiB with one decimal."""
    return UNKNOWN if count is None else f"{count / 2**30:.1f}"


def clip(text: str, limit: int) -> str:
    """Text cut to ``limit`` characters with an ellipsis."""
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def block(text: str) -> str:
    """Several lines as they may be copied or shown: line breaks and tabs are kept, all else passes ``plain()``."""
    return "\n".join("\t".join(plain(cell) for cell in line.split("\t")) for line in text.split("\n"))


def time_of(stamp: str | None) -> str:
    """OpenStack's ``2026-01-31T09:30:05.000000`` without the T and the fraction; ``?`` for None."""
    if not stamp:
        return UNKNOWN
    return stamp.replace("T", " ").split(".")[0].removesuffix("Z")
