"""Applying a plan: what is sent, what is refused before anything is sent, and what is said when the world differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from vgpu_console.actions.journal import Journal
from vgpu_console.actions.plan import Check, HttpStep, Plan, Step, Target, sealed
from vgpu_console.actions.runner import Outcome, apply, apply_all
from vgpu_console.sources.base import SourceError, Unanswered


class Limits:
    """A world that is one number, which steps set; it can fail in the ways a network can."""

    def __init__(self, value: int = 4) -> None:
        self.value = value
        self.read_only = False
        self.name = "prod"
        self.sent: list[Step] = []
        self.unreadable_after = False
        self.fail_at: int | None = None
        self.fails_after_effect = False
        self.ignores = False
        self.forbids = ""

    def refuses(self, step: Step) -> str:
        return self.forbids

    def take(self, step: Step) -> None:
        if self.fail_at == len(self.sent) and not self.fails_after_effect:
            raise SourceError("unreachable", "connection lost")
        self.sent.append(step)
        assert isinstance(step, HttpStep)
        if step.body is not None and not self.ignores:
            self.value = step.body["value"]
        if self.fails_after_effect:
            raise SourceError("timeout", "no answer")

    def observe(self, plan: Plan) -> dict[str, Any]:
        if self.unreadable_after and self.sent:
            raise SourceError("unreachable", "keystone is down")
        return {"limit": self.value}


def plan(before: int = 4, after: int = 8, *, checks: tuple[Check, ...] = (), steps: int = 1) -> Plan:
    values = [after] * steps
    taken = tuple(
        HttpStep(title=f"set {v}", method="PATCH", service="limits", path="/limits/l", body={"value": v})
        for v in values
    )
    return sealed(
        Plan(
            action="quota.set",
            title="class:VGPU of ml-research",
            target=Target(kind="project limit", id="l", name="ml-research"),
            before={"limit": before},
            after={"limit": after},
            steps=taken,
            checks=checks,
        )
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "journal.jsonl", clock=lambda: 1_800_000_000.0)


def run(world: Limits, journal: Journal, what: Plan | None = None, accepted: frozenset[str] = frozenset()) -> Outcome:
    return apply(what or plan(), world, journal, accepted=accepted)


def test_a_change_is_applied_read_back_and_journaled(journal: Journal) -> None:
    world = Limits()
    outcome = run(world, journal)
    assert (outcome.result, outcome.observed, world.value) == ("done", {"limit": 8}, 8)
    events = [(e.event, e.result, e.step) for e in journal.entries()]
    assert events == [("begun", None, None), ("step", None, 1), ("ended", "done", None)]
    begun = next(journal.entries())
    assert (begun.cloud, begun.at, begun.plan) == ("prod", "2027-01-15T08:00:00.000Z", plan())


def test_nothing_is_sent_through_the_wall(journal: Journal) -> None:
    world = Limits()
    world.read_only = True
    assert (run(world, journal).result, world.sent, list(journal.entries())) == ("refused", [], [])


def test_a_world_that_moved_is_refused_and_the_new_value_named(journal: Journal) -> None:
    world = Limits(6)
    outcome = run(world, journal)
    assert outcome.result == "moved"
    assert outcome.message == "changed since it was planned: limit was 4 and is 6"
    assert world.sent == []


@pytest.mark.parametrize(("status", "accepted", "result"), [
    ("fail", frozenset({"c"}), "refused"),
    ("warn", frozenset(), "refused"),
    ("unknown", frozenset(), "refused"),
    ("warn", frozenset({"c"}), "done"),
    ("unknown", frozenset({"c"}), "done"),
    ("pass", frozenset(), "done"),
])  # fmt: skip
def test_checks_block_or_ask(status: Any, accepted: frozenset[str], result: str, journal: Journal) -> None:
    check = Check(id="c", status=status, evidence="5 of 4 used")
    outcome = run(Limits(), journal, plan(checks=(check,)), accepted)
    assert outcome.result == result
    if result == "refused":
        assert "5 of 4 used" in outcome.message
    elif accepted:
        assert next(journal.entries()).overrides == ("c",)


def test_a_failure_before_the_effect_says_that_nothing_was_changed(journal: Journal) -> None:
    world = Limits()
    world.fail_at = 0
    outcome = run(world, journal)
    assert (outcome.result, outcome.message) == ("failed", "connection lost; nothing was changed")
    assert journal.unfinished() == ()


def test_a_lost_answer_after_the_effect_is_seen_to_be_done(journal: Journal) -> None:
    world = Limits()
    world.fails_after_effect = True
    outcome = run(world, journal)
    assert outcome.result == "done"
    assert "no answer" in outcome.message


def test_half_of_it_says_what_is_true_now(journal: Journal) -> None:
    world = Limits()
    world.fail_at = 1
    steps = (*plan(after=5).steps, *plan(after=8).steps)
    outcome = run(world, journal, sealed(Plan(**{**_fields(plan()), "steps": steps})))
    assert (outcome.result, outcome.steps_taken, outcome.observed) == ("failed", 1, {"limit": 5})
    assert "now: limit 5" in outcome.message


def _fields(of: Plan) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


def test_a_step_that_has_no_effect_is_not_called_done(journal: Journal) -> None:
    world = Limits()
    world.ignores = True
    outcome = run(world, journal)
    assert outcome.result == "unverified"
    assert "limit 4" in outcome.message


def test_what_cannot_be_read_back_is_not_called_done(journal: Journal) -> None:
    world = Limits()
    world.unreadable_after = True
    outcome = run(world, journal)
    assert (outcome.result, outcome.observed) == ("unverified", None)


def test_without_a_journal_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    world = Limits()
    outcome = run(world, Journal(tmp_path / "file" / "journal.jsonl"))
    assert (outcome.result, world.sent) == ("refused", [])
    assert "cannot be written" in outcome.message


def test_a_plan_without_steps_is_already_done(journal: Journal) -> None:
    assert run(Limits(), journal, plan(steps=0)).message == "already so: nothing to do"
    assert list(journal.entries()) == []


def test_a_killed_console_leaves_a_trace_of_what_was_under_way(journal: Journal) -> None:
    class Killed(BaseException):
        pass

    world = Limits()

    def die(step: Step) -> None:
        raise Killed

    world.take = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run(world, journal)
    (left,) = journal.unfinished()
    assert left.plan is not None
    assert left.plan.target.name == "ml-research"


def test_an_interrupt_is_journaled(journal: Journal) -> None:
    world = Limits()

    def stop(step: Step) -> None:
        raise KeyboardInterrupt

    world.take = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(world, journal)
    assert [e.result for e in journal.entries()][-1] == "interrupted"


def test_each_of_many_has_its_own_outcome(journal: Journal) -> None:
    world = Limits()
    outcomes = apply_all([plan(4, 8), plan(4, 9), plan(8, 9)], world, journal)
    assert [o.result for o in outcomes] == ["done", "moved", "done"]
    stopped = apply_all([plan(9, 1)], world, journal, stop=lambda: True)
    assert (stopped[0].result, world.value) == ("interrupted", 9)


def test_nothing_follows_the_first_failure_where_that_is_wanted(journal: Journal) -> None:
    world = Limits()
    outcomes = apply_all([plan(4, 8), plan(4, 9), plan(8, 9)], world, journal, stop_at_first=True)
    assert [o.result for o in outcomes] == ["done", "moved", "refused"]
    assert outcomes[2].message == "not begun: the one before it failed"
    assert world.value == 8


def test_what_the_settings_forbid_is_refused_before_anything_is_asked(journal: Journal) -> None:
    world = Limits()
    world.forbids = "gpu-06: the console may only read over SSH"
    outcome = run(world, journal)
    assert (outcome.result, outcome.message) == (
        "refused",
        "nothing was sent: gpu-06: the console may only read over SSH",
    )
    assert (world.sent, list(journal.entries())) == ([], [])


def test_the_hash_follows_what_would_be_done_and_not_the_words() -> None:
    words = sealed(Plan(**{**_fields(plan()), "title": "other words", "effect": ("more",)}))
    assert plan().hash == words.hash != plan(4, 9).hash
    assert len(plan().hash) == 16


def test_a_half_written_line_spoils_neither_its_neighbours(journal: Journal) -> None:
    run(Limits(), journal)
    with journal.path.open("ab") as file:
        file.write(b'{"at": "2027')
    run(Limits(), journal)
    assert [e.event for e in journal.entries()] == ["begun", "step", "ended"] * 2
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_journal_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "elsewhere")
    assert run(Limits(), Journal(tmp_path / "journal.jsonl")).result == "refused"
    assert (tmp_path / "elsewhere").read_text() == ""


class Slow(Limits):
    """A world that shows a change only after some looks at it."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def observe(self, plan: Plan) -> dict[str, Any]:
        if self.sent and self.looks > 0:
            self.looks -= 1
            return {"limit": 4}
        return super().observe(plan)


