"""Starting migrations on a terminal, in a process of its own: what is shown, what is asked, what No means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.one_cloud import CTRL_C, Ended, converse

FLEET = ("--demo", "--scenario", "4")


def ask(home: Path, answer: bytes, *arguments: str) -> Ended:
    environ = {"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    return converse(environ, [*FLEET, *arguments], lambda _: answer)


def test_the_plan_is_shown_before_the_question_which_names_what_is_accepted(home: Path) -> None:
    code, out, shown = ask(home, b"n\n", "migrate", "start", "vm-000001", "--to", "gpu-0004")

    assert (code, out) == (4, ""), shown
    plan, _, question = shown.partition("Accept ")
    assert "live-migrate vm-000001 gpu-0001 → gpu-0004: not begun → begun" in plan
    assert "effect   the guest stands still for " in plan
    assert "! warn    migrate.dirty-tracking: " in plan
    assert "migrate.dirty-tracking and apply this change? [y/N]: " in question
    assert "refused: not confirmed; nothing was sent" in question


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 4), (CTRL_C, 130)])
def test_a_drain_shows_where_everything_goes_before_it_asks(answer: bytes, code: int, home: Path) -> None:
    ended = ask(home, answer, "drain", "gpu-0001", "--disable")

    assert (ended.code, ended.stdout) == (code, ""), ended.shown
    plan, _, question = ended.shown.partition("Accept ")
    assert "servers can go, " in plan
    assert "vm-000001" in plan
    assert "disable nova-compute of gpu-0001 and live-migrate " in question
    assert not (home / ".local" / "state" / "vgpu-console" / "drains-demo").exists()
