"""``vgpu-console journal``: what was changed, and one change whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Check, HttpStep, Plan, Target

Invoke = Callable[..., Result]


def a_plan(title: str, name: str = "vdi") -> Plan:
    return Plan(
        action="quota.set",
        title=title,
        target=Target(kind="project limit", id="1" * 32, name=name),
        before={"limit": 6},
        after={"limit": 8},
        steps=(),
        hash="0" * 16,
    )


@pytest.fixture
def journal(home: Path) -> Journal:
    return Journal(home / ".local" / "state" / "vgpu-console" / "journal.jsonl", clock=lambda: 1_760_000_000.0)


def test_the_journal_lists_runs_with_their_ends(journal: Journal, invoke: Invoke) -> None:
    first = journal.begin(a_plan("class:VGPU of vdi"), cloud="prod", overrides=("quota.capacity",))
    journal.step(first, 1, "set it")
    journal.end(first, "done", "applied and read back", {"limit": 8})
    second = journal.begin(a_plan("class:VGPU of render"), cloud="prod")
    result = invoke("broken", "journal", "-o", "json")
    rows = json.loads(result.stdout)

    assert result.exit_code == 0
    assert [(r["run"], r["result"], r["before"], r["after"]) for r in rows] == [
        (first, "done", {"limit": 6}, {"limit": 8}),
        (second, None, {"limit": 6}, {"limit": 8}),
    ]
    assert (rows[0]["at"], rows[0]["accepted"]) == ("2025-10-09T08:53:20.000Z", ["quota.capacity"])
    assert "1 unfinished" in result.stderr
    table = invoke("broken", "journal").stdout.splitlines()
    assert "unfinished" in table[2]
    assert "6 → 8" in table[1]


def test_only_the_last_ones(journal: Journal, invoke: Invoke) -> None:
    for n in range(5):
        journal.end(journal.begin(a_plan(f"limit {n}"), cloud="prod"), "done")

    rows = list(csv.DictReader(io.StringIO(invoke("whole", "journal", "--last", "2", "-o", "csv").stdout)))
    assert [r["title"] for r in rows] == ["limit 3", "limit 4"]


def test_an_empty_journal_says_where_it_would_be(invoke: Invoke, home: Path) -> None:
    result = invoke("whole", "journal", "-o", "json")

    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert str(home / ".local" / "state" / "vgpu-console" / "journal.jsonl") in result.stderr


def test_names_in_the_journal_are_for_eyes_only(journal: Journal, invoke: Invoke) -> None:
    journal.begin(a_plan("class:VGPU of \x1b[31mred\u202e"), cloud="\x1b]0;x\x07")
    result = invoke("whole", "journal")

    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_only_those_that_never_ended(journal: Journal, invoke: Invoke) -> None:
    journal.end(journal.begin(a_plan("class:VGPU of vdi"), cloud="prod"), "done")
    left = journal.begin(a_plan("class:VGPU of render"), cloud="prod")
    rows = json.loads(invoke("whole", "journal", "--unfinished", "-o", "json").stdout)
    assert [(row["run"], row["title"]) for row in rows] == [(left, "class:VGPU of render")]


def whole_plan() -> Plan:
    undo = HttpStep(title="set it to 6 again", method="PATCH", service="limits", path="/limits/l", body={})
    return Plan(
        action="quota.set",
        title="class:VGPU of vdi",
        target=Target(kind="project limit", id="1" * 32, name="vdi"),
        before={"limit": 6},
        after={"limit": 8},
        steps=(undo,),
        checks=(Check(id="quota.capacity", status="warn", evidence="60 of 40", source="libvirt", age_s=4.0),),
        inverse=(undo,),
        commands=("openstack limit set --resource-limit 8 l",),
        hash="0" * 16,
    )


def test_one_change_whole(journal: Journal, invoke: Invoke) -> None:
    run = journal.begin(whole_plan(), cloud="prod", overrides=("quota.capacity",))
    journal.step(run, 1, "set it to 8")
    journal.end(run, "failed", "keystone: 503", {"limit": 6})
    text = invoke("whole", "journal", run[:5]).stdout
    for words in (
        f"run        {run}",
        "result     failed  keystone: 503",
        "accepted   quota.capacity",
        "observed   limit 6",
        "step       1  2025-10-09T08:53:20.000Z  set it to 8",
        "class:VGPU of vdi: 6 → 8",
        "! warn    quota.capacity: 60 of 40",
        "openstack limit set --resource-limit 8 l",
        "undo     set it to 6 again",
    ):
        assert words in text
    record = json.loads(invoke("whole", "journal", run, "-o", "json").stdout)
    assert (record["result"], record["observed"], record["accepted"]) == ("failed", {"limit": 6}, ["quota.capacity"])
    assert record["steps_taken"] == [{"number": 1, "at": "2025-10-09T08:53:20.000Z", "message": "set it to 8"}]
    assert record["plan"]["checks"][0]["evidence"] == "60 of 40"
    assert record["plan"]["inverse"][0]["title"] == "set it to 6 again"


@pytest.mark.parametrize(("name", "said"), [("zz", "no run zz in "), ("", "several runs begin with")])
def test_a_run_that_is_not_one(journal: Journal, invoke: Invoke, name: str, said: str) -> None:
    journal.begin(a_plan("one"), cloud="prod")
    journal.begin(a_plan("two"), cloud="prod")
    result = invoke("whole", "journal", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_one_change_is_no_table_of_rows(journal: Journal, invoke: Invoke) -> None:
    assert invoke("whole", "journal", "ab", "-o", "csv").exit_code == 2
