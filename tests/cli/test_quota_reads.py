"""``quota audit``, ``import``, ``what-if`` and ``--totals``."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from click.testing import Result

from tests.builders import small_fleet
from tests.cli.one_cloud import VGPU, limits, project_id, run
from vgpu_console.model.snapshot import Finding, QuotaTotals, Snapshot
from vgpu_console.simulator import DemoCloud, HttpFault, open_demo

Invoke = Callable[..., Result]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> DemoCloud:
    one = open_demo("small", living=False)
    monkeypatch.setattr("vgpu_console.simulator.open_demo", lambda *_, **__: one)
    return one


# --- audit ------------------------------------------------------------------------------------------------------------

FOUND = (
    Finding(
        id="limit-not-registered",
        severity="fail",
        object="limit class:VGPU",
        message="flavors ask for class:VGPU and Keystone has no registered limit of it: any project may take all",
        command="openstack registered limit create --service abc --region RegionOne --default-limit 4 class:VGPU",
        key="D",
    ),
    Finding(id="limit-above-capacity", severity="warn", object="project vdi", message="60 of 40", key="l"),
    Finding(id="enforcement-unknown", severity="info", object="cloud", message="ask nova-api's own nova.conf"),
)


def audited(*found: Finding) -> Callable[..., Snapshot]:
    return lambda *_: msgspec.structs.replace(small_fleet(broken=False), quota_findings=found)


def test_the_audit_as_a_list_has_the_promised_names(invoke: Invoke) -> None:
    rows = json.loads(invoke(audited(*FOUND), "quota", "audit", "-o", "json").stdout)

    assert [list(row) for row in rows] == [["id", "severity", "object", "message", "command"]] * 3
    assert [row["severity"] for row in rows] == ["fail", "warn", "info"]
    assert rows[0]["command"].startswith("openstack registered limit create")
    assert rows[1]["command"] is None


def test_the_audit_for_eyes_keeps_each_command_on_one_line(invoke: Invoke) -> None:
    result = invoke(audited(*FOUND), "quota", "audit")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "fail  limit class:VGPU  (limit-not-registered)",
        "      flavors ask for class:VGPU and Keystone has no registered limit of it: any project may take",
        "      all",
        "      $ openstack registered limit create --service abc --region RegionOne --default-limit 4 class:VGPU",
        "      or key D on the console's quota screen",
        "warn  project vdi  (limit-above-capacity)",
        "      60 of 40",
        "      key l on the console's quota screen",
        "info  cloud  (enforcement-unknown)",
        "      ask nova-api's own nova.conf",
    ]


@pytest.mark.parametrize(
    ("found", "fail_on", "code"),
    [
        (FOUND, None, 0),
        (FOUND, "fail", 1),
        (FOUND, "warn", 1),
        (FOUND[1:], "fail", 0),
        (FOUND[1:], "warn", 1),
        (FOUND[2:], "warn", 0),
        ((), "warn", 0),
    ],
)
def test_findings_fail_the_command_only_where_that_is_wanted(
    found: tuple[Finding, ...], fail_on: str | None, code: int, invoke: Invoke
) -> None:
    more = ["--fail-on", fail_on] if fail_on else []

    assert invoke(audited(*found), "quota", "audit", *more).exit_code == code


def test_an_audit_without_findings_says_so(invoke: Invoke) -> None:
    result = invoke(audited(), "quota", "audit", "-o", "json")

    assert result.stdout == "[]\n"
    assert "no findings" in result.stderr


def test_an_audit_that_nobody_answered_is_no_connection(invoke: Invoke) -> None:
    result = invoke("dark", "quota", "audit")

    assert (result.exit_code, result.stdout) == (3, "")


def test_the_audit_on_a_cloud_finds_a_missing_default_and_its_command_mends_it(cloud: DemoCloud) -> None:
    for limit in [x for x in cloud.state.limits.values() if x.resource_name == VGPU]:
        del cloud.state.limits[limit.id]
    for registered in [x for x in cloud.state.registered_limits.values() if x.resource_name == VGPU]:
        del cloud.state.registered_limits[registered.id]

    found = [f for f in json.loads(run("quota", "audit", "-o", "json").stdout) if f["object"].endswith(VGPU)]
    assert found
    assert any("openstack registered limit create" in (f["command"] or "") for f in found)

    fixed = run("quota", "default", "4", "--yes", "--accept", "quota.capacity", "--accept", "quota.below-usage")
    assert fixed.exit_code == 0, fixed.stdout + fixed.stderr
    left = json.loads(run("quota", "audit", "-o", "json").stdout)
    assert not [f for f in left if f["id"] == found[0]["id"] and f["object"].endswith(VGPU)]


# --- totals -----------------------------------------------------------------------------------------------------------


def test_totals_are_rows_of_data(invoke: Invoke) -> None:
    totals = QuotaTotals(resource=VGPU, promised=26, unlimited=1, unknown=0, capacity=22, used=15, unreserved=None)
    result = invoke(
        lambda *_: msgspec.structs.replace(small_fleet(broken=False), quota_totals=(totals,)),
        "quota", "--totals", "-o", "json",
    )  # fmt: skip

    assert json.loads(result.stdout) == [
        {
            "resource": VGPU,
            "promised": 26,
            "unlimited": 1,
            "unknown": 0,
            "used": 15,
            "capacity": 22,
            "unreserved": None,
        }
    ]


def test_a_host_that_is_silent_makes_the_capacity_unknown_and_the_answer_partial(cloud: DemoCloud) -> None:
    result = run("quota", "--totals", "-o", "json")
    row = next(r for r in json.loads(result.stdout) if r["resource"] == VGPU)

    assert (result.exit_code, row["capacity"], row["unlimited"]) == (5, None, 1)
    assert row["promised"] == sum(v for name, v in limits(cloud).items() if name != "default" and v >= 0) + 2 * 4


# --- import -----------------------------------------------------------------------------------------------------------


def test_an_import_shows_what_is_there_and_what_would_be_created(cloud: DemoCloud) -> None:
    for registered in [x for x in cloud.state.registered_limits.values() if x.resource_name == "class:DISK_GB"]:
        del cloud.state.registered_limits[registered.id]
    before = dict(cloud.state.registered_limits)
    result = run("quota", "import", "--dry-run", "-o", "json")
    document = json.loads(result.stdout)
    by_name = {row["resource"]: row for row in document["rows"]}

    assert result.exit_code == 0, result.stderr
    assert by_name["servers"]["status"] == "exists"
    assert by_name["class:DISK_GB"]["status"] == "left-out"
    assert "class:DISK_GB" in document["missing"]
    assert all(plan["action"] == "quota.import" for plan in document["plans"])
    assert "nova-manage limits migrate_to_unified_limits" in document["nova_manage"]
    assert cloud.state.registered_limits == before


def test_an_import_creates_what_is_missing_and_the_next_one_has_nothing_to_do(cloud: DemoCloud) -> None:
    for registered in [x for x in cloud.state.registered_limits.values() if x.resource_name == "class:DISK_GB"]:
        del cloud.state.registered_limits[registered.id]
    first = run("quota", "import", "--proposals", "--yes", "-o", "json")
    document = json.loads(first.stdout)

    assert first.exit_code == 0, first.stdout + first.stderr
    assert {r["result"] for r in document["results"]} == {"done"}
    assert "class:DISK_GB" in {r["target"]["id"] for r in document["results"]}
    assert document["missing"] == []
    assert "default" in limits(cloud, "class:DISK_GB")

    second = run("quota", "import", "--proposals", "--yes", "-o", "json")
    assert (second.exit_code, json.loads(second.stdout)["results"]) == (0, [])
    assert "nothing to create" in second.stderr


def test_an_import_that_is_refused_by_nova_is_no_connection(cloud: DemoCloud) -> None:
    cloud.faults.http["compute"] = HttpFault(kind="status", status=503, path="os-quota")
    result = run("quota", "import", "--yes")

    assert (result.exit_code, result.stdout) == (3, "")
    assert "no connection" in result.stderr


def test_an_import_of_a_project_that_the_view_named(cloud: DemoCloud) -> None:
    document = json.loads(run("quota", "--project", "vdi", "import", "--dry-run", "-o", "json").stdout)

    assert project_id(cloud, "vdi") in document["nova_manage"]


# --- what if ----------------------------------------------------------------------------------------------------------


def test_no_for_want_of_quota_says_so_and_names_the_hosts(cloud: DemoCloud) -> None:
    result = run("quota", "what-if", "vdi", "desktop.a40-8q", "2", "-o", "json")
    answer = json.loads(result.stdout)

    assert (result.exit_code, answer["verdict"], answer["quota"]["verdict"]) == (4, "no", "no")
    assert {host["host"] for host in answer["capacity"]["hosts"]} == set(cloud.hosts)
    line = next(x for x in answer["quota"]["lines"] if x["resource"] == VGPU)
    assert (line["wanted"], line["limit"], line["verdict"]) == (2, 6, "no")


def test_yes_once_the_limit_is_raised(cloud: DemoCloud) -> None:
    assert run("quota", "what-if", "vdi", "desktop.a40-8q").exit_code == 4
    assert run("quota", "set", "vdi", "8", "--yes", "--accept", "quota.capacity").exit_code == 0
    result = run("quota", "what-if", "vdi", "desktop.a40-8q")

    assert result.exit_code == 0, result.stdout
    assert result.stdout.startswith("yes: 1 server of desktop.a40-8q in vdi\n")
    assert "\nquota: yes\n" in result.stdout
    assert "\ncapacity: yes" in result.stdout


def test_what_cannot_be_told_is_neither_yes_nor_no(cloud: DemoCloud) -> None:
    result = run("quota", "what-if", "ml-research", "m1.small", "-o", "json")

    assert json.loads(result.stdout)["verdict"] == "unknown"
    assert result.exit_code == 5


def test_without_placements_candidates_it_is_not_known(cloud: DemoCloud) -> None:
    """Whether CPU, memory and disk are free is for Placement to say; the first such request is the reading's own."""
    assert run("quota", "set", "vdi", "8", "--yes", "--accept", "quota.capacity").exit_code == 0
    cloud.faults.http["placement"] = HttpFault("status", status=500, path="/allocation_candidates")
    result = run("quota", "what-if", "vdi", "desktop.a40-8q")

    assert result.exit_code == 5, result.stdout
    assert "\nquota: yes\n" in result.stdout
    assert "\ncapacity: unknown: there are vGPUs for 1, but whether CPU, memory and disk are free" in result.stdout
    assert "allocation candidates: " in result.stderr
