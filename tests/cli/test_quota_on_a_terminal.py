"""A change on a terminal, against a served cloud: what is shown, what is asked, and what may happen meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.cli.one_cloud import Ended, converse, environment, limits, project_id, spawn
from vgpu_console.actions.journal import Journal
from vgpu_console.simulator import DemoCloud, HttpFault, open_demo
from vgpu_console.simulator.serve import ServedDemo, serve_demo

SET = ("quota", "set", "render", "2")


@pytest.fixture
def cloud() -> DemoCloud:
    return open_demo("small", living=False)


@pytest.fixture
def served(cloud: DemoCloud, tmp_path: Path) -> Iterator[ServedDemo]:
    server = serve_demo(cloud, tmp_path / "served")
    yield server
    server.close()


@pytest.fixture
def ask(served: ServedDemo, home: Path) -> Callable[..., Ended]:
    def run(answer: bytes | Callable[[str], bytes], *arguments: str) -> Ended:
        say = answer if callable(answer) else lambda _: answer
        return converse(environment(home, served.clouds_yaml), arguments, say)

    return run


def ends(home: Path) -> list[tuple[str | None, str]]:
    journal = Journal(home / ".local" / "state" / "vgpu-console" / "journal.jsonl")
    return [(entry.result, entry.message) for entry in journal.entries() if entry.event == "ended"]


def test_yes_applies_what_was_shown(ask: Callable[..., Ended], cloud: DemoCloud, home: Path) -> None:
    code, out, shown = ask(b"y\n", *SET)

    assert code == 0, shown
    for words in (
        "class:VGPU of render: none → 2",
        "project is now at 1 of 2",
        "pass      quota.role: role admin: system all",
        "command  openstack limit create --service",
        "undo     clear the limit of render",
        "Apply this change? [y/N]: ",
    ):
        assert words in shown
    assert shown.index("class:VGPU of render") < shown.index("Apply this change?")
    assert " ".join(out.splitlines()[1].split()) == "class:VGPU of render none → 2 done applied and read back"
    assert limits(cloud)["render"] == 2
    assert [result for result, _ in ends(home)] == ["done"]


@pytest.mark.parametrize(("answer", "code"), [(b"\n", 4), (b"n\n", 4), (b"\x03", 130), (b"\x04", 130)])
def test_enter_no_and_going_away_change_nothing(
    answer: bytes, code: int, ask: Callable[..., Ended], cloud: DemoCloud, home: Path
) -> None:
    before = limits(cloud)
    ended = ask(answer, *SET)

    assert ended[:2] == (code, "")
    assert limits(cloud) == before
    assert ends(home) == []
    assert "Traceback" not in ended[2]


def test_what_was_typed_before_the_question_answers_nothing(served: ServedDemo, cloud: DemoCloud, home: Path) -> None:
    """Nobody has seen the plan by then: a key too many after the command must not apply it."""
    before = limits(cloud)
    ended = converse(environment(home, served.clouds_yaml), SET, lambda _: b"n\n", ahead=b"y\ny\n")

    assert ended.code == 4, ended.shown
    assert "Apply this change? [y/N]: " in ended.shown
    assert limits(cloud) == before
    assert ends(home) == []


def test_a_warning_is_part_of_the_question(ask: Callable[..., Ended], cloud: DemoCloud, home: Path) -> None:
    code, _, shown = ask(b"y\n", "quota", "set", "vdi", "2")

    assert code == 0, shown
    assert "! warn    quota.below-usage: 6 vGPUs in use, 4 above the limit of 2" in shown
    assert "Accept quota.below-usage and apply this change? [y/N]: " in shown
    assert limits(cloud)["vdi"] == 2


def test_json_stays_clean_while_the_terminal_is_asked(ask: Callable[..., Ended]) -> None:
    code, out, shown = ask(b"y\n", *SET, "-o", "json")

    assert code == 0, shown
    assert json.loads(out)["result"] == "done"


def test_several_are_asked_about_at_once(ask: Callable[..., Ended], cloud: DemoCloud) -> None:
    code, _, shown = ask(b"y\n", "quota", "set", "render", "admin", "3")

    assert code == 0, shown
    assert "Apply these 2 changes? [y/N]: " in shown
    assert (limits(cloud)["render"], limits(cloud)["admin"]) == (3, 3)


def test_what_is_so_already_is_not_asked_about(ask: Callable[..., Ended]) -> None:
    code, out, shown = ask(b"", "quota", "set", "vdi", "6")

    assert code == 0
    assert "already so: nothing to do" in out
    assert "[y/N]" not in shown


def test_a_change_by_somebody_else_meanwhile_is_refused_with_the_new_value(
    ask: Callable[..., Ended], cloud: DemoCloud, home: Path
) -> None:
    def somebody_else(_: str) -> bytes:
        limit = next(x for x in cloud.state.limits.values() if x.project_id == project_id(cloud, "students"))
        cloud.state.limits[limit.id] = msgspec.structs.replace(limit, resource_limit=9)
        return b"y\n"

    code, out, _ = ask(somebody_else, "quota", "set", "students", "1")

    assert code == 4
    assert "moved" in out
    assert "limit was 2 and is 9" in out
    assert limits(cloud)["students"] == 9
    assert [result for result, _ in ends(home)] == ["moved"]


def test_a_keystone_that_goes_away_meanwhile_leaves_nothing_half_done(
    ask: Callable[..., Ended], cloud: DemoCloud, home: Path
) -> None:
    def outage(_: str) -> bytes:
        cloud.faults.http["identity"] = HttpFault(kind="status", status=503)
        return b"y\n"

    before = limits(cloud)
    code, out, _ = ask(outage, *SET)

    assert code == 4
    assert "nothing was sent" in out
    assert limits(cloud) == before
    assert [result for result, _ in ends(home)] == ["refused"]


def test_a_member_is_not_asked_but_told(served: ServedDemo, home: Path, cloud: DemoCloud) -> None:
    environ = environment(home, served.clouds_yaml, "demo-alice")
    code, out, shown = converse(environ, SET, lambda _: b"y\n")

    assert (code, out) == (4, "")
    assert "refused: needs role admin on the system or in a project (Keystone limits); this credential has" in shown
    assert "Apply" not in shown
    assert "render" not in limits(cloud)


def test_two_processes_in_a_row_and_the_journal_of_both(served: ServedDemo, home: Path, cloud: DemoCloud) -> None:
    environ = environment(home, served.clouds_yaml)
    codes = [spawn(environ, "quota", "set", "render", n, "--yes").returncode for n in ("2", "1")]
    runs = json.loads(spawn(environ, "journal", "-o", "json").stdout)

    assert codes == [0, 0]
    assert limits(cloud)["render"] == 1
    assert [(r["before"].get("limit"), r["after"]["limit"], r["result"]) for r in runs] == [
        (None, 2, "done"),
        (2, 1, "done"),
    ]
    assert {r["cloud"] for r in runs} == {"demo"}
