"""The support bundle: complete, private, and without anything that somebody would not want to give away."""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders.fleet import small_fleet
from tests.recording.bundles import NOW, decoded, opened
from vgpu_console.actions.journal import Entry
from vgpu_console.actions.plan import HttpStep, Plan, Target
from vgpu_console.config import load
from vgpu_console.model.snapshot import Snapshot, Unlooked
from vgpu_console.recording.bundle import write_bundle
from vgpu_console.recording.harmless import harmless_shape, harmless_word

SECRETS = {
    "password of clouds.yaml": "Tr0ub4dor-and-3",
    "token": "gAAAAABmVery-Long_Fernet-Token-Bytes-0123456789abcdef",
    "application credential": "kLmN0pQrStUvWxYz-secret-0987",
    "nova.conf database": "dbPassw0rd!x",
    "rabbit": "r4bb1tHole",
    "ssh key": "AAAAC3NzaC1lZDI1NTE5AAAAIJk",
    "bearer": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF123",
}
PLACES = ("acme-corp", "dc-fra-7", "10.77.66.55", "2001:db8:aaaa::7", "alice.liddell", "controller.acme-corp.example")


def entry() -> Entry:
    """A line of a journal with a plan in it."""
    plan = Plan(
        action="quota.set",
        title="Set class:VGPU of acme-corp to 10",
        target=Target(kind="project limit", id="77aa" * 8, name="acme-corp", key={"project_id": "77aa" * 8}),
        before={"limit": 4},
        after={"limit": 10},
        steps=(HttpStep(title="set", method="PATCH", service="limits", path=f"/v3/limits/{'77aa' * 8}"),),
        commands=(f"OS_TOKEN={SECRETS['token']} openstack limit set --resource-limit 10 {'77aa' * 8}",),
    )
    return Entry(
        at="2026-09-21T14:00:00.000Z",
        run="abcdef123456",
        event="begun",
        user="alice.liddell@bastion.acme-corp.example",
        source="10.77.66.55",
        cloud="acme-corp",
        plan=plan,
        message=f"password: {SECRETS['password of clouds.yaml']}",
    )


def poisoned() -> Snapshot:
    """A fleet whose every text field could tell a secret."""
    fleet = small_fleet()
    url = f"mysql+pymysql://nova:{SECRETS['nova.conf database']}@10.77.66.55/nova"
    conf = {"database.connection": url, "libvirt.live_migration_uri": f"x {SECRETS['rabbit']}", "devices.x": url}
    words = " ".join((*SECRETS.values(), *PLACES))
    hosts = tuple(
        msgspec.structs.replace(h, nova_conf=conf, errors=(words,), disabled_reason=words, cpu_model=words)
        for h in fleet.hosts
    )
    sources = tuple(msgspec.structs.replace(s, error=words, notes=(words,)) for s in fleet.sources)
    unlooked = Unlooked(source="ssh", hosts=("dc-fra-7",), ids=("vfs-off",), reason=words, access=words)
    findings = tuple(msgspec.structs.replace(f, message=words, command=words, why=words) for f in fleet.findings)
    identity = msgspec.structs.replace(fleet.identity, cloud="acme-corp", user="alice.liddell", scope=words)
    return msgspec.structs.replace(
        fleet, identity=identity, hosts=hosts, sources=sources, unlooked=(unlooked,), findings=findings
    )


def log_lines() -> list[str]:
    """A log that kept more than it should have."""
    return [
        f"2026-09-21 14:00:00.123 WARNING vgpu_console.sources: X-Auth-Token: {SECRETS['token']}",
        f"auth: {{'password': '{SECRETS['password of clouds.yaml']}',",
        f"'secret': \"{SECRETS['application credential']}\"}}",
        f"ssh-ed25519 {SECRETS['ssh key']} alice.liddell@acme-corp",
        f"Authorization: Bearer {SECRETS['bearer']}",
        f"rabbit://openstack:{SECRETS['rabbit']}@dc-fra-7:5672/",
        "clouds.yaml: " + repr({"auth": {"password": SECRETS["password of clouds.yaml"]}}),
        "keystone at controller.acme-corp.example refused, libvirt of [2001:db8:aaaa::7] timed out",
    ]


