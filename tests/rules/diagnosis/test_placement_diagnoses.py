"""What Placement says against hosts, nova.conf and Nova: each fleet is ill of one, and with a fact changed no more."""

from __future__ import annotations

import shlex

import msgspec
import pytest

from tests.rules.diagnosis.cloud_facts import (
    flavor,
    found,
    held_by,
    named,
    on,
    one,
    providers,
    service,
    total,
    traits,
    unread,
)
from tests.rules.diagnosis.ill_facts import (
    NOW,
    Change,
    conf,
    facts_of,
    failing,
    findings,
    libvirt,
    migrating,
    nova,
    server,
    ssh,
    told,
    without,
)
from vgpu_console.fleet.join import Joiner
from vgpu_console.model.facts import Facts
from vgpu_console.model.source import SourceKind
from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.rules.diagnosis import allocations, capacity, computes, flavors
from vgpu_console.rules.diagnosis import providers as of_providers
from vgpu_console.rules.diagnosis.host_types import host_types
from vgpu_console.rules.nova_conf import types_for_device

CHAPTERS = (of_providers.CHAPTER, capacity.CHAPTER, allocations.CHAPTER, flavors.CHAPTER, computes.CHAPTER)
DIAGNOSES = [d for chapter in CHAPTERS for d in chapter.diagnoses]

TYPE = "nvidia-559"
FIRST = "gpu-03_pci_0000_41_00_4"
"""The provider of a function of gpu-03 that a server holds."""


EITHER = {("capacity-over-reported", "libvirt"), ("capacity-stranded", "libvirt")}
"""Where libvirt is silent, the host's own files tell what its GPUs can carry."""


@pytest.mark.parametrize(
    ("diagnosis", "kind"),
    [(d.id, kind) for d in DIAGNOSES for kind in d.needs if (d.id, kind) not in EITHER],
    ids=lambda value: str(value),
)
def test_without_a_source_that_it_needs_nothing_is_told(diagnosis: str, kind: SourceKind) -> None:
    facts = facts_of(f"ill-{diagnosis}")
    assert diagnosis in told(facts)
    assert diagnosis not in told(without(kind)(facts))


@pytest.mark.parametrize(
    ("diagnosis", "kind"),
    [
        ("ghost-provider", "libvirt"),
        ("provider-undeletable", "libvirt"),
        ("provider-counts-inactive", "libvirt"),
        ("cap-below-use", "placement"),
        ("cap-order-unstable", "placement"),
        ("allocation-on-other-host", "nova"),
        ("allocation-on-other-host", "placement"),
        ("compute-not-started", "libvirt"),
    ],
)
def test_an_answer_from_before_a_failure_is_held_against_nothing(diagnosis: str, kind: SourceKind) -> None:
    assert diagnosis not in told(failing(kind)(facts_of(f"ill-{diagnosis}")))


