"""Scrubbing: what is anybody's goes, the same by the same; what helps somebody stays."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders.fleet import small_fleet
from tests.recording.made_up import snapshots
from vgpu_console.model.evidence import Evidence
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.snapshot import Finding, Snapshot
from vgpu_console.recording.harmless import harmless_shape, harmless_word
from vgpu_console.recording.scrub import RULES, Scrubber, rules_of, scrubbed_snapshot

NAMES = st.one_of(
    st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_."), min_size=6, max_size=20),
    st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=6, max_size=20),
)
"""Long enough that they do not stand in other words by chance."""


@pytest.fixture(scope="module")
def pair() -> tuple[Snapshot, Snapshot]:
    """A fleet, and the same scrubbed."""
    fleet = small_fleet()
    return fleet, scrubbed_snapshot(fleet)[0]


def test_no_name_or_id_of_the_fleet_is_left(pair: tuple[Snapshot, Snapshot]) -> None:
    fleet, scrubbed = pair
    names = {f'"{fleet.identity.cloud}"', "ml-research", "gpu-0"}
    names |= {h.name for h in fleet.hosts} | {s.name for s in fleet.servers} | {s.id for s in fleet.servers}
    names |= {p.uuid for p in fleet.providers} | {m.uuid for m in fleet.mdevs if m.uuid}
    names |= {q.project_id for q in fleet.quotas} | {m.uuid for m in fleet.migrations}
    text = msgspec.json.encode(scrubbed).decode()
    assert [name for name in names if name in text] == []


def test_how_things_hang_together_stays(pair: tuple[Snapshot, Snapshot]) -> None:
    fleet, scrubbed = pair
    hosts = {h.name for h in scrubbed.hosts}
    assert len(hosts) == len(fleet.hosts)
    assert {g.host for h in scrubbed.hosts for g in h.gpus or ()} <= hosts
    assert {s.host for s in scrubbed.servers if s.host} <= hosts
    assert {m.server_id for m in scrubbed.mdevs if m.server_id} <= {s.id for s in scrubbed.servers}
    by_project = {s.project: s.project_id for s in scrubbed.servers}
    assert {(q.project, q.project_id) for q in scrubbed.quotas} >= set(by_project.items())
    devices = [m.uuid for m in fleet.mdevs]
    assert [d in devices for s in fleet.servers for d in s.devices] == [
        d in [m.uuid for m in scrubbed.mdevs] for s in scrubbed.servers for d in s.devices
    ]
    roots = {p.uuid for p in scrubbed.providers}
    assert all(p.parent_uuid in roots for p in scrubbed.providers if p.parent_uuid)


def test_what_helps_is_as_it_was(pair: tuple[Snapshot, Snapshot]) -> None:
    fleet, scrubbed = pair
    for old, new in zip(fleet.hosts, scrubbed.hosts, strict=True):
        assert (old.driver, old.kernel, old.mdevs_used, old.service_state) == (
            new.driver,
            new.kernel,
            new.mdevs_used,
            new.service_state,
        )
        for a, b in zip(old.gpus or (), new.gpus or (), strict=True):
            assert (a.address, a.model, a.types[0].type_name, a.active_type) == (
                b.address,
                b.model,
                b.types[0].type_name,
                b.active_type,
            )
    assert [s.fetched_at for s in fleet.sources] == [s.fetched_at for s in scrubbed.sources]


def test_two_scrubbings_have_nothing_in_common() -> None:
    one, other = (scrubbed_snapshot(small_fleet())[0] for _ in range(2))
    assert {h.name for h in one.hosts} & {h.name for h in other.hosts} == set()
    assert {s.id for s in one.servers} & {s.id for s in other.servers} == set()


@pytest.mark.parametrize(
    "text",
    [
        "no answer within 5 s",
        "the driver differs: 550.54.16, 550.90.05",
        "live_migration_permit_post_copy is on: QEMU refuses to move any vGPU",
        "GRID A100-20C on 0000:41:00.4: inactive",
        "/sys/class/mdev_bus/0000:41:00.4/mdev_supported_types/nvidia-472/description",
        "Linux 5.14.0-427.13.1.el9_4.x86_64, QEMU 8.2.0",
        "ssh: connect to host port 22: No route to host",
        "2026-09-21T14:05:30Z, 14:05, 68 %, 512MiB",
        "devices.enabled_mdev_types = nvidia-472",
    ],
)
def test_texts_of_this_program_and_the_system_stay(text: str) -> None:
    assert Scrubber().text(text) == text


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("no route to 10.20.30.40 from 192.168.7.1:5000", ["10.20.30.40", "192.168.7.1"]),
        ("fe80::5054:ff:fe12:3456 and 2001:db8::1. and ::1", ["fe80", "2001:db8", "5054"]),
        ("52:54:00:12:34:56 is a MAC", ["52:54", "34:56"]),
        ("https://keystone.acme.example:5000/v3/auth", ["acme", "keystone.acme"]),
        ("qemu+ssh://root@gpu17.dc1.acme.net/system", ["acme", "gpu17", "dc1"]),
        ("mail alice.smith@acme.com", ["alice", "smith", "acme"]),
        ("/home/alice/.ssh/id_ed25519_acme", ["alice", "acme"]),
        ("server 4b20d080-0000-4048-85b3-000001000002 of 7c1f3b0d2a9e4f5c8b6a1d2e3f405162", ["4b20d080", "7c1f3b0d"]),
        ("password=driver token: mediated 'secret': \"read only words\"", ["driver", "mediated", "read only"]),
        ("X-Auth-Token: gAAAAABmXq3kd8fJ Authorization: Bearer eyJhbGciOi", ["gAAAA", "eyJ"]),
        ("https://nova:nova@controller/", ["nova@", ":nova"]),
        ("call 555123456789", ["555123456789"]),
        ("研究所 Ünïcödé", ["研究", "Ünï"]),
        ("acme‑gpu\u00a0x", ["acme"]),
    ],
)
def test_everything_else_is_replaced(text: str, gone: list[str]) -> None:
    scrubbed = Scrubber().text(text)
    assert [word for word in gone if word in scrubbed] == []


def test_the_same_address_is_the_same_stand_in() -> None:
    scrub = Scrubber()
    one = scrub.text("10.1.2.3 refused; 10.1.2.4 too").split()
    assert scrub.text("again 10.1.2.3").split()[1] == one[0]
    assert one[0] != one[2]


def test_short_and_full_names_of_a_host_belong_together() -> None:
    scrub = Scrubber()
    scrub.learn(small_fleet().hosts)
    short, full = scrub.host("gpu-04"), scrub.host("gpu-04.dc1.acme.net")
    assert full.startswith(f"{short}.")
    assert scrub.text("gpu-04 is gpu-04.dc1.acme.net").split()[0] == short
    assert "acme" not in full


def test_a_name_that_is_an_ordinary_word_is_found_where_it_is_learnt() -> None:
    fleet = Snapshot(
        identity=CloudIdentity(cloud="driver"),
        findings=(
            Finding(
                id="driver-differs",
                severity="warn",
                object="host x",
                message="the driver of research lab & co differs",
                host="research lab & co",
                evidence=(Evidence("ssh", "gpu", "driver 550"),),
            ),
        ),
    )
    scrubbed, _ = scrubbed_snapshot(fleet)
    finding = scrubbed.findings[0]
    assert finding.id == "driver-differs"
    assert finding.message == f"the {scrubbed.identity.cloud} of {finding.host} differs"


def test_custom_classes_and_traits_are_still_such() -> None:
    fleet = small_fleet()
    provider = msgspec.structs.replace(fleet.providers[0], traits=("CUSTOM_ACME_GOLD", "HW_CPU_X86_AVX2"))
    server = msgspec.structs.replace(fleet.servers[0], requested={"CUSTOM_ACME": 1, "VGPU": 1})
    quota = msgspec.structs.replace(fleet.quotas[0], resource="class:CUSTOM_ACME")
    scrubbed, _ = scrubbed_snapshot(
        msgspec.structs.replace(fleet, providers=(provider,), servers=(server,), quotas=(quota,))
    )
    custom, standard = scrubbed.providers[0].traits or ()
    assert custom.startswith("CUSTOM_TRAIT_")
    assert standard == "HW_CPU_X86_AVX2"
    (asked, vgpu) = scrubbed.servers[0].requested
    assert vgpu == "VGPU"
    assert scrubbed.quotas[0].resource == f"class:{asked}"


def test_nova_conf_keeps_what_concerns_vgpus() -> None:
    fleet = small_fleet()
    conf = {
        "devices.enabled_mdev_types": "nvidia-472, nvidia-473",
        "mdev_nvidia-472.max_instances": "2",
        "mdev_nvidia-472.device_addresses": "0000:41:00.4,0000:41:00.5",
        "libvirt.live_migration_downtime": "500000",
        "libvirt.live_migration_inbound_addr": "10.9.8.7",
        "DEFAULT.transport_url": "rabbit://nova:S3cretSauce@mq.acme.example:5672/",
        "database.connection": "driver",
    }
    host = msgspec.structs.replace(fleet.hosts[0], nova_conf=conf)
    scrubbed, _ = scrubbed_snapshot(msgspec.structs.replace(fleet, hosts=(host,)))
    kept = scrubbed.hosts[0].nova_conf or {}
    assert list(kept) == list(conf)
    assert [key for key in conf if kept[key] == conf[key]] == list(conf)[:4]
    assert kept["libvirt.live_migration_inbound_addr"].startswith("address-")
    assert kept["DEFAULT.transport_url"] == kept["database.connection"] == "(left out)"


def test_rules_name_fields_that_there_are() -> None:
    """A field that is renamed must not fall back to the rule for text without anybody noticing."""
    for kind, rules in RULES.items():
        assert set(rules) <= set(kind.__struct_fields__), kind
        assert set(rules_of(kind)) == set(kind.__struct_fields__)


@settings(max_examples=40, deadline=None)
@given(name=NAMES, kind=st.sampled_from(["host", "project", "server", "user", "flavor", "error", "object", "reason"]))
def test_no_name_whatsoever_is_left_wherever_it_stands(name: str, kind: str) -> None:
    assume(any(c.isalnum() for c in name) and name == name.strip())
    assume(not any(harmless_word(w) or harmless_shape(w) for w in (name, name.strip("._-"), *name.split())))
    fleet = small_fleet()
    server, host, source = fleet.servers[0], fleet.hosts[0], fleet.sources[0]
    finding = Finding(id="vfs-off", severity="fail", object=f"server {name}", message=f"{name}: is off ({name})")
    changes: dict[str, object] = {"findings": (finding,)}
    if kind == "host":
        changes["hosts"] = (msgspec.structs.replace(host, name=name),)
    elif kind in ("project", "server", "flavor"):
        field = {"server": "name"}.get(kind, kind)
        changes["servers"] = (msgspec.structs.replace(server, **{field: name}),)
    elif kind == "user":
        changes["identity"] = msgspec.structs.replace(fleet.identity, user=name)
    elif kind in ("error", "reason"):
        changes["sources"] = (msgspec.structs.replace(source, error=f"cannot reach {name}", notes=(name,)),)
    scrubbed, _ = scrubbed_snapshot(msgspec.structs.replace(fleet, **changes))
    assert name not in _texts(msgspec.to_builtins(scrubbed))


def _texts(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{_texts(k)}\n{_texts(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(map(_texts, value))
    return str(value)


@settings(max_examples=15, deadline=None)
@given(shown=snapshots(most=1))
def test_any_snapshot_can_be_scrubbed_and_keeps_its_shape(shown: list[Snapshot]) -> None:
    scrubbed, _ = scrubbed_snapshot(shown[0])
    assert len(scrubbed.hosts) == len(shown[0].hosts)
    assert msgspec.json.decode(msgspec.json.encode(scrubbed), type=Snapshot).taken_at == shown[0].taken_at