def test_planted_secrets_and_places_are_in_no_file_of_it(tmp_path: Path) -> None:
    config = tmp_path / "acme-corp.toml"
    config.write_text('cloud = "acme-corp"\n[hosts]\nextra = ["dc-fra-7"]\n[ssh]\nuser = "alice.liddell"\n')
    settings = load(
        {"log.file": ("/home/alice.liddell/acme-corp.log", "--log-file")},
        config_file=str(config),
        environ={"VGPU_CONSOLE_LIBVIRT_URI": f"qemu+ssh://root:{SECRETS['rabbit']}@{{host}}/system"},
    )
    files = opened(poisoned(), settings=settings, journal=[entry()], versions={"textual": "8.2.8"}, log=log_lines())
    everything = b"\n".join(files.values()).decode()
    told = {**SECRETS, **{place: place for place in PLACES}}
    assert [what for what, secret in told.items() if secret in everything] == []
    assert str(tmp_path) not in everything
    for piece in ("Tr0ub4dor", "dbPassw0rd", "acme", "alice", "liddell", "fra-7", "77aa77aa", "bastion"):
        assert piece not in everything


def test_it_holds_what_somebody_needs() -> None:
    settings = load({}, environ={"VGPU_CONSOLE_DEADLINE": "33"})
    fleet = small_fleet()
    files = opened(
        fleet, settings=settings, journal=[entry()], versions={"textual": "8.2.8"}, log=["nova: no answer within 5 s\n"]
    )
    assert list(files) == [
        "README.txt",
        "doctor.json",
        "snapshot.json",
        "versions.json",
        "settings.json",
        "journal.jsonl",
        "log.txt",
    ]
    doctor = decoded(files["doctor.json"])
    assert [f["id"] for f in doctor["findings"]] == [f.id for f in fleet.findings]
    snapshot = msgspec.json.decode(files["snapshot.json"], type=Snapshot)
    assert snapshot.taken_at == fleet.taken_at
    assert len(snapshot.mdevs) == len(fleet.mdevs)
    assert decoded(files["versions.json"]) == {"textual": "8.2.8"}
    by_key = {row["setting"]: row for row in decoded(files["settings.json"])}
    assert by_key["deadline"] == {
        "setting": "deadline",
        "value": 33.0,
        "origin": "environment",
        "where": "VGPU_CONSOLE_DEADLINE",
    }
    assert by_key["libvirt.uri"]["value"] == "qemu+ssh://{host}/system"
    line = decoded(files["journal.jsonl"])
    assert (line["event"], line["plan"]["after"], line["plan"]["action"]) == ("begun", {"limit": 10}, "quota.set")
    assert line["cloud"] == line["plan"]["target"]["name"]
    assert files["log.txt"] == b"nova: no answer within 5 s\n"
    assert b"Look through it before you give it away" in files["README.txt"]


def test_the_file_is_private_new_and_says_nothing_of_its_maker(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "support.tar.gz", small_fleet(), now=NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    unpacked = gzip.decompress(path.read_bytes())
    assert b"root" not in unpacked[:512]
    with pytest.raises(FileExistsError):
        write_bundle(path, small_fleet())
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        write_bundle(link, small_fleet())
    assert not (tmp_path / "elsewhere").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "support.tar.gz"]


NAMES = st.text(st.characters(categories=("L", "N", "Pd", "Pc")), min_size=7, max_size=24)


@settings(max_examples=25, deadline=None)
@given(secret=NAMES, where=st.sampled_from(["log", "journal", "settings", "error"]))
def test_no_word_that_is_not_the_programs_own_gets_through(secret: str, where: str) -> None:
    assume(any(c.isalpha() for c in secret))
    assume(not any(harmless_word(w) or harmless_shape(w) for w in (secret, secret.strip("-_"))))
    fleet = small_fleet()
    if where == "error":
        fleet = msgspec.structs.replace(fleet, sources=(msgspec.structs.replace(fleet.sources[0], error=secret),))
    files = opened(
        fleet,
        settings=load({"cloud": (secret, "--os-cloud")}, environ={}) if where == "settings" and _fits(secret) else None,
        journal=[msgspec.structs.replace(entry(), message=f"for {secret}", user=secret)] if where == "journal" else (),
        log=[f"a line with {secret} in it"] if where == "log" else (),
    )
    assert secret not in b"\n".join(files.values()).decode()


def _fits(text: str) -> bool:
    return text.isprintable()
