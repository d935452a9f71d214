"""Why a server has no vGPU, or is in ERROR: one fact of a server in order is changed, and the chain tells that one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.rules.explain.base import (
    HERE,
    NOWHERE,
    SERVER,
    THERE,
    base,
    boot_failed,
    commands,
    difference,
    of_flavor,
    of_host_providers,
    said,
    server,
    statuses,
)
from tests.rules.explain.test_host import vendor
from tests.rules.migration.two_hosts import (
    MDEV,
    SPECS,
    Change,
    all_of,
    libvirt,
    of_libvirt,
    of_nova,
    of_server,
    of_status,
    providers,
    vf,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts
from vgpu_console.model.nova import MigrationFacts
from vgpu_console.model.placement import Allocation, Inventory

UNPLACED: dict[str, Any] = {"host": None, "hypervisor": None, "status": "ERROR", "vm_state": "error", "power_state": 0}
NO_HOST = "No valid host was found. There are not enough hosts available."
RETRIES = f"Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for {SERVER}."
LACKING = "Insufficient compute resources: mdev-capable resource is not available."


def of_guest(*domains: DomainFacts, mdevs: Any = None) -> Change:
    """Another view of the guests on the server's host."""

    def change(known: Facts) -> Facts:
        more = {} if mdevs is None else {"mdevs": mdevs}
        return of_libvirt(HERE, domains=domains, **more)(known)

    return change


def moved(status: str, destination: str | None = THERE, created: str = "2027-01-15T08:00:00Z") -> Change:
    """With a live migration of the server."""
    row = MigrationFacts(
        id=7, uuid="m-7", server_id=SERVER, source=HERE, destination=destination, status=status, created_at=created
    )
    return of_nova(migrations=(row,))


def given(*functions: int, host: str = HERE, holder: str = SERVER) -> Change:
    """Placement has given the server just these functions of a host."""

    def change(known: Facts) -> Facts:
        assert known.placement is not None
        rows = tuple(
            msgspec.structs.replace(
                p,
                allocations=(Allocation(holder, {"VGPU": 1}),)
                if p.uuid in [f"{host}-vf{n}" for n in functions]
                else (),
            )
            if p.parent_uuid
            else p
            for p in known.placement.providers
        )
        return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))

    return change


def with_ghosts(known: Facts) -> Facts:
    """gpu-02's functions are gone, and Placement keeps their providers."""
    mine = [p for p in providers(THERE) if p.parent_uuid]
    gone = [msgspec.structs.replace(p, name=p.name.replace("_41_", "_61_"), uuid=f"{p.uuid}-gone") for p in mine]
    assert known.placement is not None
    rows = (*known.placement.providers, *gone)
    return msgspec.structs.replace(known, placement=msgspec.structs.replace(known.placement, providers=rows))


def mdevs_of(known: Facts) -> Any:
    """The devices of the server's host."""
    return known.libvirt[HERE].mdevs


GUEST = DomainFacts(uuid=SERVER, name="instance-00000001", active=True, mdevs=(MDEV,))
NO_DEVICE = {"device": "fail", "match": None}

