"""What a limit that is not registered means: by Nova's release and, where one can be read, by nova.conf."""

from __future__ import annotations

import pytest

from vgpu_console.model.nova import NovaFacts
from vgpu_console.rules.quota_meaning import (
    enforcement,
    missing_limit_is_told,
    missing_limit_means,
    release_knows_strategy,
)

UNIFIED = "nova.quota.UnifiedLimitsDriver"
VGPU, SERVERS = "class:VGPU", "servers"


def nova(newest: str) -> NovaFacts:
    return NovaFacts(max_microversion=newest)


def conf(driver: str | None = None, strategy: str | None = None, listed: str | None = None) -> dict[str, str]:
    options = {
        "quota.driver": driver,
        "quota.unified_limits_resource_strategy": strategy,
        "quota.unified_limits_resource_list": listed,
    }
    return {name: value for name, value in options.items() if value is not None}


@pytest.mark.parametrize(
    ("newest", "options", "resource", "word", "evidence"),
    [
        # by the release alone
        ("2.96", None, VGPU, "zero", "older than 31"),
        ("2.96", conf(), SERVERS, "zero", "older than 31"),
        ("2.100", None, VGPU, "unlimited", "2.100"),
        ("2.104", conf(), VGPU, "unlimited", "by default"),
        ("2.104", None, SERVERS, "zero", "'servers'"),
        ("", None, VGPU, "unknown", "release is not known"),
        ("latest", None, VGPU, "unknown", "release is not known"),
        # an old Nova knows no strategy, whatever is in the file
        ("2.96", conf(UNIFIED, "ignore", VGPU), VGPU, "zero", "older than 31"),
        # require: only what is listed
        ("2.104", conf(UNIFIED, "require", f"servers,{VGPU}"), VGPU, "zero", "require"),
        ("2.104", conf(UNIFIED, "require", "servers, class:CUSTOM_X"), VGPU, "unlimited", "class:CUSTOM_X"),
        ("2.104", conf(UNIFIED, None, VGPU), VGPU, "zero", "require"),
        ("2.104", conf(UNIFIED, None, ""), SERVERS, "unlimited", "list empty"),
        # ignore: all but what is listed
        ("2.104", conf(UNIFIED, "ignore", VGPU), VGPU, "unlimited", "ignore"),
        ("2.104", conf(UNIFIED, "ignore", "class:CUSTOM_X"), VGPU, "zero", "ignore"),
        ("2.104", conf(UNIFIED, "ignore"), SERVERS, "unlimited", "ignore"),
        ("2.104", conf(UNIFIED, "ignore"), VGPU, "zero", "ignore"),
        # Nova refuses what it does not understand
        ("2.104", conf(UNIFIED, "perhaps"), VGPU, "zero", "perhaps"),
        # no quota of vGPUs at all
        ("2.104", conf("nova.quota.DbQuotaDriver"), VGPU, "unlimited", "DbQuotaDriver"),
        ("2.96", conf("nova.quota.NoopQuotaDriver"), VGPU, "unlimited", "NoopQuotaDriver"),
    ],
)
def test_a_missing_limit(newest: str, options: dict[str, str] | None, resource: str, word: str, evidence: str) -> None:
    meaning = missing_limit_means(nova(newest), {"gpu-01": options}, resource)
    assert meaning.word == word
    assert evidence in meaning.why


def test_it_is_unknown_where_hosts_contradict_each_other_for_this_resource() -> None:
    confs = {"a": conf(UNIFIED, "require", VGPU), "b": conf(UNIFIED, "ignore", VGPU)}
    assert missing_limit_means(nova("2.104"), confs).word == "unknown"
    assert missing_limit_means(nova("2.104"), confs, "class:CUSTOM_X").word == "unknown"
    same = {"a": conf(UNIFIED, "require", VGPU), "b": conf(UNIFIED, "ignore", "servers")}
    assert missing_limit_means(nova("2.104"), same).word == "zero"


def test_without_nova_it_is_unknown() -> None:
    assert missing_limit_means(None, {}).word == "unknown"


@pytest.mark.parametrize("options", [conf(UNIFIED, "require", VGPU), conf(UNIFIED, "ignore"), conf()])
def test_evidence_from_a_compute_host_says_that_another_file_decides(options: dict[str, str]) -> None:
    assert "nova-api" in missing_limit_means(nova("2.104"), {"gpu-01": options}).why


@pytest.mark.parametrize(
    ("confs", "word", "evidence"),
    [
        ({}, "unknown", "no nova.conf could be read"),
        ({"gpu-01": None}, "unknown", "no nova.conf could be read"),
        ({"gpu-01": {}}, "unknown", "nova.conf of gpu-01 does not set"),
        ({"gpu-01": conf(UNIFIED)}, "on", "UnifiedLimitsDriver in nova.conf of gpu-01"),
        ({"gpu-01": conf("UnifiedLimitsDriver")}, "on", "nova-api's own file decides"),
        ({"gpu-01": conf("nova.quota.DbQuotaDriver"), "gpu-02": None}, "off", "DbQuotaDriver"),
        ({"gpu-01": conf(UNIFIED), "gpu-02": conf()}, "on", "gpu-01"),
        ({"gpu-01": conf(UNIFIED), "gpu-02": conf("nova.quota.DbQuotaDriver")}, "unknown", "differs"),
        ({f"gpu-{n}": conf(UNIFIED) for n in range(9)}, "on", "gpu-0, gpu-1, gpu-2 and 6 more"),
    ],
)
def test_whether_limits_are_enforced(confs: dict[str, dict[str, str] | None], word: str, evidence: str) -> None:
    found = enforcement(confs)
    assert found.word == word
    assert evidence in found.why


@pytest.mark.parametrize(
    ("newest", "knows"),
    [("2.100", True), ("2.103", True), ("3.0", True), ("2.99", False), ("2.9", False), ("", None), ("2.x", None)],
)
def test_the_first_release_with_a_strategy_is_31(newest: str, knows: bool | None) -> None:
    assert release_knows_strategy(nova(newest)) is knows


@pytest.mark.parametrize(
    ("newest", "options", "told"),
    [
        ("2.104", None, False),
        ("2.104", conf(), False),
        # the driver alone says nothing of the strategy: that of nova-api may be set in its own file only
        ("2.104", conf(UNIFIED), False),
        ("2.104", conf(UNIFIED, None, VGPU), True),
        ("2.104", conf(UNIFIED, "ignore"), True),
        ("2.104", conf("nova.quota.DbQuotaDriver"), True),
        ("2.96", None, True),
        ("2.96", conf(UNIFIED), True),
        ("", None, False),
        ("", conf(UNIFIED, "ignore"), False),
        ("", conf("nova.quota.DbQuotaDriver"), True),
    ],
)
def test_whether_the_meaning_rests_on_more_than_a_default(
    newest: str, options: dict[str, str] | None, told: bool
) -> None:
    assert missing_limit_is_told(nova(newest), {"gpu-01": options}) is told
    if told:
        assert missing_limit_means(nova(newest), {"gpu-01": options}).word != "unknown"


def test_drivers_that_contradict_each_other_are_no_evidence() -> None:
    confs = {"a": conf(UNIFIED), "b": conf("nova.quota.DbQuotaDriver")}
    assert missing_limit_is_told(nova("2.104"), confs) is False
