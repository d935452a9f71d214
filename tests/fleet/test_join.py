"""The join of all sources: which mdev belongs to whom, what each project may and does use, and what is not known."""

from __future__ import annotations

import msgspec
import pytest

from tests.fleet.host_builders import A100_20C, Catalogue, domain, mdev, sriov_libvirt, sriov_ssh, vf
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import CloudIdentity, Facts
from vgpu_console.model.keystone import Endpoint, KeystoneFacts, Project, ProjectLimit, RegisteredLimit, Service
from vgpu_console.model.nova import ComputeService, Flavor, Hypervisor, MigrationFacts, NovaFacts, Server
from vgpu_console.model.placement import Allocation, Inventory, PlacementFacts, ResourceProvider
from vgpu_console.model.snapshot import ProjectQuota, Snapshot
from vgpu_console.model.source import SourceStatus

HELD, FREE = mdev(0), mdev(1)
GUEST = domain(1, HELD)


def provider(number: int, *, used_by: str | None = None, total: int = 1) -> ResourceProvider:
    address = vf(number).replace(":", "_").replace(".", "_")
    return ResourceProvider(
        uuid=f"rp-{number}",
        name=f"gpu-01.example_pci_{address}",
        generation=1,
        parent_uuid="root",
        root_uuid="root",
        inventories=(Inventory(resource_class="VGPU", total=total),),
        allocations=(Allocation(used_by, {"VGPU": 1}),) if used_by else (),
    )


ROOT = ResourceProvider(uuid="root", name="gpu-01.example", generation=1, root_uuid="root", inventories=())
NOVA = NovaFacts(
    services=(ComputeService(id="s1", host="gpu-01", state="up", status="enabled"),),
    hypervisors=(Hypervisor(id="h1", name="gpu-01.example", service_host="gpu-01"),),
    servers=(
        Server(
            id=GUEST.uuid,
            name="vm-train-7",
            project_id="p-ml",
            host="gpu-01",
            status="ACTIVE",
            extra_specs={"resources:VGPU": "1"},
        ),
        Server(id="plain", name="web", project_id="p-ml", host="gpu-01", status="ACTIVE", extra_specs={}),
    ),
)
KEYSTONE = KeystoneFacts(
    projects=(Project(id="p-ml", name="ml-research"), Project(id="p-vdi", name="vdi")),
    services=(Service("svc", "compute", "nova"),),
    endpoints=(Endpoint(id="e", service_id="svc", region_id="RegionOne", interface="public", url="http://nova"),),
    registered_limits=(
        RegisteredLimit(id="r", service_id="svc", region_id="RegionOne", resource_name="class:VGPU", default_limit=4),
    ),
    project_limits=(
        ProjectLimit(
            id="l",
            project_id="p-ml",
            domain_id=None,
            service_id="svc",
            region_id="RegionOne",
            resource_name="class:VGPU",
            resource_limit=10,
        ),
    ),
    limits_complete=True,
)
PLACEMENT = PlacementFacts(
    providers=(ROOT, provider(0, used_by=GUEST.uuid), *(provider(n) for n in range(1, 16))),
    usages={"p-ml": {"VGPU": 1}},
)
FACTS = Facts(
    identity=CloudIdentity(cloud="prod", region="RegionOne"),
    nova=NOVA,
    keystone=KEYSTONE,
    placement=PLACEMENT,
    libvirt={"gpu-01": sriov_libvirt(mdevs=[HELD, FREE], domains=[GUEST])},
    ssh={"gpu-01": sriov_ssh(conf={"devices.enabled_mdev_types": A100_20C}, described={A100_20C: 2})},
)


def join(facts: Facts) -> Snapshot:
    return Joiner(Catalogue()).join(facts, 100.0)


def but(**changes: object) -> Facts:
    return msgspec.structs.replace(FACTS, **changes)


def quota(snapshot: Snapshot, project: str, resource: str = "class:VGPU") -> ProjectQuota:
    return next(q for q in snapshot.quotas if q.project == project and q.resource == resource)


def test_an_mdev_is_tied_to_its_server_project_and_provider() -> None:
    held = next(m for m in join(FACTS).mdevs if m.uuid == HELD.uuid)
    assert (held.server, held.project, held.provider_uuid, held.gpu) == (
        "vm-train-7",
        "ml-research",
        "rp-0",
        "0000:41:00.0",
    )