NOT_TOLD: dict[str, tuple[str, Change]] = {
    # why it is no illness: the diagnosis, and the fact that is another way
    "nothing is offered there": ("ghost-provider", providers(total(0), named("e2_00_4"))),
    "it is another PCI device that Nova tracks": (
        "ghost-provider",
        providers(lambda p: {"name": p.name.replace("_pci_0000_e2_00_4", "_0000:E2:00.4")}, named("e2_00_4")),
    ),
    "libvirt could not tell of every device": (
        "ghost-provider",
        libvirt("gpu-04", lambda _: {"skipped": ("one: broken",)}),
    ),
    "the function carries what nova.conf says": (
        "provider-undeletable",
        conf("gpu-03", mdev_nvidia_562__device_addresses=None),
    ),
    "nobody holds the function": ("provider-undeletable", providers(held_by(), on("gpu-03"))),
    "its holder is being moved": ("provider-undeletable", migrating("desk-01")),
    "its holder is being built": ("provider-undeletable", server("desk-01", status="BUILD", task_state="spawning")),
    "each function is offered once": ("provider-counts-inactive", providers(total(1), on("gpu-04"))),
    "the device was started since": ("provider-counts-inactive", libvirt("gpu-04", lambda _: {"mdevs": ()})),
    "none has the trait": ("trait-lost", providers(traits("OWNER_NOVA"), on("gpu-04"))),
    "traits were not read": ("trait-lost", providers(lambda _: {"traits": None}, on("gpu-04"))),
    "Placement offers what fits": (
        "capacity-over-reported",
        providers(total(0), lambda p: p.name > "gpu-04_pci_0000_41_01"),
    ),
    "no cap": ("capacity-stranded", conf("gpu-01", mdev_nvidia_472__max_instances=None)),
    "the cap is what fits": ("capacity-stranded", conf("gpu-01", mdev_nvidia_472__max_instances="4")),
    "the cap is of another type": (
        "capacity-stranded",
        conf("gpu-01", mdev_nvidia_471__max_instances="2", mdev_nvidia_472__max_instances=None),
    ),
    "the cap is as high as the use": ("cap-below-use", conf("gpu-02", mdev_nvidia_472__max_instances="2")),
    "those that exceed the cap are in motion": (
        "cap-below-use",
        server("vm-train-3", status="RESIZE", task_state="resize_prep"),
    ),
    "the cap cuts nothing": ("cap-order-unstable", conf("gpu-03", mdev_nvidia_562__max_instances="32")),
    "nothing is in use": ("cap-order-unstable", providers(held_by(), on("gpu-03"))),
    "the server is where it holds": ("allocation-on-other-host", server("desk-01", host="gpu-04")),
    "the server is being moved there": ("allocation-on-other-host", migrating("desk-01")),
    "a device gives two": ("flavor-asks-too-many", providers(total(2), on("gpu-04"))),
    "it asks for one": ("flavor-asks-too-many", flavor("desktop.two", resources__VGPU="1")),
    "a provider could not be read": ("flavor-asks-too-many", providers(unread, named(FIRST))),
    "a policy is there": ("flavor-without-group-policy", flavor("desktop.two", group_policy="isolate")),
    "one group alone": ("flavor-without-group-policy", flavor("desktop.two", resources2__VGPU=None)),
    "Nova is new enough": ("flavor-needs-newer-nova", nova(max_microversion="2.103")),
    "how new Nova is, is not known": ("flavor-needs-newer-nova", nova(max_microversion="")),
    "one device has the trait": ("flavor-trait-nowhere", providers(traits("CUSTOM_A40_8_Q"), named(FIRST))),
    "a device's traits were not read": ("flavor-trait-nowhere", providers(lambda _: {"traits": None}, named(FIRST))),
    "somebody offers the class": ("flavor-class-nowhere", providers(total(1, "CUSTOM_H100_10C"), named("gpu-04_pci"))),
    "a trait tells them apart": (
        "types-not-told-apart",
        providers(traits("CUSTOM_A40_16Q"), named("gpu-04_pci_0000_81")),
    ),
    "no flavor asks for VGPU alone": ("types-not-told-apart", flavor("desktop.any", trait__CUSTOM_X="required")),
    "another class tells them apart": (
        "types-not-told-apart",
        providers(total(1, "CUSTOM_BIG"), named("gpu-04_pci_0000_81")),
    ),
    "nova-compute is up": ("compute-not-started", service("gpu-04", state="up")),
    "it was forced down": ("compute-not-started", service("gpu-04", forced_down=True)),
    "somebody disabled it": ("host-auto-disabled", service("gpu-04", disabled_reason="firmware update")),
    "it was enabled again": ("host-auto-disabled", service("gpu-04", status="enabled")),
}


@pytest.mark.parametrize("case", NOT_TOLD)
def test_with_one_fact_another_way_it_is_not_told(case: str) -> None:
    diagnosis, change = NOT_TOLD[case]
    facts = facts_of(f"ill-{diagnosis}")
    assert diagnosis in told(facts)
    assert diagnosis not in told(change(facts))


@pytest.mark.parametrize(("diagnosis", "kind"), sorted(EITHER))
def test_what_the_host_itself_says_of_its_gpus_is_evidence_where_libvirt_is_silent(
    diagnosis: str, kind: SourceKind
) -> None:
    facts = without(kind)(facts_of(f"ill-{diagnosis}"))
    (finding,) = (f for f in findings(facts) if f.id == diagnosis)
    assert kind not in {e.source for e in finding.evidence}


SAID: dict[str, tuple[str, ...]] = {
    "provider-undeletable": (
        "1 function is in use",
        "gives it no type, not NVIDIA A40-8Q",
        "server desk-01",
        "of project vdi",
    ),
    "capacity-over-reported": ("Placement offers 32", "allows 6", "26 over-reported", "no max_instances"),
    "capacity-stranded": ("max_instances = 2", "2 GPUs × 2 = 4 fit", "2 are never offered", "what one GPU carries"),
    "cap-below-use": ("max_instances = 1", "2 are in use", "2 - 1 = 1 providers", "server vm-train-2", "ml-research"),
    "cap-order-unstable": ("keeps 6 of the 32 functions", "2 are in use", "server desk-02"),
    "allocation-on-other-host": ("holds 1 on gpu-04 and is on gpu-03, where it holds no vGPU",),
    "flavor-asks-too-many": ("resources:VGPU=2", "each gives 1", "group_policy"),
    "flavor-class-nowhere": ("CUSTOM_H100_10C, which no provider offers",),
    "trait-lost": ("without CUSTOM_A40_8Q", "the other 5", "flavors that require it: desktop.a40-8q"),
    "types-not-told-apart": ("NVIDIA A40-16Q", "NVIDIA A40-8Q", "desktop.any"),
    "host-auto-disabled": ("Auto-disabled due to 10 build failures",),
}


