"""What an operator types: a migration that is followed, a drain; and consoles that are killed in the midst of both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.full_tests.full_console import FullConsole
from tests.lab.full_tests.full_lab import DESTINATION, SOURCE
from tests.lab.full_tests.libvirt_witness import Witness
from tests.lab.lab import until

pytestmark = pytest.mark.timeout(600)


def test_started_followed_and_remembered(console: FullConsole, server: Any, witness: Witness) -> None:
    told = console.typed("migrate", "start", server.id, "--to", DESTINATION)
    assert (told["end"], told["source"], told["destination"]) == ("completed", SOURCE, DESTINATION)
    assert told["downtime_ms"] == witness.downtime_of_source
    assert {c["status"] for c in told["verified"]} == {"pass"}, told["verified"]
    (row,) = console.json("migrations", "--history")
    assert (row["migration"], row["downtime_ms"]) == (told["migration"], told["downtime_ms"])
    (pair,) = console.json("migrations", "--history", "--percentiles")
    assert (pair["source"], pair["destination"], pair["p50_ms"]) == (SOURCE, DESTINATION, told["downtime_ms"])
    again = console.command("migrate", "start", server.id, "--to", DESTINATION, "--dry-run")
    assert again.returncode in (2, 4), "it is there already"


def test_console_killed_while_it_follows(console: FullConsole, server: Any, witness: Witness) -> None:
    """The migration goes on, and the next console tells its end and measures what libvirt still has."""
    with console.begin(*console.accepting("migrate", "start", server.id, "--to", DESTINATION)) as first:
        until(lambda: console.reader.migrations(server.id), "Nova has begun it", 60)
        first.kill()
    done = console.command("migrate", "follow", server.id, "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["end"] == "completed", told
    assert told["downtime_ms"] == witness.downtime_of_destination
    (row,) = console.json("migrations", "--history")
    assert row["downtime_ms"] == told["downtime_ms"]


def test_console_killed_in_a_drain(console: FullConsole) -> None:
    """What runs goes on, the next console takes up the rest, and every guest's downtime is told in the end."""
    servers = [console.lab.boot(name).id for name in ("first", "second")]
    words = ["drain", SOURCE, "--max-parallel", "1"]
    plan = console.json(*words, "--dry-run")
    assert [move["destination"] for move in plan["moves"]] == [DESTINATION] * 2, plan
    with console.begin(*words, "--yes", *(f"--accept={one}" for one in plan["to_accept"])) as first:
        until(lambda: any(console.reader.migrations(one) for one in servers), "the first one is on its way", 90)
        first.kill()
    done = console.command("drain", "--resume", "--yes", "-o", "json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {row["id"]: row["state"] for row in told["servers"]} == dict.fromkeys(servers, "done"), told
    assert all(row["downtime_ms"] for row in told["servers"]), told
    assert console.lab.guests(SOURCE) == {}
    assert console.lab.guests(DESTINATION) == dict.fromkeys(servers, 1)
    assert [len(console.reader.migrations(one)) for one in servers] == [1, 1], "none was moved twice"