TABLE: list[tuple[str, Change, dict[str, Any], str, str]] = [
    (
        "its flavor asks for none",
        all_of(of_server(extra_specs={}), of_guest(mdevs=()), given()),
        {"flavor": "fail", "allocation": None, "device": None, "match": None},
        "flavor",
        "flavor train asks for a vGPU now, but did not when the server was made",
    ),
    (
        "its flavor asks for none, and its guest has one",
        of_server(extra_specs={}),
        {"flavor": "warn", "allocation": "warn"},
        "flavor",
        "asks for a vGPU now",
    ),
    (
        "its flavor cannot be seen",
        of_server(extra_specs=None),
        {"flavor": "unknown"},
        "flavor",
        "is not visible to this credential",
    ),
    (
        "allocation without device",
        of_guest(mdevs=()),
        NO_DEVICE,
        "device",
        "no guest of it there holds a vGPU, running or defined, though Placement has given it 0000:41:00.4",
    ),
    (
        "a guest without its hostdev",
        of_guest(msgspec.structs.replace(GUEST, mdevs=()), mdevs=()),
        NO_DEVICE,
        "device",
        "libvirt of gpu-01: its guest has no vGPU, though Placement has given it 0000:41:00.4",
    ),
    (
        "device without allocation",
        given(),
        {"allocation": "fail", "match": None},
        "allocation",
        "Placement has given it no vGPU: nothing keeps another server from its device",
    ),
    (
        "allocation on another host",
        given(1, host=THERE),
        {"allocation": "fail", "match": None},
        "allocation",
        "Placement has given it 1 on gpu-02, and Nova says gpu-01",
    ),
    (
        "allocation and device on two functions",
        given(1),
        {"match": "warn"},
        "match",
        "Placement has given it 0000:41:00.5, its device is on 0000:41:00.4",
    ),
    (
        "two were given",
        given(0, 1),
        {"allocation": "warn", "match": "warn"},
        "allocation",
        "its flavor asks for 1, Placement has given it 2",
    ),
    (
        "a guest that names a device which is not there",
        of_libvirt(HERE, mdevs=()),
        NO_DEVICE,
        "device",
        f"its guest names {MDEV}, which gpu-01 does not have: it would not start again",
    ),
    (
        "a device that is not started",
        lambda k: of_libvirt(
            HERE, mdevs=tuple(msgspec.structs.replace(m, active=False) for m in k.libvirt[HERE].mdevs)
        )(k),
        {"device": "fail"},
        "device",
        "is defined and not running",
    ),
    (
        "a guest on another host",
        lambda k: of_libvirt(THERE, domains=(msgspec.structs.replace(GUEST, mdevs=()),))(k),
        {"guest": "fail"},
        "guest",
        "Nova says gpu-01, but its guest is on gpu-02",
    ),
    (
        "libvirt is silent",
        lambda k: of_status("libvirt", HERE, error="gpu-01: refused", fetched_at=None)(
            msgspec.structs.replace(k, libvirt={THERE: libvirt(THERE)})
        ),
        {"device": "unknown", "match": None},
        "device",
        "which device its guest holds: libvirt of gpu-01: refused",
    ),
    (
        "Placement is silent",
        lambda k: of_status("placement", error="503")(msgspec.structs.replace(k, placement=None)),
        {"allocation": "unknown", "match": None},
        "allocation",
        "Placement: 503",
    ),
    (
        "shelved off its host",
        all_of(
            of_server(host=None, hypervisor=None, status="SHELVED_OFFLOADED", vm_state="shelved_offloaded"),
            of_guest(mdevs=()),
            given(),
        ),
        {"state": "warn", "allocation": None, "device": None, "match": None},
        "state",
        "it was shelved off its host and holds no device until it is unshelved",
    ),
    (
        "being built",
        all_of(of_server(host=None, status="BUILD", task_state="scheduling"), of_guest(mdevs=()), given()),
        {"state": "unknown", "allocation": None, "device": None, "match": None},
        "state",
        "it is being built (scheduling)",
    ),
    (
        "in ERROR while its guest runs",
        all_of(of_server(status="ERROR", vm_state="error"), moved("failed")),
        {"state": "fail", "fault": "warn"},
        "state",
        "Nova has it in ERROR since its migration to gpu-02 ended failed, but its guest runs on gpu-01",
    ),
    (
        "a fault of an earlier failure",
        all_of(
            of_server(status="ERROR", vm_state="error", fault=NO_HOST, fault_at="2027-01-14T08:00:00Z"),
            moved("cancelled"),
        ),
        {"state": "fail", "fault": "warn"},
        "fault",
        "the fault that Nova shows is of 2027-01-14T08:00:00Z, an earlier failure, and not the reason",
    ),
    (
        "a fault of this failure",
        all_of(
            of_server(status="ERROR", vm_state="error", fault="VFIO device broke", fault_at="2027-01-15T08:01:00Z"),
            moved("failed"),
        ),
        {"state": "fail", "fault": "fail"},
        "fault",
        "Nova's fault: “VFIO device broke”",
    ),
]


def test_a_server_in_order_has_its_vgpu_of_a_type_from_a_function() -> None:
    found = server(base())

    assert (found.verdict, found.summary, found.mends) == ("pass", "has its vGPU", ())
    assert said(found, "device") == f"its guest holds A100-20C on {vf(0)} (mdev {MDEV}) of gpu-01"
    assert {s.source: s.age_s for s in found.steps} == {"nova": 3.0, "libvirt": 7.0, "placement": 3.0}