@pytest.mark.parametrize("diagnosis", SAID)
def test_the_message_has_the_figures_and_names_who_is_hurt(diagnosis: str) -> None:
    message = one(f"ill-{diagnosis}", diagnosis).message
    for words in SAID[diagnosis]:
        assert words in message


@pytest.mark.parametrize("diagnosis", [d.id for d in DIAGNOSES])
def test_every_command_is_one_that_a_shell_takes(diagnosis: str) -> None:
    command = one(f"ill-{diagnosis}", diagnosis).command
    for part in command.split(" && "):
        words = shlex.split(part)
        assert not words or words[0] in ("openstack", "vgpu-console", "ssh", "for")
        assert "" not in words


def test_where_providers_were_not_read_what_they_offer_is_told_as_not_looked_at() -> None:
    facts = providers(unread, named(FIRST))(facts_of("well"))
    (left,) = Joiner(load_catalogue()).join(facts, NOW).unlooked
    assert (left.source, left.reason) == ("placement", "what some providers offer could not be read")
    assert {"flavor-class-nowhere", "trait-lost"} <= set(left.ids)


@pytest.mark.parametrize(
    ("hidden", "diagnosis"), [("migrations", "migration-stuck"), ("services", "host-auto-disabled")]
)
def test_what_a_lesser_role_is_not_shown_is_told_as_not_looked_at(hidden: str, diagnosis: str) -> None:
    facts = nova(**{hidden: None})(facts_of("well"))
    (left,) = Joiner(load_catalogue()).join(facts, NOW).unlooked
    assert hidden in left.reason
    assert diagnosis in left.ids


def test_where_nova_conf_was_not_read_its_caps_are_told_as_not_looked_at() -> None:
    facts = ssh("gpu-03", lambda _: {"nova_conf": None})(facts_of("ill-cap-order-unstable"))
    snapshot = Joiner(load_catalogue()).join(facts, NOW)
    assert "cap-order-unstable" not in {f.id for f in snapshot.findings}
    (left,) = (u for u in snapshot.unlooked if "cap-order-unstable" in u.ids)
    assert left.hosts == ("gpu-03",)


def test_a_lost_trait_is_given_back_beside_those_that_are_there() -> None:
    words = shlex.split(one("ill-trait-lost", "trait-lost").command)
    assert [words[n + 1] for n, w in enumerate(words) if w == "--trait"] == ["CUSTOM_A40_8Q", "OWNER_NOVA"]


def test_a_host_whose_providers_were_all_made_anew_is_found_by_the_others() -> None:
    facts = providers(traits("OWNER_NOVA"), on("gpu-01"))
    assert not [f for f in found("well", facts) if f.id == "trait-lost"]  # one other host alone may be the odd one

    def alike(name: str, other: str) -> Change:
        """Another host with the GPUs, nova.conf and providers of one that is there."""

        def change(facts: Facts) -> Facts:
            placement = facts.placement
            assert placement is not None
            copies = tuple(
                msgspec.structs.replace(
                    p,
                    uuid=p.uuid.replace("-", "+"),
                    root_uuid=p.root_uuid.replace("-", "+"),
                    parent_uuid=p.parent_uuid and p.parent_uuid.replace("-", "+"),
                    name=p.name.replace(name, other),
                    allocations=(),
                )
                for p in placement.providers
                if p.name.startswith(name)
            )
            return msgspec.structs.replace(
                facts,
                placement=msgspec.structs.replace(placement, providers=(*placement.providers, *copies)),
                libvirt=facts.libvirt
                | {other: msgspec.structs.replace(facts.libvirt[name], host=other, mdevs=(), domains=())},
                ssh=facts.ssh | {other: msgspec.structs.replace(facts.ssh[name], host=other)},
            )

        return change

    finding = one("well", "trait-lost", alike("gpu-02", "gpu-07"), facts)
    assert finding.object == "host gpu-01"
    assert "all of the other 2 hosts with it have it" in finding.message


def test_a_type_that_was_changed_under_a_server_is_told_with_both() -> None:
    finding = one("well", "provider-undeletable", conf("gpu-03", devices__enabled_mdev_types="nvidia-564"))
    assert "nvidia-564, not NVIDIA A40-8Q" in finding.message
    assert {e.source for e in finding.evidence} == {"placement", "libvirt", "ssh"}


