"""``quota set``, ``default`` and ``clear`` from argument to Keystone, on one embedded cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.one_cloud import VGPU, limits, project_id, run
from vgpu_console.actions.journal import Journal
from vgpu_console.simulator import DemoCloud, HttpFault, open_demo

PROMISED = ["action", "target", "before", "after", "steps", "checks", "inverse", "commands", "hash"]
ANYWAY = ("--accept", "quota.capacity")
"""A host of the demo is silent, so what all hosts can hold is not known there."""


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    one = open_demo("small", living=False)
    monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: one)
    return one


@pytest.fixture
def writes(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that reached Keystone and could change something."""
    seen: list[str] = []
    answer = cloud.app.answer

    def watched(method: str, path: str, *more: Any) -> Any:
        if method not in ("GET", "HEAD") and not path.endswith("/auth/tokens"):
            seen.append(f"{method} {path}")
        return answer(method, path, *more)

    monkeypatch.setattr(cloud.app, "answer", watched)
    return seen


def journal(home: Path) -> Journal:
    return Journal(home / ".local" / "state" / "vgpu-console" / "journal-demo.jsonl")


def ends(home: Path) -> list[str | None]:
    return [entry.result for entry in journal(home).entries() if entry.event == "ended"]


# --- done -------------------------------------------------------------------------------------------------------------


def test_a_limit_that_is_set_is_in_keystone_and_in_the_journal(cloud: DemoCloud, home: Path) -> None:
    result = run("quota", "set", "vdi", "8", "--yes", *ANYWAY, "-o", "json")

    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["action"], told["target"]["name"], told["before"], told["after"]) == (
        "quota.set",
        "vdi",
        {"limit": 6},
        {"limit": 8},
    )
    assert (told["result"], told["observed"]) == ("done", {"limit": 8})
    assert limits(cloud)["vdi"] == 8
    assert ends(home) == ["done"]
    rows = json.loads(run("quota", "-o", "json", "--project", "vdi").stdout)
    assert [(r["limit"], r["origin"]) for r in rows if r["resource"] == VGPU] == [(8, "project")]


