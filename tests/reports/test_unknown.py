"""What nobody could tell is told as such, with the reason, in every format: never as 0, never as nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tests.builders import NOW, small_fleet, status
from tests.reports.scene import fleet, report
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.reports.capacity import by_type
from vgpu_console.reports.formats import write_as
from vgpu_console.reports.summary import facts, summary_of


def _document(snapshot: Snapshot) -> Any:
    return json.loads(write_as(report(snapshot), "json"))


def _words(snapshot: Snapshot) -> dict[str, str]:
    return {fact.name: f"{fact.words} {fact.note}" for fact in facts(summary_of(snapshot, ()))}


def test_a_silent_host_is_in_no_sum_and_named() -> None:
    document = _document(fleet())

    assert document["summary"]["hosts_uncounted"] == [
        {
            "host": "gpu-04",
            "reason": "libvirt: no answer within 5 s; ssh: no answer within 10 s",
        }
    ]
    assert document["summary"]["vgpus_max"] == 26
    row = next(h for h in document["hosts"] if h["name"] == "gpu-04")
    assert (row["gpus"], row["mdevs_max"], row["mdevs_free"], row["types"]) == (None, None, None, None)
    assert row["unknown"] == [
        "the figures are those of an earlier answer",
        "libvirt: no answer within 5 s",
        "ssh: no answer within 10 s",
    ]
    text = write_as(report(), "md")
    assert "not counted: gpu-04 (libvirt: no answer within 5 s; ssh: no answer within 10 s)" in text
    line = next(line for line in text.splitlines() if line.startswith("| gpu-04"))
    assert line.split(" | ")[2:4] == ["?", "?"]


def test_a_gpu_without_a_known_maximum_makes_its_type_unknown_and_no_other() -> None:
    snapshot = small_fleet()
    host = snapshot.hosts[0]
    assert host.gpus
    blind = msgspec.structs.replace(host.gpus[0], vgpus_max=None)
    changed = msgspec.structs.replace(host, gpus=(blind, *host.gpus[1:]), mdevs_max=None)
    lines = {t.type: t for t in by_type(msgspec.structs.replace(snapshot, hosts=(changed, *snapshot.hosts[1:])))}

    a100 = lines["A100-20C"]
    assert (a100.max, a100.free, a100.over_committed, a100.gpus) == (None, None, None, 4)
    assert a100.unknown == ("real maximum of gpu-01 0000:41:00.0: neither the host nor the catalogue tells it",)
    assert lines["A40-8Q"].max == 6
    assert lines["A40-8Q"].unknown == ()


def test_placement_that_has_not_told_offers_an_unknown_number_and_one_that_has_offers_none() -> None:
    told = {t.type: t for t in by_type(small_fleet())}
    snapshot = msgspec.structs.replace(
        small_fleet(), providers=(), sources=tuple(s for s in small_fleet().sources if s.kind != "placement")
    )
    silent = {t.type: t for t in by_type(snapshot)}

    assert told["T4-4Q"].offered == 8
    assert {line.offered for line in silent.values()} == {None}
    assert {line.over_committed for line in silent.values()} == {None}
    assert all(any("Placement has not told" in why for why in line.unknown) for line in silent.values())
    nothing = by_type(msgspec.structs.replace(small_fleet(), providers=()))
    assert {line.offered for line in nothing} == {0}


def test_a_cloud_of_which_nothing_is_known_has_no_zeros() -> None:
    failed = tuple(
        msgspec.structs.replace(status(kind, error="no route to host"), fetched_at=None)
        for kind in ("nova", "placement", "keystone")
    )
    dark = Snapshot(taken_at=NOW, sources=failed)
    summary = _document(dark)["summary"]

    known = {name for name, value in summary.items() if value is not None and value != []}
    assert known == {"hosts_counted", "findings_fail", "findings_warn", "findings_info", "sources", "sources_failed"}
    words = _words(dark)
    assert words["Hosts"].startswith("?")
    assert words["vGPUs used"].startswith("? of ?")
    assert words["Sources"].startswith("3 of 3 without an answer")
    for form in ("md", "html"):
        text = write_as(report(dark), form)
        assert text.count("no route to host") >= 6, "at the head and in the table of sources"
        assert "unknown, for want of an answer from" in text


def test_an_empty_table_says_why() -> None:
    empty = Snapshot(taken_at=NOW, sources=(status("nova"), status("placement"), status("keystone")))
    text = write_as(report(empty), "md")

    assert "no compute host is known" in text
    assert "nothing wrong was found by what could be looked at" in text
    assert "everything that a diagnosis needs has been read" in text


def test_the_age_of_every_source_and_of_every_evidence_is_told() -> None:
    document = _document(fleet())
    ages = {row["source"]: row["age_s"] for row in document["sources"]}

    assert ages["keystone"] == 36.0
    assert ages["libvirt:gpu-04"] == 46.0
    evidence = next(f for f in document["findings"] if f["evidence"])["evidence"]
    assert evidence[0] == {"source": "ssh", "host": "gpu-02", "age_s": 17.0, "text": "driver 550.54.16"}