def test_servers_that_could_not_be_deleted_are_named_by_a_cap_below_use() -> None:
    failed = server("vm-train-3", status="ERROR", fault="Failed to synchronize the placement service with resource …")
    finding = one("ill-cap-below-use", "cap-below-use", failed)
    assert "server vm-train-3" in finding.message
    assert "could not be deleted" in finding.message


def test_a_cap_on_gpus_without_sriov_leaves_out_whole_ones() -> None:
    cap = conf("gpu-05", mdev_nvidia_232__max_instances="3")
    finding = one("small", "capacity-stranded", cap)
    assert "max_instances = 3 of T4-4Q for the whole host, where 1 GPU × 4 = 4 fit: 4 are never" in finding.message
    assert "left out as a whole" in finding.message


def test_devices_that_give_more_and_lack_the_trait_do_not_help_a_flavor() -> None:
    """GPUs without SR-IOV give several at once: a flavor that requires another type's trait is not put on them."""
    change = providers(lambda p: {**total(4)(p), **traits("CUSTOM_T4_4Q")(p)}, on("gpu-01"))
    finding = one("ill-flavor-asks-too-many", "flavor-asks-too-many", change)
    assert "each gives 1" in finding.message
    assert "VGPU with CUSTOM_A40_8Q at once is 1" in finding.evidence[1].text


def test_a_cloud_of_vendor_vfio_alone_is_told_why_vgpu_is_nowhere() -> None:
    def only_gpu_05(facts: Facts) -> Facts:
        placement = facts.placement
        assert placement is not None
        kept = tuple(p for p in placement.providers if p.name.startswith("gpu-05"))
        return msgspec.structs.replace(
            facts,
            libvirt={"gpu-05": facts.libvirt["gpu-05"]},
            ssh={"gpu-05": facts.ssh["gpu-05"]},
            placement=msgspec.structs.replace(placement, providers=kept),
        )

    told_of = [f for f in found("well", only_gpu_05) if f.id == "flavor-class-nowhere"]
    assert {f.object for f in told_of} == {"flavor train.a100-20c", "flavor desktop.a40-8q"}
    assert all("vendor VFIO" in f.message and "PCI alias" in f.message for f in told_of)


def test_what_lost_libvirt_is_not_to_be_enabled_by_hand() -> None:
    finding = one(
        "ill-host-auto-disabled",
        "host-auto-disabled",
        service("gpu-04", disabled_reason="AUTO: Connection to libvirt lost: 1"),
    )
    assert "enables the host again when that is back" in finding.message
    assert "openstack" not in finding.command


def test_a_nova_compute_that_cannot_start_is_told_with_what_stops_it() -> None:
    finding = one("ill-mdev-parent-lost", "compute-not-started", service("gpu-04", state="down"))
    assert "does not start because of mdev gpu-04" in finding.message


CONFS: tuple[dict[str, str], ...] = (
    {},
    {"devices.enabled_mdev_types": "a"},
    {"devices.enabled_mdev_types": "a, b", "mdev_a.device_addresses": "0000:41:00.4"},
    {"devices.enabled_mdev_types": "a,b", "mdev_b.device_addresses": "0000:41:00.4,0000:41:00.5"},
    {
        "devices.enabled_mdev_types": "a,b,c",
        "mdev_a.device_addresses": "0000:41:00.4",
        "mdev_b.device_addresses": "0000:41:00.4",
    },
    {"devices.enabled_vgpu_types": "b", "vgpu_b.device_addresses": "0000:41:00.5"},
)


@pytest.mark.parametrize("read", CONFS)
def test_a_host_read_once_gives_each_function_the_type_that_the_rule_does(read: dict[str, str]) -> None:
    types = host_types(read)
    assert types is not None
    for address in ("0000:41:00.4", "0000:41:00.5", "0000:41:00.6"):
        assert types.of(address) == next(iter(types_for_device(read, (address,)) or ()), "")


def test_one_vgpu_too_many_on_another_host_is_told_once() -> None:
    """The server has the device that it is to have: what it holds elsewhere is no device that it lacks."""
    facts = facts_of("well")
    assert facts.nova is not None
    assert facts.placement is not None
    owner = next(s.id for s in facts.nova.servers or () if s.name == "desk-01")
    free = next(p for p in facts.placement.providers if on("gpu-04")(p) and p.allocations == ())
    assert told(providers(held_by(owner), lambda p: p.uuid == free.uuid)(facts)) == {"allocation-on-other-host"}
