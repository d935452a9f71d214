"""Names that tenants chose, through every view and format: nothing raises, nothing is acted upon."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import small_fleet
from vgpu_console.cli_output import Layout, snapshot_text, write
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.table_formats import markdown_cell
from vgpu_console.text import plain
from vgpu_console.view_filters import Filters
from vgpu_console.views import VIEWS

HOSTILE = st.one_of(
    st.sampled_from(
        [
            "=cmd|' /C calc'!A0",
            "+1",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "a|b",
            "`x`",
            "<img src=x onerror=alert(1)>",
            "[red]x[/red]",
            "[/x]",
            "[@click=app.quit]x[/]",
            "[x](javascript:alert(1))",
            "\x1b[31mred",
            "\x1b]52;c;aGk=\x07",
            "\x9b31m",
            "\u202eevil",
            "a\nb",
            'say "hi", twice',
            "日本語のなまえ",
            "\\|",
            "&lt;",
            "x" * 5_000,
            "",
        ]
    ),
    st.text(max_size=40),
)

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def renamed(name: str) -> Snapshot:
    """The small fleet with this name for every host, server, project, model and type, past the gate as in a source."""
    name = plain(name)
    fleet = small_fleet(broken=False)
    replace = msgspec.structs.replace

    def gpu(old: Any) -> Any:
        return replace(old, model=name, types=tuple(replace(t, type_name=name, host=name) for t in old.types))

    return replace(
        fleet,
        hosts=tuple(
            replace(h, name=name, driver=name, gpus=None if h.gpus is None else tuple(map(gpu, h.gpus)))
            for h in fleet.hosts
        ),
        mdevs=tuple(replace(m, server=name, project=name, type_name=name) for m in fleet.mdevs),
        servers=tuple(replace(s, name=name, project=name, status=name) for s in fleet.servers),
        quotas=tuple(replace(q, project=name, resource=name) for q in fleet.quotas),
        migrations=tuple(replace(m, server=name, source=name, status=name) for m in fleet.migrations),
        providers=tuple(replace(p, name=name, traits=(name, name)) for p in fleet.providers),
    )


def written(view: str, form: str, snapshot: Snapshot, layout: Layout = Layout()) -> str:  # noqa: B008 - a frozen value
    out = io.StringIO()
    write(VIEWS[view], VIEWS[view].rows(snapshot, Filters()), form, out, layout)
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(name=HOSTILE, view=st.sampled_from(list(VIEWS)))
def test_every_format_takes_every_name(name: str, view: str) -> None:
    fleet = renamed(name)
    rows = VIEWS[view].rows(fleet, Filters())

    texts = {form: written(view, form, fleet) for form in ("table", "json", "ndjson", "csv", "md")}

    for form, text in texts.items():
        assert not CONTROL.search(text), form
    assert len(json.loads(texts["json"])) == len(texts["ndjson"].splitlines()) == len(rows)
    assert len(list(csv.reader(io.StringIO(texts["csv"])))) == len(rows) + 1
    assert len(texts["table"].splitlines()) == len(rows) + 1
    assert len(texts["md"].split("\n")) == len(rows) + 3
    json.loads(snapshot_text(fleet, pretty=False))


@settings(max_examples=40, deadline=None)
@given(name=HOSTILE, view=st.sampled_from(list(VIEWS)))
def test_no_cell_of_the_csv_is_a_formula(name: str, view: str) -> None:
    for row in csv.reader(io.StringIO(written(view, "csv", renamed(name)))):
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or re.fullmatch(r"-\d+", cell)


@settings(max_examples=40, deadline=None)
@given(name=HOSTILE, view=st.sampled_from(list(VIEWS)))
def test_markdown_keeps_its_columns_and_starts_no_html(name: str, view: str) -> None:
    lines = written(view, "md", renamed(name)).splitlines()
    columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}

    assert columns == {len(VIEWS[view].fields()) + 1}
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`\[]", "\n".join(lines))


@settings(max_examples=20, deadline=None)
@given(name=HOSTILE, view=st.sampled_from(list(VIEWS)), width=st.sampled_from([20, 80, 200]))
def test_a_table_on_a_terminal_writes_no_control_but_its_own_colours(name: str, view: str, width: int) -> None:
    text = written(view, "table", renamed(name), Layout(width, True))

    assert not CONTROL.search(re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert not re.search(r"\x1b\[(?![0-9;]*m)|\x1b[^\[]", text)


def test_csv_gives_a_text_that_looks_like_a_formula_a_quote_and_numbers_none() -> None:
    table = list(csv.DictReader(io.StringIO(written("quota", "csv", renamed("=1+1")))))

    assert table[0]["project"] == "'=1+1"
    assert table[-1]["limit"] == "-1"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a|b", r"a\|b"),
        ("<b>", r"\<b\>"),
        ("__init__", r"\_\_init\_\_"),
        ("vm_train_1", "vm_train_1"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_markdown_escapes_what_it_must_and_no_more(text: str, cell: str) -> None:
    assert markdown_cell(text) == cell
