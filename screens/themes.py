"""The four themes: dark, light, colour-blind and mono.

A theme gives each tone of the widgets a colour (``tone-<name>``) and, where colour alone must not carry it, an
attribute (``tone-<name>-style``). Every tone has a contrast of at least 4.5 (WCAG 2 AA) on every ground it is drawn on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.theme import Theme

DARK = "vgpu-dark"
LIGHT = "vgpu-light"
COLOUR_BLIND = "vgpu-colour-blind"
MONO = "vgpu-mono"

GROUNDS = ("background", "surface", "panel", "tone-cursor-blurred-background")
"""The variables of the grounds on which tones are drawn."""


@dataclass(frozen=True)
class _Inks:
    """The colours of one theme."""

    background: str
    surface: str
    panel: str
    line: str
    text: str
    muted: str
    accent: str
    ok: str
    warn: str
    fail: str
    unknown: str
    cursor: str
    on_cursor: str
    cursor_blurred: str
    dark: bool = True


_DARK = _Inks(
    background="#11161c",
    surface="#171d25",
    panel="#1e2630",
    line="#3b4754",
    text="#d5dce4",
    muted="#93a0ad",
    accent="#74b8f5",
    ok="#7fce8d",
    warn="#ecc15a",
    fail="#ff8a80",
    unknown="#c9b0f0",
    cursor="#2b6cb0",
    on_cursor="#ffffff",
    cursor_blurred="#232d38",
)

_LIGHT = _Inks(
    background="#fcfcfa",
    surface="#f3f4f2",
    panel="#e9ebea",
    line="#b4babf",
    text="#1d2226",
    muted="#545d66",
    accent="#0a5299",
    ok="#17632d",
    warn="#7a4a00",
    fail="#ac1620",
    unknown="#6a3fa8",
    cursor="#0a5299",
    on_cursor="#ffffff",
    cursor_blurred="#e2e6ea",
    dark=False,
)

_COLOUR_BLIND = _Inks(
    background="#101418",
    surface="#161b21",
    panel="#1d242c",
    line="#3d4854",
    text="#dde3e9",
    muted="#98a4b0",
    accent="#dde3e9",
    ok="#62b5f0",
    warn="#ffe27a",
    fail="#fa7f2c",
    unknown="#c3c9cf",
    cursor="#e4e9ee",
    on_cursor="#101418",
    cursor_blurred="#252e38",
)

_MONO = _Inks(
    background="#000000",
    surface="#000000",
    panel="#000000",
    line="#a0a0a0",
    text="#e8e8e8",
    muted="#e8e8e8",
    accent="#e8e8e8",
    ok="#e8e8e8",
    warn="#e8e8e8",
    fail="#e8e8e8",
    unknown="#e8e8e8",
    cursor="#000000",
    on_cursor="#e8e8e8",
    cursor_blurred="#000000",
)


def _theme(name: str, inks: _Inks, styles: Mapping[str, str]) -> Theme:
    attributes = {"title": "bold", "fail": "bold", "cursor": "bold", **styles}
    reverse = "reverse" in attributes["cursor"]
    ground, ink = (inks.text, inks.background) if reverse else (inks.cursor, inks.on_cursor)
    return Theme(
        name=name,
        primary=inks.accent,
        secondary=inks.accent,
        accent=inks.accent,
        success=inks.ok,
        warning=inks.warn,
        error=inks.fail,
        foreground=inks.text,
        background=inks.background,
        surface=inks.surface,
        panel=inks.panel,
        boost=inks.panel,
        dark=inks.dark,
        variables={
            "tone-ok": inks.ok,
            "tone-warn": inks.warn,
            "tone-fail": inks.fail,
            "tone-unknown": inks.unknown,
            "tone-muted": inks.muted,
            "tone-accent": inks.accent,
            "tone-bar": inks.accent,
            "tone-bar-rest": inks.muted,
            "tone-bar-over": inks.fail,
            "tone-title": inks.muted,
            "tone-cursor": inks.on_cursor,
            "tone-cursor-background": inks.cursor,
            "tone-cursor-blurred-background": inks.cursor_blurred,
            **{f"tone-{tone}-style": style for tone, style in attributes.items()},
            # The standard names, for Textual's own widgets and for styles that are written in them.
            "text": inks.text,
            "text-muted": inks.muted,
            "text-disabled": inks.muted,
            "text-primary": inks.accent,
            "text-secondary": inks.accent,
            "text-accent": inks.accent,
            "text-success": inks.ok,
            "text-warning": inks.warn,
            "text-error": inks.fail,
            "foreground-muted": inks.muted,
            "foreground-disabled": inks.muted,
            "block-cursor-foreground": ink,
            "block-cursor-background": ground,
            "block-cursor-text-style": "bold",
            "block-cursor-blurred-foreground": inks.text,
            "block-cursor-blurred-background": inks.cursor_blurred,
            "block-cursor-blurred-text-style": "bold",
            "block-hover-background": inks.cursor_blurred,
            "input-cursor-foreground": inks.background,
            "input-cursor-background": inks.text,
            "input-selection-background": ground,
            "input-selection-foreground": ink,
            "border": inks.accent,
            "border-blurred": inks.line,
            "scrollbar": inks.line,
            "scrollbar-hover": inks.muted,
            "scrollbar-active": inks.accent,
            "scrollbar-background": inks.background,
            "scrollbar-background-hover": inks.background,
            "scrollbar-background-active": inks.background,
            "scrollbar-corner-color": inks.background,
            "footer-background": inks.background,
            "footer-item-background": inks.background,
            "footer-foreground": inks.text,
            "footer-description-foreground": inks.muted,
            "footer-description-background": inks.background,
            "footer-key-foreground": inks.accent,
            "footer-key-background": inks.background,
            "button-foreground": inks.text,
            "button-color-foreground": inks.background,
            "button-focus-text-style": "bold reverse",
            "link-color": inks.accent,
            "link-style": "underline",
        },
    )


THEMES: tuple[Theme, ...] = (
    _theme(DARK, _DARK, {}),
    _theme(LIGHT, _LIGHT, {}),
    _theme(COLOUR_BLIND, _COLOUR_BLIND, {"accent": "bold", "unknown": "underline"}),
    _theme(
        MONO,
        _MONO,
        {
            "ok": "none",
            "warn": "bold",
            "fail": "bold reverse",
            "unknown": "underline",
            "accent": "bold",
            "title": "bold",
            "cursor": "reverse",
        },
    ),
)
"""All themes, the default first."""

_SHORT = {"dark": DARK, "light": LIGHT, "colour-blind": COLOUR_BLIND, "color-blind": COLOUR_BLIND, "mono": MONO}

THEME_NAMES: tuple[str, ...] = ("auto", "dark", "light", "colour-blind", "mono")
"""What the configuration may say."""


def choose_theme(env: Mapping[str, str], configured: str | None = None) -> str:
    """The name of the theme to start with. Raises KeyError for a name that is none of ours.

    NO_COLOR wins over the configuration, also when it is empty: Textual then takes all colour away by itself, and only
    mono stays legible without. Ask before the app is made, since Textual removes NO_COLOR from the environment.
    ``auto`` (or nothing) is light where COLORFGBG tells of a light ground, dark elsewhere.
    """
    if "NO_COLOR" in env:
        return MONO
    if configured and configured != "auto":
        return configured if configured in _SHORT.values() else _SHORT[configured]
    ground = env.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if ground in ("7", "15") else DARK


def register_themes(app: App[Any], name: str = DARK) -> None:
    """Make the themes known to the app and put one on. Call it in the app's ``__init__``, before styles are read."""
    for theme in THEMES:
        app.register_theme(theme)
    app.theme = name
