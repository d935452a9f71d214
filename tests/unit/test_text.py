"""The gate for foreign text: nothing that steers a terminal passes it, and ordinary words pass untouched."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from vgpu_console.text import MAX_CHARS, plain

HOSTILE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)
"""Every code point there is, surrogates included."""


@given(ANY_TEXT)
def test_no_control_format_or_separator_character_survives(text: str) -> None:
    out = plain(text)
    assert all(unicodedata.category(char) not in HOSTILE_CATEGORIES for char in out)
    out.encode("utf-8")


@given(ANY_TEXT)
def test_every_character_is_kept_or_replaced_by_one(text: str) -> None:
    out = plain(text)
    assert len(out) == len(text)
    assert all(new in (old, "·") for old, new in zip(text, out, strict=True))


@given(ANY_TEXT)
def test_a_second_pass_changes_nothing(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(st.text(max_size=5000), st.integers(min_value=1, max_value=MAX_CHARS))
def test_length_is_capped_with_an_ellipsis(text: str, limit: int) -> None:
    out = plain(text, limit)
    assert len(out) <= limit
    assert out.endswith("…") if len(text) > limit else len(out) == len(text)


def test_five_thousand_characters_are_cut_at_the_default() -> None:
    out = plain("x" * 5000)
    assert out == "x" * (MAX_CHARS - 1) + "…"


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=MAX_CHARS))
def test_ascii_is_untouched(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    "text",
    ["计算节点-7", "プロジェクト", "프로젝트", "Ünïcode", "проект", "Ελλάδα", "שלום", "مشروع", "e\u0301", "😀", "𝔘"],
)
def test_words_of_any_script_are_untouched(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("name", "char"),
    [
        ("escape", "\x1b"),
        ("bell", "\x07"),
        ("backspace", "\x08"),
        ("carriage return", "\r"),
        ("line feed", "\n"),
        ("tab", "\t"),
        ("null", "\0"),
        ("delete", "\x7f"),
        ("C1 CSI", "\x9b"),
        ("C1 OSC", "\x9d"),
        ("C1 string terminator", "\x9c"),
        ("next line", "\x85"),
        ("zero width space", "\u200b"),
        ("zero width non-joiner", "\u200c"),
        ("zero width joiner", "\u200d"),
        ("left-to-right mark", "\u200e"),
        ("right-to-left mark", "\u200f"),
        ("line separator", "\u2028"),
        ("paragraph separator", "\u2029"),
        ("right-to-left override", "\u202e"),
        ("left-to-right embedding", "\u202a"),
        ("first strong isolate", "\u2068"),
        ("pop isolate", "\u2069"),
        ("arabic letter mark", "\u061c"),
        ("word joiner", "\u2060"),
        ("byte order mark", "\ufeff"),
        ("soft hyphen", "\u00ad"),
        ("mongolian vowel separator", "\u180e"),
        ("variation selector 16", "\ufe0f"),
        ("variation selector 17", "\U000e0100"),
        ("tag letter", "\U000e0061"),
        ("lone surrogate", "\ud800"),
        ("private use", "\ue000"),
        ("interlinear annotation", "\ufff9"),
    ],
)
def test_each_steering_character_becomes_a_dot(name: str, char: str) -> None:
    assert plain(f"a{char}b") == "a·b", name


def test_an_osc_52_clipboard_write_is_only_letters() -> None:
    assert plain("\x1b]52;c;ZXZpbA==\x07") == "·]52;c;ZXZpbA==·"


def test_none_is_empty_and_other_values_are_their_words() -> None:
    assert plain(None) == ""
    assert plain(0) == "0"
    assert plain(["\x1b[2J"]) == "['\\x1b[2J']"


@given(ANY_TEXT)
def test_the_width_of_what_passes_is_the_sum_of_its_characters(text: str) -> None:
    """No joiner or selector is left that would merge characters, so that cutting by cells is exact."""
    out = plain(text)
    assert cell_len(out) == sum(cell_len(char) for char in out)
    assert all(cell_len(char) in (0, 1, 2) for char in out)
