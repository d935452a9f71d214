"""The layout's file: what it may say, where it is wrong, and that it comes back as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.actions.layout_file import (
    MOST_ENTRIES,
    VERSION,
    GpuLayout,
    Layout,
    LayoutError,
    read_layout,
    to_toml,
)

GOOD = """version = 1

[[gpu]]
host = "gpu-0*"
type = "A100-20C"
count = 2

[[gpu]]
host = "gpu-06"
gpu = "41:00.0"
type = "L40S-12Q"
count = 4
persistent = false
"""


def test_what_is_left_out_has_its_meaning() -> None:
    first, second = read_layout(GOOD).gpu
    assert first == GpuLayout(host="gpu-0*", gpu="*", type="A100-20C", count=2, persistent=True)
    assert second == GpuLayout(host="gpu-06", gpu="41:00.0", type="L40S-12Q", count=4, persistent=False)
    assert read_layout("version = 1\n") == Layout(version=VERSION)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "", "version is missing; this console reads version 1"),
        ("version = 1", "version = 2", "line 1: version is 2; this console reads version 1"),
        ("version = 1", 'version = "1"', "line 1: version is '1'; this console reads version 1"),
        ("version = 1", "version = true", "line 1: version is True; this console reads version 1"),
        ("version = 1", "version = 1\nhosts = 3", "line 2: unknown key `hosts`"),
        ("count = 4", "count = -1", "line 12: [[gpu]] 2: count: expected `int` >= 0"),
        ("count = 4", "count = 4.5", "line 12: [[gpu]] 2: count: expected `int`, got `float`"),
        ("count = 4", 'count = "max"', "line 12: [[gpu]] 2: count: expected `int`, got `str`"),
        ("count = 4", "count = 99999", "line 12: [[gpu]] 2: count: expected `int` <= 1024"),
        ("count = 4\n", "", "line 8: [[gpu]] 2: missing key `count`"),
        ("persistent = false", "persistant = false", "line 13: [[gpu]] 2: unknown key `persistant`"),
        ("persistent = false", 'persistent = "no"', "line 13: [[gpu]] 2: persistent: expected `bool`, got `str`"),
        ('host = "gpu-06"', 'host = ""', "line 9: [[gpu]] 2: host: expected `str` of length >= 1"),
        ('host = "gpu-06"', "host = 6", "line 9: [[gpu]] 2: host: expected `str`, got `int`"),
        ("count = 4", "count = 4 4", "no TOML: "),
        ("[[gpu]]\nhost", "[gpu]\nhost", "no TOML: "),
    ],
)
def test_where_it_is_wrong(old: str, new: str, message: str) -> None:
    with pytest.raises(LayoutError) as raised:
        read_layout(GOOD.replace(old, new, 1) if "gpu-06" not in old else GOOD.replace(old, new))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_syntax_error_says_its_line() -> None:
    with pytest.raises(LayoutError, match="at line 12"):
        read_layout(GOOD.replace("count = 4", "count = ="))


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(LayoutError, match="larger than"):
        read_layout("#" * (5 * 1024 * 1024))
    many = "".join('[[gpu]]\nhost="h"\ntype="t"\ncount=0\n' for _ in range(MOST_ENTRIES + 1))
    with pytest.raises(LayoutError, match="is the most"):
        read_layout("version = 1\n" + many)


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
_ENTRY = st.builds(GpuLayout, host=_TEXT, gpu=_TEXT, type=_TEXT, count=st.integers(0, 1024), persistent=st.booleans())


@given(st.lists(_ENTRY, max_size=6))
def test_what_is_written_is_read_back(entries: list[GpuLayout]) -> None:
    layout = Layout(version=VERSION, gpu=tuple(entries))
    assert read_layout(to_toml(layout)) == layout


_LINES = [*GOOD.splitlines(), "gpu = 1", "[gpu]", "count = '''", "[[gpu", "\x1b[31m", "host = '\x1b'"]


@given(st.text(max_size=200))
def test_any_text_is_a_layout_or_one_plain_line(text: str) -> None:
    _read_or_one_line(text)


@given(st.lists(st.sampled_from(_LINES)))
def test_any_lines_are_a_layout_or_one_plain_line(lines: list[str]) -> None:
    _read_or_one_line("\n".join(lines))


def _read_or_one_line(text: str) -> None:
    said = ""
    try:
        assert read_layout(text).version == VERSION
    except LayoutError as error:
        said = str(error)
    assert said == "" or said.isprintable()
    assert len(said) <= 400


def test_deep_nesting_is_told() -> None:
    with pytest.raises(LayoutError):
        read_layout("version = " + "[" * 100_000)