def test_the_table_says_how_it_ended(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", "8", "--yes", *ANYWAY)

    assert [line.split() for line in result.stdout.splitlines()] == [
        ["LIMIT", "CHANGE", "RESULT", "MESSAGE"],
        ["class:VGPU", "of", "vdi", "6", "→", "8", "done", "applied", "and", "read", "back"],
    ]


def test_there_and_back(cloud: DemoCloud) -> None:
    before = limits(cloud)
    codes = [
        run("quota", "set", "render", "7", "--yes", *ANYWAY).exit_code,
        run("quota", "clear", "render", "--yes").exit_code,
    ]

    assert codes == [0, 0]
    assert limits(cloud) == before


def test_several_projects_have_a_result_each(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", "render", project_id(cloud, "students"), "7", "--yes", *ANYWAY, "-o", "json")

    assert result.exit_code == 0
    assert [(r["target"]["name"], r["result"]) for r in json.loads(result.stdout)] == [
        ("vdi", "done"),
        ("render", "done"),
        ("students", "done"),
    ]
    assert {name: limits(cloud)[name] for name in ("vdi", "render", "students")} == dict.fromkeys(
        ("vdi", "render", "students"), 7
    )


def test_one_that_was_named_twice_is_done_once(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", project_id(cloud, "vdi"), "7", "--yes", *ANYWAY, "-o", "json")

    assert [r["result"] for r in json.loads(result.stdout)] == ["done"]


def test_minus_one_is_a_number_and_no_option(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", "-1", *ANYWAY, "--yes")

    assert result.exit_code == 0, result.stderr
    assert limits(cloud)["vdi"] == -1
    assert "6 → unlimited (-1)" in result.stdout


def test_a_class_without_a_registered_limit_gets_one(cloud: DemoCloud) -> None:
    resource = "class:CUSTOM_L40S_12Q"
    result = run("quota", "set", "render", "3", "--resource", "CUSTOM_L40S_12Q", "--yes", *ANYWAY, "-o", "json")

    assert result.exit_code == 0, result.stderr
    assert limits(cloud, resource) == {"default": -1, "render": 3}


def test_several_projects_of_a_class_without_a_registered_limit(cloud: DemoCloud) -> None:
    resource = "class:CUSTOM_L40S_12Q"
    result = run("quota", "set", "render", "vdi", "3", "--resource", resource, "--yes", *ANYWAY, "-o", "json")

    assert result.exit_code == 0, result.stderr
    assert [r["action"] for r in json.loads(result.stdout)] == ["quota.default", "quota.set", "quota.set"]
    assert limits(cloud, resource) == {"default": -1, "render": 3, "vdi": 3}


def test_a_default_with_limits_beside_it_is_changed_and_they_stay(cloud: DemoCloud) -> None:
    before = limits(cloud)
    result = run("quota", "default", "5", "--yes", *ANYWAY)

    assert result.exit_code == 0, result.stdout + result.stderr
    assert limits(cloud) == before | {"default": 5}


def test_what_is_so_already_is_done_and_nothing_is_sent(cloud: DemoCloud, writes: list[str], home: Path) -> None:
    result = run("quota", "set", "vdi", "6", "--yes", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)["message"]) == (0, "already so: nothing to do")
    assert writes == []
    assert ends(home) == []


def test_a_limit_whose_project_is_gone_is_cleared_by_its_id(cloud: DemoCloud) -> None:
    gone = project_id(cloud, "vdi")
    del cloud.state.projects[gone]
    result = run("quota", "clear", gone, "--yes", "--accept", "quota.below-usage")

    assert result.exit_code == 0, result.stdout + result.stderr
    assert gone not in limits(cloud)


# --- a dry run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["set", "vdi", "8"], ["default", "3"], ["clear", "vdi"]], ids=["set", "default", "clear"]
)
def test_a_dry_run_writes_the_plan_and_changes_nothing(
    arguments: list[str], cloud: DemoCloud, writes: list[str], home: Path
) -> None:
    result = run("quota", *arguments, "--dry-run", "-o", "json")
    plan = json.loads(result.stdout)

    assert result.exit_code == 0
    assert list(plan)[: len(PROMISED)] == PROMISED
    assert all(step["method"] and step["path"] for step in plan["steps"])
    assert plan["commands"]
    assert all(command.startswith("openstack ") for command in plan["commands"])
    assert writes == []
    assert not journal(home).path.exists()


def test_a_dry_run_of_several_is_a_list_and_so_is_one_of_several(cloud: DemoCloud) -> None:
    both = json.loads(run("quota", "set", "vdi", "render", "8", "--dry-run", "-o", "json").stdout)
    same = json.loads(run("quota", "clear", "vdi", "vdi", "--dry-run", "-o", "json").stdout)

    assert [plan["target"]["name"] for plan in both] == ["vdi", "render"]
    assert [plan["target"]["name"] for plan in same] == ["vdi"]


def test_the_table_of_a_dry_run_shows_all_that_there_is_to_know(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", "4", "--dry-run")

    lines = result.stdout.splitlines()
    assert lines[0] == "class:VGPU of vdi: 6 → 4"
    for start in ("  effect   project is now at 6 of 4", "  check    ! warn    quota.below-usage",
                  "  command  openstack limit set --resource-limit 4 ", "  undo     set class:VGPU of vdi to 6",
                  "  hash     "):  # fmt: skip
        assert any(line.startswith(start) for line in lines), start
    assert "without a terminal this would need --accept quota.below-usage" in result.stderr


def test_a_dry_run_is_possible_behind_the_read_only_wall(cloud: DemoCloud) -> None:
    result = run("--read-only", "quota", "set", "vdi", "8", "--dry-run", "-o", "json")

    assert (result.exit_code, json.loads(result.stdout)["after"]) == (0, {"limit": 8})


# --- refused ----------------------------------------------------------------------------------------------------------


def test_without_yes_and_without_a_terminal_no_cloud_is_even_asked(cloud: DemoCloud, home: Path) -> None:
    tokens = len(cloud.state.tokens)
    result = run("quota", "set", "vdi", "8")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "needs --yes" in result.stderr
    assert len(cloud.state.tokens) == tokens
    assert limits(cloud)["vdi"] == 6


@pytest.mark.parametrize("arguments", [["set", "vdi", "8"], ["default", "8"], ["clear", "vdi"], ["import"]])
def test_read_only_is_refused_before_anything_is_sent(arguments: list[str], cloud: DemoCloud) -> None:
    tokens = len(cloud.state.tokens)
    result = run("quota", *arguments, "--yes", "--read-only")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "read-only (--read-only)" in result.stderr
    assert len(cloud.state.tokens) == tokens


def test_a_warning_must_be_accepted_by_its_name(cloud: DemoCloud, writes: list[str]) -> None:
    first = run("quota", "set", "vdi", "2", "--yes")
    assert (first.exit_code, writes) == (4, [])
    assert "needs to be accepted: quota.below-usage" in first.stdout
    assert "to accept it: --accept quota.below-usage" in first.stderr

    second = run("quota", "set", "vdi", "2", "--yes", "--accept", "quota.below-usage")
    assert (second.exit_code, limits(cloud)["vdi"]) == (0, 2)
    assert [line.split()[0] for line in writes] == ["PATCH"]


def test_what_the_hosts_hold_is_asked_where_a_limit_is_raised_and_unknown_is_no_pass(cloud: DemoCloud) -> None:
    cloud.faults.libvirt.clear()
    cloud.faults.ssh.clear()
    known = json.loads(run("quota", "set", "vdi", "7", "--dry-run", "-o", "json").stdout)
    capacity = next(c for c in known["checks"] if c["id"] == "quota.capacity")
    assert capacity["status"] in ("pass", "warn")
    assert "the hosts hold" in capacity["evidence"]

    cloud.faults.libvirt["gpu-01"] = cloud.faults.ssh["gpu-01"] = "unreachable"
    unknown = run("quota", "set", "vdi", "7", "--yes")
    assert unknown.exit_code == 4
    assert "quota.capacity" in unknown.stdout
    assert "libvirt:gpu-01" in unknown.stderr


def test_the_hosts_are_left_alone_where_what_they_know_was_accepted(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", "7", "--dry-run", *ANYWAY)

    assert result.exit_code == 0
    assert "gpu-04" not in result.stderr


def test_some_of_several(cloud: DemoCloud) -> None:
    """render uses one, vdi six: for the one the limit is fine, for the other it must be accepted."""
    result = run("quota", "set", "render", "vdi", "2", "--yes", "-o", "json")

    assert result.exit_code == 5
    assert [r["result"] for r in json.loads(result.stdout)] == ["done", "refused"]
    assert (limits(cloud)["render"], limits(cloud)["vdi"]) == (2, 6)


def test_the_plan_that_was_seen_is_the_one_that_is_applied(cloud: DemoCloud, writes: list[str]) -> None:
    seen = json.loads(run("quota", "set", "vdi", "8", "--dry-run", "-o", "json").stdout)["hash"]
    assert run("quota", "set", "students", "3", "--yes", *ANYWAY).exit_code == 0
    assert run("quota", "set", "vdi", "8", "--yes", *ANYWAY, "--expect", seen).exit_code == 0

    writes.clear()
    moved = run("quota", "set", "vdi", "9", "--yes", *ANYWAY, "--expect", seen)
    assert (moved.exit_code, moved.stdout, writes) == (4, "", [])
    assert f"expected {seen}, it is now " in moved.stderr


def test_several_hashes_for_several_plans(cloud: DemoCloud) -> None:
    plans = json.loads(run("quota", "set", "vdi", "render", "8", "--dry-run", "-o", "json").stdout)
    expect = [word for plan in plans for word in ("--expect", plan["hash"])]

    assert run("quota", "set", "vdi", "render", "8", "--yes", *ANYWAY, *expect[:2]).exit_code == 4
    assert run("quota", "set", "vdi", "render", "8", "--yes", *ANYWAY, *expect).exit_code == 0


def test_a_check_that_does_not_exist_is_told(cloud: DemoCloud) -> None:
    result = run("quota", "set", "vdi", "8", "--dry-run", "--accept", "quota.capcity")

    assert "--accept quota.capcity: there is no such check here; there are: quota.below-usage" in result.stderr


def test_a_member_is_told_the_role(cloud: DemoCloud, monkeypatch: pytest.MonkeyPatch, writes: list[str]) -> None:
    spec = cloud.spec
    monkeypatch.setattr(cloud, "spec", lambda **_: spec(user="auditor"))
    result = run("quota", "set", "vdi", "8", "--yes", *ANYWAY)

    assert (result.exit_code, writes) == (4, [])
    assert "needs role admin" in result.stdout + result.stderr
    dry = run("quota", "set", "vdi", "8", "--dry-run")
    assert dry.exit_code == 4
    assert "this would be refused: quota.role: needs role admin" in dry.stderr


# --- no connection, failed --------------------------------------------------------------------------------------------


def test_a_silent_keystone_is_no_connection(cloud: DemoCloud, writes: list[str]) -> None:
    cloud.faults.http["identity"] = HttpFault(kind="refused")
    result = run("quota", "set", "vdi", "8", "--yes", *ANYWAY)

    assert (result.exit_code, result.stdout, writes) == (3, "", [])
    assert "no connection" in result.stderr


def test_a_write_that_fails_is_told_with_what_is_true_now(cloud: DemoCloud, home: Path) -> None:
    limit = next(x for x in cloud.state.limits.values() if x.project_id == project_id(cloud, "vdi"))
    cloud.faults.http["identity"] = HttpFault(kind="status", status=503, path=f"/limits/{limit.id}")
    result = run("quota", "set", "vdi", "8", "--yes", *ANYWAY, "-o", "json")

    assert result.exit_code == 1, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert (told["result"], told["observed"]) == ("failed", {"limit": 6})
    assert "nothing was changed" in told["message"]
    assert ends(home) == ["failed"]


def test_a_journal_that_cannot_be_written_stops_it(cloud: DemoCloud, home: Path, writes: list[str]) -> None:
    path = journal(home).path
    path.parent.mkdir(parents=True)
    path.mkdir()
    result = run("quota", "set", "vdi", "8", "--yes", *ANYWAY)

    assert result.exit_code != 0
    assert writes == []
    assert "Traceback" not in result.stderr


def test_what_a_killed_console_left_is_named_first(cloud: DemoCloud, home: Path) -> None:
    assert run("quota", "set", "vdi", "8", "--yes", *ANYWAY).exit_code == 0
    lines = journal(home).path.read_text().splitlines(keepends=True)
    journal(home).path.write_text("".join(line for line in lines if '"ended"' not in line))

    result = run("quota", "set", "vdi", "7", "--dry-run")
    assert "unfinished in the journal: class:VGPU of vdi" in result.stderr
    listed = json.loads(run("journal", "-o", "json").stdout)
    assert [(r["title"], r["result"], r["steps_begun"]) for r in listed] == [("class:VGPU of vdi", None, 1)]


# --- bad input --------------------------------------------------------------------------------------------------------

BAD = [
    (["set", "vdi", "-5"], "-5 is too low"),
    (["set", "vdi", "2147483648"], "2147483648 is too high"),
    (["set", "vdi", "9" * 5000], "is too high"),
    (["set", "vdi", "four"], "'four' is not a whole number"),
    (["set", "vdi", "1.5"], "'1.5' is not a whole number"),
    (["set", "vdi", "-1.5"], "'-1.5' is not a whole number"),
    (["set", "vdi", ""], "'' is not a whole number"),
    (["set", "vdi", "\u0663\u2028"], "is not a whole number"),
    (["set", "vdi", "4", "--resource", "class:vgpu"], "names no resource"),
    (["default", "-2"], "-2 is too low"),
    (["default", "many"], "'many' is not a whole number"),
    (["set", "studens", "4"], "no project has the id or name 'studens'; is it "),
    (["set", "vdi@nowhere", "4"], "no project has the id or name 'vdi@nowhere'"),
    (["set", "", "4"], "no project was named"),
    (["clear", "nobody-at-all"], "no project has the id or name 'nobody-at-all'"),
    (["set", "4"], "Missing argument"),
    (["set", "vdi", "4", "--force"], "No such option"),
    (["what-if", "vdi", "no.such.flavor", "1"], "no flavor has the id or name 'no.such.flavor'"),
    (["what-if", "vdi", "desktop.a40-8q", "0"], "0 is not in the range"),
    (["what-if", "nobody-at-all", "desktop.a40-8q"], "no project has the id or name"),
    (["import", "--project", "nobody-at-all"], "no project has the id or name"),
    (["frobnicate"], "No such command 'frobnicate'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a)[:30] for a, _ in BAD])
def test_bad_input_is_a_clear_line_and_nothing_is_sent(
    arguments: list[str], words: str, cloud: DemoCloud, writes: list[str]
) -> None:
    more = ["--yes"] if arguments[0] in ("set", "default", "clear", "import") else []
    result = run("quota", *arguments, *more)

    assert (result.exit_code, result.stdout, writes) == (2, "", [])
    assert words in result.stderr
    assert all(len(line) < 400 for line in result.stderr.splitlines())


def test_equal_names_in_two_domains_are_offered_with_their_ids(cloud: DemoCloud, writes: list[str]) -> None:
    twin = _twin(cloud, "vdi")
    result = run("quota", "set", "vdi", "render", "8", "--yes", *ANYWAY)

    assert (result.exit_code, result.stdout, writes) == (2, "", [])
    assert "'vdi' is the name of 2 projects" in result.stderr
    assert f"{twin} (vdi@customers)" in result.stderr
    assert f"{project_id(cloud, 'vdi')} (vdi@Default)" in result.stderr

    chosen = run("quota", "set", "vdi@customers", "8", "--yes", *ANYWAY, "-o", "json")
    assert chosen.exit_code == 0, chosen.stderr
    assert json.loads(chosen.stdout)["target"]["id"] == twin
    assert limits(cloud)["vdi"] in (6, 8)
    assert [x.resource_limit for x in cloud.state.limits.values() if x.project_id == twin] == [8]


def _twin(cloud: DemoCloud, name: str) -> str:
    """A project of that name in a domain of its own."""
    import msgspec

    state = cloud.state
    original = state.projects[project_id(cloud, name)]
    domain = msgspec.structs.replace(state.domains["default"], id="c" * 32, name="customers")
    state.domains[domain.id] = domain
    twin = msgspec.structs.replace(original, id="d" * 32, domain_id=domain.id)
    state.projects[twin.id] = twin
    return twin.id


def test_every_name_that_is_wrong_is_told_at_once(cloud: DemoCloud, writes: list[str]) -> None:
    result = run("quota", "set", "nobody-at-all", "vdi", "nor-this", "8", "--yes")

    assert (result.exit_code, writes) == (2, [])
    assert [line.split("'")[1] for line in result.stderr.splitlines()] == ["nobody-at-all", "nor-this"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "csv", "set", "vdi", "8"], "-o csv: 'set' writes table or json"),
        (["--project", "vdi", "set", "render", "8"], "--project belongs to the view"),
        (["--host", "gpu-01", "audit"], "--host belongs to the view"),
        (["--totals", "clear", "vdi"], "--totals belongs to the view"),
        (["--totals", "--project", "vdi"], "--totals are of the whole cloud"),
    ],
)
def test_options_of_the_view_that_mean_nothing_to_a_change_are_not_swallowed(
    arguments: list[str], words: str, cloud: DemoCloud, writes: list[str]
) -> None:
    result = run("quota", *arguments)

    assert (result.exit_code, result.stdout, writes) == (2, "", [])
    assert words in result.stderr


def test_the_format_may_stand_in_front_of_the_subcommand(cloud: DemoCloud) -> None:
    assert json.loads(run("quota", "-o", "json", "set", "vdi", "8", "--dry-run").stdout)["after"] == {"limit": 8}
    assert run("quota", "-o", "json", "set", "vdi", "8", "--dry-run", "-o", "table").stdout.startswith("class:VGPU")
