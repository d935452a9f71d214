"""The README says what the code does: its keys, its commands, its pictures."""

from __future__ import annotations

import re

import pytest

from tests.docs.readme import PICTURES, README, TREE, with_keys, with_part

TEXT = README.read_text(encoding="utf-8")


def test_the_table_of_keys_is_the_one_the_screens_bind() -> None:
    assert with_keys(TEXT) == TEXT, "run: python -m tests.docs.readme"


def test_every_picture_and_page_it_links_is_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert link.startswith("http") or (TREE / link).exists(), link


def test_the_pictures_ask_nothing_of_the_network() -> None:
    for picture in PICTURES.glob("*.svg"):
        text = picture.read_text(encoding="utf-8")
        assert "@font-face" not in text
        assert re.findall(r'(?:href|src)="http', text) == []


def test_every_exit_code_of_the_command_is_in_its_table() -> None:
    from vgpu_console.cli_run import FAILED, INTERRUPTED, NO_CONNECTION, OK, PARTIAL, REFUSED, USAGE

    listed = {int(c) for c in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert listed == {OK, FAILED, USAGE, NO_CONNECTION, REFUSED, PARTIAL, INTERRUPTED}


def test_a_part_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="no part nonsense"):
        with_part("text", "nonsense", "")
