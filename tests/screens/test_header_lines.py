"""The title and the strip of sources: what they say, how they shrink, and that a tick draws ages only."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.model.source import SourceStatus
from vgpu_console.screens import themes
from vgpu_console.screens.widgets.cells import Span
from vgpu_console.screens.widgets.source_strip import SourceStrip, strip_spans
from vgpu_console.screens.widgets.title_line import TitleLine, title_spans

NOW = 1000.0


def source(kind: Any, age: float | None, host: str = "", **more: Any) -> SourceStatus:
    fetched = None if age is None else NOW - age
    return SourceStatus(kind=kind, host=host, fetched_at=fetched, interval_s=5.0, **more)


HOSTS = [source("libvirt", 2, f"gpu-0{i}") for i in (1, 2, 3, 5, 6)]
SILENT = source("libvirt", 41, "gpu-04", error="no answer within 10 s", error_kind="timeout")


def words(spans: tuple[Span, ...]) -> str:
    return "".join(text for text, _ in spans).rstrip()


def test_a_wide_strip_names_every_source_its_age_and_the_trouble() -> None:
    sources = [source("nova", 2), source("placement", 3), source("keystone", 9), *HOSTS, SILENT]
    assert words(strip_spans(sources, NOW, 120)) == (
        " nova 2s ●   placement 3s ●   keystone 9s ●   hosts 5/6 ◐ gpu-04 no answer for 41s"
    )


def test_a_narrow_strip_has_short_names() -> None:
    sources = [source("nova", 2), source("placement", 3), source("keystone", 9), *HOSTS, SILENT]
    assert words(strip_spans(sources, NOW, 50)) == " nova 2s●  plac 3s●  keys 9s●  hosts 5/6◐"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (source("nova", 2), " nova 2s ●"),
        (source("nova", 90), " nova 1m ◐ nova no answer for 1m"),
        (source("nova", None), " nova …"),
        (source("nova", 7, error="HTTP 503", error_kind="protocol"), " nova 7s ◐ nova: HTTP 503"),
        (source("nova", None, error="bad password", error_kind="auth"), " nova ✗ nova: bad password"),
        (source("nova", None, error="refused", error_kind="unreachable"), " nova ✗ nova has not answered yet"),
        (source("libvirt", None, "h", error="x", error_kind="auth"), " hosts 0/1 ✗ h: x"),
    ],
)
def test_each_state_of_a_source_has_its_own_sign(status: SourceStatus, expected: str) -> None:
    assert words(strip_spans([status], NOW, 100)) == expected


def test_a_host_is_fresh_only_when_all_its_channels_are() -> None:
    both = [source("libvirt", 1, "gpu-01"), source("ssh", None, "gpu-01", error="denied", error_kind="auth")]
    assert words(strip_spans([*both, source("libvirt", 1, "gpu-02")], NOW, 100)) == " hosts 1/2 ◐ gpu-01: denied"


def test_more_troubles_than_one_are_counted() -> None:
    bad = [source("nova", 2, error="HTTP 500", error_kind="protocol"), SILENT]
    assert words(strip_spans(bad, NOW, 100)).endswith("nova: HTTP 500 (and 1 more)")


def test_nothing_asked_yet_is_said() -> None:
    assert words(strip_spans([], NOW, 80)) == " no source has been asked yet"


IDENTITY = CloudIdentity(
    cloud="prod", region="RegionOne", user="ops", scope="admin (project)", limits_scope="system all", read_only=True
)


def test_the_title_says_where_and_whether_it_may_write() -> None:
    left, right = title_spans(IDENTITY, 120)
    assert words(left) == " vgpu-console   prod · RegionOne · admin (project) + system all for limits · ops"
    assert words(right) == "READ-ONLY"
    left, right = title_spans(CloudIdentity(cloud="lab", read_only=False), 80, (("PAUSED", "warn"),))
    assert words(left) == " lab"
    assert words(right) == "PAUSED  READ-WRITE"
    assert dict(right)["READ-WRITE"] == "warn"


class _App(App[None]):
    def __init__(self) -> None:
        super().__init__()
        themes.register_themes(self)
        self.now = NOW
        self.title_line = TitleLine()
        self.strip = SourceStrip(clock=lambda: self.now)

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield self.strip


def test_a_tick_draws_only_the_ages_and_nothing_when_none_changed() -> None:
    async def run() -> None:
        app = _App()
        async with app.run_test(size=(100, 5)) as pilot:
            app.strip.show(Snapshot(sources=(source("nova", 2), source("keystone", 200, error="x", error_kind="auth"))))
            app.title_line.show(IDENTITY)
            await pilot.pause()
            assert app.strip.text.startswith(" nova 2s ●   keystone 3m ◐")
            asked: list[Any] = []
            for line in (app.strip, app.title_line):
                line.refresh = lambda *regions, **_: asked.extend(regions)  # type: ignore[method-assign,assignment]
            app.strip.tick()
            app.title_line.show(IDENTITY)
            assert asked == []
            app.now += 1.0
            app.strip.tick()
            assert [(region.x, region.width) for region in asked] == [(6, 1)]
            assert app.strip.text.startswith(" nova 3s ●")

    asyncio.run(run())


@pytest.mark.parametrize("width", [12, 20, 40, 80, 200])
def test_lines_fit_any_width_and_carry_no_control_character(width: int) -> None:
    evil = "\x1b]52;c;x\x07[/x][@click=app.quit]计算\u202e" * 3

    async def run() -> None:
        app = _App()
        async with app.run_test(size=(width, 5)) as pilot:
            app.title_line.show(CloudIdentity(cloud=evil, region=evil, scope=evil), (evil, "warn"))
            app.strip.show(Snapshot(sources=(source("nova", 2, error=evil, error_kind="protocol"),)))
            await pilot.pause()
            for line in (app.title_line, app.strip):
                drawn = line.render_line(0)
                assert drawn.cell_length == cell_len(drawn.text) == width
                assert drawn.text.isprintable()

    asyncio.run(run())


def test_shared_styles_use_the_themes_variables_only() -> None:
    from importlib.resources import files

    css = files("vgpu_console").joinpath("assets/base.tcss").read_text(encoding="utf-8")
    rules = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    for name, value in re.findall(r"^\s*([a-z-]+):\s*([^;]+);", rules, flags=re.MULTILINE):
        if name in ("color", "background", "tint") or (name == "border" and value != "none"):
            assert "$" in value, (name, value)
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b|\brgb", value), (name, value)