def test_the_root_providers_name_may_differ_from_the_service_host() -> None:
    snapshot = join(FACTS)
    assert [h.name for h in snapshot.hosts] == ["gpu-01"]
    assert {p.host for p in snapshot.providers} == {"gpu-01"}
    assert snapshot.hosts[0].known_from == ("nova", "placement", "libvirt", "ssh")


def test_the_host_sums_its_gpus_against_the_real_maximum() -> None:
    host = join(FACTS).hosts[0]
    assert (host.mdevs_created, host.mdevs_used, host.mdevs_max, host.mdevs_free) == (2, 1, 2, 1)
    assert (host.driver, host.libvirt, host.qemu) == ("550.90.05", "10.0.0", "8.2.0")


def test_only_servers_with_vgpus_are_listed() -> None:
    (server,) = join(FACTS).servers
    assert (server.name, server.vgpus, server.allocated, server.devices) == ("vm-train-7", 1, 1, (HELD.uuid,))


def test_each_projects_limit_says_where_it_comes_from() -> None:
    snapshot = join(FACTS)
    ml, vdi = quota(snapshot, "ml-research"), quota(snapshot, "vdi")
    assert (ml.limit, ml.origin, ml.used) == (10, "project", 1)
    assert (vdi.limit, vdi.origin, vdi.used) == (4, "default", 0)


@pytest.mark.parametrize("region_id", [None, "RegionTwo"])
def test_a_limit_registered_for_another_region_is_missing(region_id: str | None) -> None:
    assert KEYSTONE.registered_limits is not None
    elsewhere = msgspec.structs.replace(KEYSTONE.registered_limits[0], region_id=region_id)
    facts = but(keystone=msgspec.structs.replace(KEYSTONE, registered_limits=(elsewhere,), project_limits=()))
    row = quota(join(facts), "vdi")
    assert (row.limit, row.origin) == (None, "missing")


def limited(default: int, own: int) -> KeystoneFacts:
    """Keystone with these numbers for the default and for ml-research."""
    assert KEYSTONE.registered_limits is not None
    assert KEYSTONE.project_limits is not None
    return msgspec.structs.replace(
        KEYSTONE,
        registered_limits=(msgspec.structs.replace(KEYSTONE.registered_limits[0], default_limit=default),),
        project_limits=(msgspec.structs.replace(KEYSTONE.project_limits[0], resource_limit=own),),
    )


def test_a_row_tells_who_holds_what_and_what_is_left() -> None:
    row = quota(join(FACTS), "ml-research")
    assert (row.used_by_instances, row.used_by_migrations, row.leaked, row.in_flight) == (1, 0, 0, 0)
    assert (row.limit_id, row.default, row.free, row.missing_means) == ("l", 4, 9, None)


@pytest.mark.parametrize(("limit", "free"), [(10, 9), (1, 0), (0, 0), (-1, None)])
def test_what_is_free_is_never_below_nothing_and_unknown_without_an_end(limit: int, free: int | None) -> None:
    assert quota(join(but(keystone=limited(4, limit))), "ml-research").free == free


def test_totals_hold_the_promises_against_the_real_maximum() -> None:
    (total,) = join(FACTS).quota_totals
    assert (total.resource, total.promised, total.unlimited, total.unknown) == ("class:VGPU", 14, 0, 0)
    assert (total.capacity, total.used, total.unreserved) == (2, 1, 0)


def test_promises_within_the_maximum_leave_something_unreserved() -> None:
    (total,) = join(but(keystone=limited(0, 1))).quota_totals
    assert (total.promised, total.capacity, total.unreserved) == (1, 2, 1)


def test_a_project_without_an_end_leaves_nothing_to_count() -> None:
    (total,) = join(but(keystone=limited(4, -1))).quota_totals
    assert (total.promised, total.unlimited, total.unreserved) == (4, 1, None)


def test_without_the_hosts_capacity_is_unknown_and_not_placements_total() -> None:
    (total,) = join(but(libvirt={}, ssh={})).quota_totals
    assert (total.capacity, total.unreserved, total.promised) == (None, None, 14)


