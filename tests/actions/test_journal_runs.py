"""The journal by runs, and the copy of it that the system's log gets."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from tests.screens.plans import plan
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.journal_runs import runs


def test_a_run_has_its_steps_its_end_and_what_became_of_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", clock=lambda: 1_800_000_000.0)
    first = journal.begin(plan("risk"), cloud="prod", overrides=("quota.capacity",))
    second = journal.begin(plan(name="vdi"), cloud="prod")
    journal.step(first, 1, "set")
    journal.step(first, 2)
    journal.end(first, "done", "begun", {"limit": 4})
    journal.outcome(first, "completed")
    one, other = runs(journal.entries())
    assert (one.run, one.result, one.words, one.steps_begun) == (first, "done", "begun; then: completed", 2)
    assert (one.accepted, one.observed) == (("quota.capacity",), {"limit": 4})
    assert one.plan is not None
    assert (one.plan.checks, one.plan.inverse) == (plan("risk").checks, plan("risk").inverse)
    assert (other.run, other.result, other.ended, other.words) == (second, None, None, "")


def test_lines_without_their_beginning_are_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.step("0123456789ab", 1, "of a file that was cut")
    journal.end("0123456789ab", "done")
    assert runs(journal.entries()) == []


@pytest.fixture
def syslog(tmp_path: Path) -> socket.socket:
    """A socket where the system's log would listen."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(tmp_path / "log"))
    made.settimeout(5)
    return made


def test_every_line_goes_to_syslog_too(tmp_path: Path, syslog: socket.socket) -> None:
    journal = Journal(tmp_path / "journal.jsonl", syslog=str(tmp_path / "log"))
    run = journal.begin(plan(name="two\nlines"), cloud="prod", overrides=("quota.role",))
    journal.end(run, "failed", 'keystone said "no"')
    begun, ended = (syslog.recv(10_000).decode() for _ in range(2))
    syslog.close()
    assert begun.startswith("<85>vgpu-console[")  # authpriv.notice
    assert f'run="{run}" event="begun"' in begun
    assert 'action="quota.set"' in begun
    assert r'title="class:VGPU of two\nlines"' in begun
    assert "\n" not in begun
    assert 'accepted="quota.role"' in begun
    assert 'result="failed" message="keystone said \\"no\\""' in ended


def test_a_syslog_that_is_not_there_stops_no_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path / "journal.jsonl", syslog=str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING):
        journal.end(journal.begin(plan(), cloud="prod"), "done")
    assert [r.result for r in runs(journal.entries())] == ["done"]
    assert "nobody: No such file or directory" in caplog.text
