"""From tones to styles: what the theme in use makes of ``ok``, ``warn``, ``bar`` and the others.

A theme says it in its variables ``tone-<name>`` (a colour) and ``tone-<name>-style`` (bold, reverse, underline…);
a theme that does not know them is read through the standard variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.style import Style
from textual.color import Color, ColorParseError

TONES: tuple[str, ...] = ("ok", "warn", "fail", "unknown", "muted", "accent", "bar", "bar-rest", "bar-over", "title")

_STANDARD = {
    "ok": ("success", ""),
    "warn": ("warning", ""),
    "fail": ("error", "bold"),
    "unknown": ("warning", ""),
    "muted": ("foreground-muted", ""),
    "accent": ("accent", ""),
    "bar": ("accent", ""),
    "bar-rest": ("foreground-muted", ""),
    "bar-over": ("error", ""),
    "title": ("foreground-muted", "bold"),
    "cursor": ("block-cursor-foreground", "bold"),
}


class Palette(NamedTuple):
    """Styles by tone, for a plain line and for the two kinds of cursor line. ``""`` is text without a tone."""

    normal: dict[str, Style]
    cursor: dict[str, Style]
    cursor_blurred: dict[str, Style]


def _color(value: str | None, on: Color) -> Color | None:
    if not value:
        return None
    try:
        color = Color.parse(value)
    except ColorParseError:
        return None
    if color.ansi is not None:
        return color
    if color.auto:
        return on.get_contrast_text(color.a)
    return on.blend(color, color.a, alpha=1.0) if color.a < 1 else color


def _style(text: str) -> Style:
    return Style.parse(text) if text and text != "none" else Style.null()


def tone_style(tone: str, variables: Mapping[str, str], background: Color) -> Style:
    """The colour and attributes of one tone on a background."""
    fallback, fallback_style = _STANDARD.get(tone, ("foreground", ""))
    color = _color(variables.get(f"tone-{tone}"), background)
    if color is not None:
        attributes = variables.get(f"tone-{tone}-style", "")
    else:
        color = _color(variables.get(fallback), background)
        attributes = fallback_style
    style = _style(attributes)
    return style if color is None else style + Style(color=color.rich_color)


def palette(variables: Mapping[str, str], base: Style) -> Palette:
    """All styles for the theme whose variables these are, over the style of the widget itself."""
    background = (
        Color.from_rich_color(base.bgcolor)
        if base.bgcolor is not None
        else _color(variables.get("background"), Color(0, 0, 0)) or Color(0, 0, 0)
    )
    normal = {"": base, **{tone: base + tone_style(tone, variables, background) for tone in TONES}}
    return Palette(normal, _cursor(normal, variables, background), _blurred(normal, variables, background))


def _cursor(normal: dict[str, Style], variables: Mapping[str, str], background: Color) -> dict[str, Style]:
    """One colour pair for the whole line: the eye is on it, and its states are words and glyphs."""
    back = _color(variables.get("tone-cursor-background", variables.get("block-cursor-background")), background)
    line = normal[""] + tone_style("cursor", variables, back or background)
    if back is not None:
        line += Style(bgcolor=back.rich_color)
    out = {}
    for tone, style in normal.items():
        keep = Style(bold=style.bold or None, underline=style.underline or None)
        out[tone] = line + keep
    return out


def _blurred(normal: dict[str, Style], variables: Mapping[str, str], background: Color) -> dict[str, Style]:
    """The cursor line of a table without focus: the tones stay, the ground is lifted a little."""
    back = _color(variables.get("tone-cursor-blurred-background"), background)
    if back is None:
        return normal
    ground = Style(bgcolor=back.rich_color)
    return {tone: style + ground for tone, style in normal.items()}
