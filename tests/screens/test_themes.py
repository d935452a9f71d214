"""The four themes: legible on every ground, and distinct for eyes that see colours differently."""

from __future__ import annotations

import asyncio
import math

import pytest
from rich.style import Style
from textual.app import App, ComposeResult
from textual.color import Color
from textual.filter import monochrome_style
from textual.theme import Theme

from vgpu_console.screens import themes
from vgpu_console.screens.widgets.cells import state, text
from vgpu_console.screens.widgets.fleet_table import Column, FleetTable, TableRow
from vgpu_console.screens.widgets.tones import TONES, palette

LEAST_CONTRAST = 4.5


def _linear(value: float) -> float:
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _luminance(color: Color) -> float:
    return 0.2126 * _linear(color.r) + 0.7152 * _linear(color.g) + 0.0722 * _linear(color.b)


def contrast(one: Color, other: Color) -> float:
    """The contrast ratio of WCAG 2."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def style_contrast(style: Style) -> float:
    assert style.color is not None
    assert style.bgcolor is not None
    return contrast(Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor))


def variables(theme: Theme) -> dict[str, str]:
    return {**theme.to_color_system().generate(), **theme.variables}


def base_style(theme: Theme, ground: str) -> Style:
    names = variables(theme)
    return Style(
        color=Color.parse(names["foreground"]).rich_color,
        bgcolor=Color.parse(names[ground]).rich_color,
    )


ALL = pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
GROUNDS = pytest.mark.parametrize("ground", themes.GROUNDS)


def test_contrast_of_black_on_white_is_twenty_one() -> None:
    assert math.isclose(contrast(Color(0, 0, 0), Color(255, 255, 255)), 21.0)
    assert contrast(Color.parse("#777777"), Color(255, 255, 255)) < LEAST_CONTRAST


@ALL
@GROUNDS
def test_every_tone_is_legible_on_every_ground(theme: Theme, ground: str) -> None:
    styles = palette(variables(theme), base_style(theme, ground))
    for line in styles:
        assert set(line) == {"", *TONES}
        too_faint = {tone: round(style_contrast(style), 2) for tone, style in line.items()}
        assert all(ratio >= LEAST_CONTRAST for ratio in too_faint.values()), too_faint


@GROUNDS
def test_mono_stays_legible_when_textual_takes_the_colours_away(ground: str) -> None:
    mono = next(theme for theme in themes.THEMES if theme.name == themes.MONO)
    for line in palette(variables(mono), base_style(mono, ground)):
        for tone, style in line.items():
            assert style_contrast(monochrome_style(style)) >= LEAST_CONTRAST, tone


def test_mono_tells_states_apart_without_any_colour() -> None:
    mono = next(theme for theme in themes.THEMES if theme.name == themes.MONO)
    normal = palette(variables(mono), base_style(mono, "background")).normal
    colors = {style.color for style in normal.values()}
    assert len(colors) == 1
    looks = {tone: (bool(s.bold), bool(s.reverse), bool(s.underline)) for tone, s in normal.items()}
    assert len({looks[tone] for tone in ("ok", "warn", "fail", "unknown")}) == 4


def test_the_cursor_line_of_mono_is_reversed() -> None:
    mono = next(theme for theme in themes.THEMES if theme.name == themes.MONO)
    assert all(style.reverse for style in palette(variables(mono), base_style(mono, "background")).cursor.values())


@ALL
def test_the_standard_text_variables_are_legible_too(theme: Theme) -> None:
    names = variables(theme)
    for ground in ("background", "surface", "panel"):
        back = Color.parse(names[ground])
        for name in ("foreground", "text", "text-muted", "text-disabled", "text-error", "text-success", "text-warning"):
            assert contrast(Color.parse(names[name]), back) >= LEAST_CONTRAST, (name, ground)
    for ink, back_name in (
        ("block-cursor-foreground", "block-cursor-background"),
        ("footer-key-foreground", "footer-key-background"),
        ("footer-description-foreground", "footer-description-background"),
        ("input-selection-foreground", "input-selection-background"),
    ):
        assert contrast(Color.parse(names[ink]), Color.parse(names[back_name])) >= LEAST_CONTRAST, ink


# Simulation of the three dichromacies on linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.0.
DEFICIENCIES = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def _lab(color: Color, matrix: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
    rgb = [_linear(color.r), _linear(color.g), _linear(color.b)]
    r, g, b = (min(1.0, max(0.0, sum(m * v for m, v in zip(row, rgb, strict=True)))) for row in matrix)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883

    def f(t: float) -> float:
        return t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116

    return 116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colour_blind_states_stay_apart(deficiency: str) -> None:
    theme = next(theme for theme in themes.THEMES if theme.name == themes.COLOUR_BLIND)
    names = variables(theme)
    seen = {
        tone: _lab(Color.parse(names[f"tone-{tone}"]), DEFICIENCIES[deficiency])
        for tone in ("ok", "warn", "fail", "unknown")
    }
    for one, other, least in (("ok", "fail", 40), ("ok", "warn", 30), ("warn", "fail", 20), ("fail", "unknown", 20)):
        distance = math.dist(seen[one], seen[other])
        assert distance >= least, (one, other, round(distance))


def test_no_color_selects_mono_whatever_is_configured() -> None:
    assert themes.choose_theme({"NO_COLOR": "1"}, "light") == themes.MONO
    assert themes.choose_theme({"NO_COLOR": ""}) == themes.MONO


@pytest.mark.parametrize(
    ("env", "configured", "expected"),
    [
        ({}, None, themes.DARK),
        ({}, "auto", themes.DARK),
        ({}, "light", themes.LIGHT),
        ({}, "colour-blind", themes.COLOUR_BLIND),
        ({}, "vgpu-mono", themes.MONO),
        ({"COLORFGBG": "0;15"}, None, themes.LIGHT),
        ({"COLORFGBG": "15;0"}, None, themes.DARK),
        ({"COLORFGBG": "0;default;15"}, "dark", themes.DARK),
        ({"COLORFGBG": "nonsense"}, None, themes.DARK),
    ],
)
def test_choice_of_theme(env: dict[str, str], configured: str | None, expected: str) -> None:
    assert themes.choose_theme(env, configured) == expected


def test_a_theme_of_no_such_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        themes.choose_theme({}, "solarized")


class _App(App[None]):
    CSS = "Screen { background: $background; }"

    def __init__(self) -> None:
        super().__init__()
        themes.register_themes(self, themes.DARK)

    def compose(self) -> ComposeResult:
        yield FleetTable([Column("name", "NAME", 10), Column("state", "STATE", 10)])


def test_a_theme_switched_at_run_time_is_worn_at_once() -> None:
    asyncio.run(_a_theme_switched_at_run_time_is_worn_at_once())


async def _a_theme_switched_at_run_time_is_worn_at_once() -> None:
    app = _App()
    async with app.run_test(size=(60, 10)) as pilot:
        table = app.query_one(FleetTable)
        table.set_rows([TableRow("a", (text("a"), state("up", "ok"))), TableRow("b", (text("b"), state("no", "fail")))])
        await pilot.pause()
        for theme in (*themes.THEMES, themes.THEMES[0]):
            app.theme = theme.name
            await pilot.pause()
            await pilot.pause()
            worn = {segment.style.color for segment in table.render_line(2) if segment.style and "✗" in segment.text}
            assert worn == {Color.parse(theme.variables["tone-fail"]).rich_color}, theme.name


def test_a_theme_that_knows_no_tones_still_draws_the_table() -> None:
    asyncio.run(_a_theme_that_knows_no_tones_still_draws_the_table())


async def _a_theme_that_knows_no_tones_still_draws_the_table() -> None:
    app = _App()
    async with app.run_test(size=(60, 10)) as pilot:
        table = app.query_one(FleetTable)
        table.set_rows([TableRow("a", (text("a"), state("up", "ok")))])
        for name in ("textual-dark", "textual-light", "ansi-dark", "nord"):
            app.theme = name
            await pilot.pause()
            await pilot.pause()
            assert "a" in table.render_line(1).text
            assert {segment.style.color for segment in table.render_line(1) if segment.style}