@pytest.mark.parametrize(("change", "expected", "word", "words"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_one_fact_changes_its_own_steps(change: Change, expected: dict[str, Any], word: str, words: str) -> None:
    found = server(change(base()))

    assert difference(server(base()), found) == expected
    assert words in said(found, word)
    assert found.verdict == next(s for s in ("fail", "unknown", "warn", "pass") if s in statuses(found).values())


def test_shut_off_is_no_fault() -> None:
    off = msgspec.structs.replace(GUEST, active=False)
    found = server(all_of(of_server(status="SHUTOFF", vm_state="stopped", power_state=4), of_guest(off))(base()))

    assert found.verdict == "pass"
    assert said(found, "state") == "it is shut off: it keeps its vGPU, and nobody uses it"


def test_a_server_on_its_way_is_no_fault() -> None:
    found = server(all_of(of_server(status="MIGRATING", task_state="migrating"), moved("running"))(base()))

    assert found.verdict == "pass"
    assert said(found, "state") == "MIGRATING, on its way from gpu-01 to gpu-02"


def test_silence_of_the_host_in_error_is_unknown_and_proposes_no_reset() -> None:
    known = all_of(of_server(status="ERROR", vm_state="error"), moved("failed"))(base())
    found = server(msgspec.structs.replace(known, libvirt={}, ssh={}))

    assert "whether its guest runs on gpu-01 is not known" in said(found, "state")
    assert not [m for m in found.mends if m.action == "migrate.reset"]


@pytest.mark.parametrize(
    ("change", "command", "action"),
    [
        (
            all_of(of_server(status="ERROR"), moved("failed")),
            f"vgpu-console migrate reset {SERVER}",
            "migrate.reset",
        ),
        (of_guest(mdevs=()), f"openstack server reboot --hard {SERVER}", ""),
        (
            all_of(of_server(extra_specs={"resources1:VGPU": "1"}), of_guest(mdevs=())),
            f"openstack server shelve --offload --wait {SERVER} && openstack server unshelve {SERVER}",
            "",
        ),
        (
            all_of(of_server(extra_specs={}, flavor="plain"), of_guest(mdevs=()), given()),
            f"openstack server resize --flavor train {SERVER}",
            "",
        ),
    ],
    ids=["guest runs", "literal class", "numbered group", "plain"],
)
def test_what_mends_it(change: Change, command: str, action: str) -> None:
    found = server(change(base()))

    assert command in commands(found)
    assert action in [m.action for m in found.mends]


# --- a boot that failed -----------------------------------------------------------------------------------------------


def unplaced(fault: str | None, *more: Change) -> Facts:
    return all_of(
        of_server(**UNPLACED, fault=fault, fault_at="2027-01-15T08:00:00Z"), of_guest(mdevs=()), given(), *more
    )(base())


def test_a_device_that_could_not_be_made_names_the_hosts_where_that_is_so_now() -> None:
    found = server(unplaced(RETRIES, with_ghosts), boot_failed(LACKING))

    assert statuses(found)["build"] == "fail"
    assert said(found, "build") == (
        f"its build failed on gpu-02: “{LACKING}”: Placement gave a device that cannot be made (now so on gpu-02: "
        "explain host gpu-02)"
    )
    assert found.summary.startswith("has no vGPU and is in ERROR: its build failed on gpu-02")
    assert statuses(found)["false-offers"] == "warn"


def test_retries_say_nothing_themselves_so_the_suspects_are_named() -> None:
    found = server(unplaced(RETRIES, with_ghosts))

    assert "only nova-compute's log says (now so on gpu-02" in said(found, "build")


def test_no_valid_host_goes_on_with_the_flavors_own_chain() -> None:
    lost = of_host_providers(THERE, traits=())
    found = server(unplaced(NO_HOST, lost, of_host_providers(HERE, traits=())), answer=NOWHERE)

    assert statuses(found)["build"] == "fail"
    assert statuses(found)["traits"] == "fail"
    assert [p.name for p in found.places] == [HERE, THERE]
    assert "none of 4 devices with VGPU has CUSTOM_A100_20C" in found.summary
    assert "would fail again now" in said(found, "again")


def test_where_a_host_would_be_found_now_it_is_said_that_nova_does_not_try_again() -> None:
    found = server(unplaced(NO_HOST))

    assert statuses(found)["candidates"] == "pass"
    assert "delete it, create it anew" in said(found, "again")


def test_another_error_of_the_build_is_told_in_novas_words() -> None:
    found = server(unplaced(None), boot_failed("Virtual Interface creation failed"))

    assert said(found, "build") == (
        "compute__do_build_and_run_instance failed on gpu-02: “Virtual Interface creation failed”"
    )


def test_a_plain_server_that_was_never_placed_is_not_told_about_devices() -> None:
    known = all_of(of_server(**UNPLACED, extra_specs={}, fault=NO_HOST), of_guest(mdevs=()), given())(base())

    assert "device" not in statuses(server(known))


def test_asked_for_by_alias_need_not_be_counted_by_placement() -> None:
    known = all_of(of_server(extra_specs={"pci_passthrough:alias": "A100:1"}), given())(base())

    assert statuses(server(known))["allocation"] == "pass"
    assert statuses(server(known))["flavor"] == "pass"


def test_a_function_that_lost_its_type_is_why_its_guest_has_no_vgpu() -> None:
    known = all_of(of_server(extra_specs={"pci_passthrough:alias": "L40S:1"}), given())(base())
    known = vendor(known, HERE, typed=0)
    guest = DomainFacts(uuid=SERVER, name="instance-00000001", active=True, pci=(vf(1),))
    found = server(of_libvirt(HERE, mdevs=(), domains=(guest,))(known))

    assert said(found, "device") == f"its guest is given {vf(1)}, which has no vGPU type now: it is lost at each boot"
    assert [m.action for m in found.mends] == ["vgpu-type.set"]


def test_two_guests_that_name_one_device() -> None:
    other = msgspec.structs.replace(GUEST, uuid="other", name="instance-00000002")
    found = server(of_guest(GUEST, other)(base()))

    assert said(found, "device") == f"{MDEV}: the guests of several servers name it, and one of them can run"
    assert statuses(found)["device"] == "fail"


def test_what_the_server_keeps_counts_and_not_what_its_flavor_has_become() -> None:
    found = server(of_flavor(replace=True)(base()))

    assert found.verdict == "pass", f"the server keeps {SPECS}"


def test_an_inventory_of_two_does_not_confuse() -> None:
    offer = (Inventory(resource_class="VGPU", total=2, max_unit=2),)

    assert server(of_host_providers(HERE, inventories=offer)(base())).verdict == "pass"
