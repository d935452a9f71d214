"""Nova: host aggregates, and the zone that a server may not leave."""

from __future__ import annotations

from tests.contract.cloud_under_test import COMPUTE, TEXT, CloudUnderTest, has


def test_aggregates_are_a_list_with_hosts_and_metadata(cloud: CloudUnderTest) -> None:
    for row in cloud.admin.get("compute", "/os-aggregates", COMPUTE)["aggregates"]:
        has(row, id=int, uuid=str, name=str, hosts=list, metadata=dict, availability_zone=TEXT)


def test_a_member_may_not_see_aggregates(cloud: CloudUnderTest) -> None:
    reply = cloud.member("GET", "compute", "/os-aggregates", version=COMPUTE)
    assert reply.status == 403
    assert "Policy doesn't allow" in reply.body["forbidden"]["message"]


def test_a_server_that_was_created_for_no_zone_is_bound_to_none(cloud: CloudUnderTest) -> None:
    rows = cloud.admin.get("compute", "/servers/detail", "2.96", all_tenants="1")["servers"]
    assert rows
    assert {row["pinned_availability_zone"] for row in rows} == {None}


def test_before_2_96_it_is_not_told(cloud: CloudUnderTest) -> None:
    rows = cloud.admin.get("compute", "/servers/detail", "2.95", all_tenants="1")["servers"]
    assert rows
    assert not any("pinned_availability_zone" in row for row in rows)
