"""The page: one file that needs nothing else, whose tables say what they are, and in which no name is ever markup."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.test_hostile_text import CONTROL, HOSTILE
from tests.reports.hostile import hostile
from tests.reports.page_reader import PageReader
from tests.reports.scene import fleet, report
from vgpu_console.reports.formats import SECTIONS, write_as
from vgpu_console.text import plain


def test_every_section_is_a_table_with_a_caption_and_heads() -> None:
    page = write_as(report(), "html")
    read = PageReader(page)

    assert read.wrong == []
    assert list(read.tables) == list(SECTIONS)
    assert list(read.captions) == list(SECTIONS)
    for section, rows in read.tables.items():
        assert {len(row) for row in rows} == {len(rows[0])}, section
    assert page.count('<th scope="col"') == sum(len(rows[0]) for rows in read.tables.values())
    assert page.count('<th scope="row"') == sum(len(rows) - 1 for rows in read.tables.values())
    assert [len(rows) - 1 for rows in read.tables.values()] == [len(s.rows) for s in report().sections]


def test_nothing_comes_from_outside_and_the_policy_says_so() -> None:
    page = write_as(report(), "html")
    read = PageReader(page)

    assert [link for link in read.links if not link.startswith("#")] == ["data:,"]
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(re.findall(r'<section id="(\w+)"', page))
    assert not re.search(r"url\(|@import|@font-face|https?:", page)
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'" in page
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_a_finding_has_its_reason_its_evidence_and_its_command_with_it() -> None:
    rows = PageReader(write_as(report(), "html")).tables["findings"]

    assert rows[0] == ["severity", "id", "object", "message"]
    told = next(row[3] for row in rows if "driver-differs" in row)
    assert "Nova does not look at drivers." in told
    assert "ssh:gpu-02 (17 s): driver 550.54.16" in told
    assert "<code>vgpu-console migrate check vm-train-7</code>" in write_as(report(), "html")


def test_a_command_of_several_lines_can_be_copied_from_every_format() -> None:
    snapshot = fleet()
    first, *rest = snapshot.findings
    lines = msgspec.structs.replace(first, command="ssh gpu-01 a\nssh gpu-01 b")
    several = report(msgspec.structs.replace(snapshot, findings=(lines, *rest)))

    page = write_as(several, "html")
    assert "<code>ssh gpu-01 a</code></div>" in page
    assert "<code>ssh gpu-01 b</code></div>" in page
    assert "ssh gpu-01 a; ssh gpu-01 b |" in write_as(several, "md")
    assert "ssh gpu-01 a; ssh gpu-01 b" in write_as(several, "csv")
    assert json.loads(write_as(several, "json"))["findings"][1]["command"] == "ssh gpu-01 a\nssh gpu-01 b"


def test_a_row_that_needs_an_eye_has_a_sign_and_not_a_colour_alone() -> None:
    rows = PageReader(write_as(report(), "html")).tables["hosts"]

    signs = {row[0].split()[-1][:6] if " " not in row[0] else row[0][:8] for row in rows[1:]}
    assert {"✗ gpu-04", "! gpu-02", "! gpu-06"} <= signs


# --- hostile text -----------------------------------------------------------------------------------------------------

_MARKUP = st.sampled_from(
    [
        "<script>fetch('http://x.example')</script>",
        '"><img src=http://x.example/a.png onerror=alert(1)>',
        "</td></tr></table><h1>over",
        "<!-- ",
        "<![CDATA[",
        "&#60;b&#62;",
        "]]>",
        "{{7*7}}",
        "javascript:alert(1)",
        "</style><style>@import url(//x.example)",
    ]
)


@settings(max_examples=60, deadline=None)
@given(name=st.one_of(HOSTILE, _MARKUP))
def test_no_name_is_markup_in_the_page(name: str) -> None:
    page = write_as(hostile(name), "html")
    read = PageReader(page)

    assert read.wrong == []
    assert [link for link in read.links if not link.startswith("#")] == ["data:,"]
    assert not CONTROL.search(page.replace("\n", ""))
    assert {len(row) for row in read.tables["findings"]} == {4}
    assert plain(name).strip() in " ".join(read.texts), "and it is told as it is"


@settings(max_examples=40, deadline=None)
@given(name=st.one_of(HOSTILE, _MARKUP))
def test_no_cell_of_the_csv_is_a_formula(name: str) -> None:
    text = write_as(hostile(name), "csv")

    assert not CONTROL.search(text)
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or re.fullmatch(r"-\d+", cell)


@settings(max_examples=40, deadline=None)
@given(name=st.one_of(HOSTILE, _MARKUP))
def test_markdown_keeps_its_tables_and_starts_no_html(name: str) -> None:
    text = write_as(hostile(name), "md")

    assert not CONTROL.search(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`\[]", text)
    assert sum(line.startswith("#") for line in text.splitlines()) == len(SECTIONS) + 2, "no heading but ours"
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}
        assert len(columns) == 1


@pytest.mark.parametrize("form", ["md", "html", "json", "csv"])
def test_the_report_says_of_what_when_and_by_whom(form: str) -> None:
    text = write_as(report(fleet()), form)

    for word in ("prod", "RegionOne", "2025-10-09", "admin") if form != "csv" else ("gpu-04", "2025-10-09"):
        assert word in text