def test_devices_that_are_gone_are_no_capacity() -> None:
    facts = but(libvirt={"gpu-01": sriov_libvirt(enabled=0)}, ssh={"gpu-01": sriov_ssh(numvfs=0)})
    assert join(facts).quota_totals[0].capacity is None


@pytest.mark.parametrize(("newest", "word"), [("2.104", "unlimited"), ("2.96", "zero"), ("", "unknown")])
def test_a_missing_limit_says_what_it_means_here(newest: str, word: str) -> None:
    facts = but(
        keystone=msgspec.structs.replace(KEYSTONE, registered_limits=(), project_limits=()),
        nova=msgspec.structs.replace(NOVA, max_microversion=newest),
    )
    snapshot = join(facts)
    row, (total,) = quota(snapshot, "vdi"), snapshot.quota_totals
    assert (row.origin, row.missing_means, row.free) == ("missing", word, None)
    assert snapshot.missing_limit.word == word
    counted = {"unlimited": (None, 2, 0), "zero": (0, 0, 0), "unknown": (None, 0, 2)}[word]
    assert (total.promised, total.unlimited, total.unknown) == counted


def test_each_class_that_a_flavor_a_server_an_inventory_or_a_limit_names_has_rows() -> None:
    assert KEYSTONE.registered_limits is not None
    named = msgspec.structs.replace(KEYSTONE.registered_limits[0], id="r2", resource_name="class:CUSTOM_LIMITED")
    odd = msgspec.structs.replace(ROOT, inventories=(Inventory(resource_class="CUSTOM_OFFERED", total=1),))
    held = Server(id="s9", name="s9", project_id="p-ml", extra_specs={"resources3:CUSTOM_HELD": "1"})
    facts = but(
        keystone=msgspec.structs.replace(KEYSTONE, registered_limits=(*KEYSTONE.registered_limits, named)),
        placement=msgspec.structs.replace(PLACEMENT, providers=(odd, *PLACEMENT.providers[1:])),
        nova=msgspec.structs.replace(
            NOVA,
            servers=(*(NOVA.servers or ()), held),
            flavors=(Flavor(id="f", name="f", extra_specs={"resources:CUSTOM_ASKED": "1", "resources:PCPU": "1"}),),
        ),
    )
    assert sorted({q.resource for q in join(facts).quotas}) == [
        "class:CUSTOM_ASKED",
        "class:CUSTOM_HELD",
        "class:CUSTOM_LIMITED",
        "class:CUSTOM_OFFERED",
        "class:VGPU",
    ]


def test_what_the_quota_was_made_of_is_made_anew_when_it_changes() -> None:
    joiner = Joiner(Catalogue())
    first = joiner.join(FACTS, 100.0)
    assert joiner.join(FACTS, 101.0).quotas is first.quotas
    changed = but(keystone=limited(4, 0))
    assert joiner.join(changed, 102.0).quotas == join(changed).quotas
    assert "project-over-limit" in {f.id for f in joiner.join(changed, 102.0).quota_findings}


def test_limits_that_this_token_cannot_see_are_unknown_and_not_the_default() -> None:
    facts = but(keystone=msgspec.structs.replace(KEYSTONE, limits_complete=False, project_limits=()))
    row = quota(join(facts), "vdi")
    assert (row.limit, row.origin) == (None, "unknown")


def test_without_keystone_quota_rows_bear_ids_and_unknown_limits() -> None:
    (row,) = join(but(keystone=None)).quotas
    assert (row.project, row.limit, row.origin, row.used) == ("p-ml", None, "unknown", 1)


def test_without_placement_use_is_unknown() -> None:
    assert quota(join(but(placement=None)), "ml-research").used is None


def test_a_host_whose_libvirt_never_answered_shows_placements_figure_and_says_so() -> None:
    down = SourceStatus(kind="libvirt", host="gpu-01", error="no route to gpu-01", attempted_at=99.0)
    host = join(but(libvirt={}, statuses=(down,))).hosts[0]
    assert (host.mdevs_used, host.used_source, host.mdevs_created) == (1, "placement", None)
    assert host.errors == ("libvirt: no route to gpu-01",)


def test_a_host_that_only_placement_knows_still_appears() -> None:
    snapshot = join(Facts(placement=PLACEMENT))
    assert [(h.name, h.gpus, h.known_from) for h in snapshot.hosts] == [("gpu-01.example", None, ("placement",))]