@pytest.mark.parametrize(
    ("looks", "settle_s", "result", "waited"),
    [
        (0, 3.0, "done", 0),
        (2, 3.0, "done", 2),
        (9, 3.0, "unverified", 6),
        (2, 0.0, "unverified", 0),
    ],
)
def test_a_change_that_takes_time_to_show_is_waited_for(
    tmp_path: Path, looks: int, settle_s: float, result: str, waited: int
) -> None:
    waits: list[float] = []
    one = msgspec.structs.replace(plan(), settle_s=settle_s)
    outcome = apply(one, Slow(looks), Journal(tmp_path / "j"), wait=waits.append)
    assert outcome.result == result
    assert waits == [0.5] * waited


class Restarting(Slow):
    """A world whose daemon answers nothing for some looks after the step, and never said whether it took it."""

    def take(self, step: Step) -> None:
        super().take(step)
        raise Unanswered("unreachable", "the line was cut: nobody knows whether it was obeyed")

    def observe(self, plan: Plan) -> dict[str, Any]:
        if self.sent and self.looks > 0:
            self.looks -= 1
            raise SourceError("unreachable", "connection refused")
        return {"limit": self.value}


@pytest.mark.parametrize(
    ("looks", "ignores", "result", "said"),
    [
        (2, False, "done", "the answer was an error (the line was cut: nobody knows whether it was obeyed)"),
        (2, True, "failed", "nobody knows whether it was obeyed; nothing was changed"),
        (99, False, "failed", "what is true now could not be read: connection refused"),
    ],
)
def test_what_nobody_knows_is_looked_at_until_the_patience_ends(
    tmp_path: Path, looks: int, ignores: bool, result: str, said: str
) -> None:
    waits: list[float] = []
    world = Restarting(looks)
    world.ignores = ignores
    one = msgspec.structs.replace(plan(), settle_s=3.0)
    outcome = apply(one, world, Journal(tmp_path / "j"), wait=waits.append)
    assert (outcome.result, outcome.steps_taken) == (result, 0)
    assert said in outcome.message
    assert len(waits) == (2 if result == "done" else 6)


def test_waiting_ends_when_the_operator_stops_it_and_says_what_is_there(tmp_path: Path) -> None:
    words: list[str] = []
    one = msgspec.structs.replace(plan(), settle_s=600.0)
    outcome = apply(
        one,
        Slow(99),
        Journal(tmp_path / "j"),
        stop=lambda: len(words) > 4,
        wait=lambda _: None,
        progress=lambda _, __, word: words.append(word),
    )
    assert (outcome.result, outcome.observed) == ("unverified", {"limit": 4})
    assert "waiting: limit 4 so far, wanted 8" in words