def test_a_running_migration_has_progress_and_an_ended_one_has_not() -> None:
    running = MigrationFacts(
        id=1,
        uuid="m1",
        server_id=GUEST.uuid,
        source="gpu-01",
        destination="gpu-02",
        status="running",
        memory_total_bytes=1000,
        memory_remaining_bytes=320,
    )
    ended = msgspec.structs.replace(running, id=2, uuid="m2", status="completed")
    facts = but(nova=msgspec.structs.replace(NOVA, migrations=(ended, running)))
    rows = join(facts).migrations
    assert [(m.uuid, m.running, m.progress, m.vgpu) for m in rows] == [
        ("m1", True, 68, True),
        ("m2", False, None, True),
    ]


def test_an_mdev_whose_server_nova_does_not_know_keeps_its_id() -> None:
    facts = but(nova=msgspec.structs.replace(NOVA, servers=()))
    held = next(m for m in join(facts).mdevs if m.uuid == HELD.uuid)
    assert (held.server_id, held.server, held.used) == (GUEST.uuid, None, True)


def test_joining_with_a_warm_memory_gives_the_same_snapshot() -> None:
    joiner = Joiner(Catalogue())
    first = joiner.join(FACTS, 100.0)
    assert joiner.join(FACTS, 100.0) == first
    changed = but(libvirt={"gpu-01": sriov_libvirt(mdevs=[HELD], domains=[GUEST])})
    assert joiner.join(changed, 100.0) == join(changed)


def test_a_snapshot_survives_being_written_and_read() -> None:
    snapshot = join(FACTS)
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot) == snapshot


def finding_ids(facts: Facts) -> set[str]:
    return {f.id for f in join(facts).findings}


def test_over_reported_capacity_is_found_until_placement_offers_what_there_is() -> None:
    assert "capacity-over-reported" in finding_ids(FACTS)
    capped = msgspec.structs.replace(PLACEMENT, providers=PLACEMENT.providers[:3])
    in_order = finding_ids(but(placement=capped, keystone=limited(2, 1)))
    assert in_order <= {"completion-timeout", "downtime-ladder", "kernel-too-old"}, "these are of live migration"


def test_functions_that_are_off_are_found_with_the_providers_that_outlived_them() -> None:
    facts = but(libvirt={"gpu-01": sriov_libvirt(enabled=0)}, ssh={"gpu-01": sriov_ssh(numvfs=0)})
    assert {"vfs-off", "ghost-provider"} <= finding_ids(facts)


def test_a_defined_mdev_is_found() -> None:
    sleeping = mdev(2, active=False)
    facts = but(libvirt={"gpu-01": sriov_libvirt(mdevs=[HELD, sleeping], domains=[GUEST])})
    assert "mdev-not-active" in finding_ids(facts)


def test_free_mdevs_that_pin_a_size_are_found_only_where_nothing_is_in_use() -> None:
    other = {"gpu-01": sriov_ssh(conf={"devices.enabled_mdev_types": "nvidia-471"})}
    idle = {"gpu-01": sriov_libvirt(mdevs=[FREE])}
    assert "free-mdev-pins-type" in finding_ids(but(libvirt=idle, ssh=other))
    assert "free-mdev-pins-type" not in finding_ids(but(libvirt=idle))
    assert "free-mdev-pins-type" not in finding_ids(but(ssh=other))


def test_a_type_that_nova_does_not_enable_is_found() -> None:
    facts = but(ssh={"gpu-01": sriov_ssh(conf={"devices.enabled_mdev_types": "nvidia-471"})})
    assert "type-not-enabled" in finding_ids(facts)


def test_different_drivers_under_one_type_are_found_on_the_smaller_side() -> None:
    other = msgspec.structs.replace(sriov_ssh(conf={"devices.enabled_mdev_types": A100_20C}), nvidia_driver="550.54.16")
    same = FACTS.ssh["gpu-01"]
    libvirt = dict.fromkeys(("gpu-01", "gpu-02", "gpu-03"), FACTS.libvirt["gpu-01"])
    snapshot = join(but(libvirt=libvirt, ssh={"gpu-01": same, "gpu-02": other, "gpu-03": same}))
    assert [f.host for f in snapshot.findings if f.id == "driver-differs"] == ["gpu-02"]
