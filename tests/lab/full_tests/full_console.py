"""A whole console on the full lab, without its face: what ``vgpu-console`` puts together, and its command itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.full_tests.full_lab import HOSTS, FullLab
from vgpu_console.actions.journal import Journal
from vgpu_console.actions.migrate import newest, plan_start
from vgpu_console.actions.plan import Plan
from vgpu_console.actions.runner import Outcome, apply
from vgpu_console.config import load
from vgpu_console.fleet.migration_follow import Followers
from vgpu_console.fleet.migration_move import Subject, subject_of
from vgpu_console.fleet.precheck import Precheck
from vgpu_console.model.migration_timeline import Timeline
from vgpu_console.model.nova import MigrationFacts, Server
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.runtime import Fleet
from vgpu_console.sources.migration_watch import LibvirtAddress
from vgpu_console.sources.nova_migrations import NovaMigrations

COMMAND = Path(sys.executable).with_name("vgpu-console")
READ_S = 90.0


class FullConsole:
    """The console of an operator who may do everything. The environment has to hold clouds.yaml and an SSH agent."""

    def __init__(self, lab: FullLab, folder: Path, cloud: str = "lab-admin") -> None:
        self.lab = lab
        self._config = folder / "config.toml"
        self._config.write_text(
            f'cloud = "{cloud}"\ndeadline = {READ_S}\n'
            '[libvirt]\nuri = "qemu+tcp://{host}/system"\ntimeout = 15\n'
            f'[ssh]\nuser = "root"\nknown_hosts = "{lab.known_hosts}"\ntimeout = 20\n',
            encoding="utf-8",
        )
        self.fleet = Fleet(load(config_file=str(self._config)))
        self.journal = Journal(folder / "journal.sqlite", time.time)
        self.reader = NovaMigrations(self.fleet.cloud)
        self._seen = Snapshot()
        self.followers = Followers(self.reader, address=self._address, snapshot=lambda: self._seen)
        self.followers.start()

    def _address(self, host: str) -> LibvirtAddress | None:
        return LibvirtAddress(host, self.lab.uri(host)) if host in HOSTS else None

    def command(self, *arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
        """One run of ``vgpu-console``. Raises TimeoutExpired only."""
        full = [str(COMMAND), "--config", str(self._config), *arguments]
        return subprocess.run(full, capture_output=True, text=True, timeout=timeout_s, env=dict(os.environ))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """``vgpu-console`` in the background, for somebody to kill."""
        full = [str(COMMAND), "--config", str(self._config), *arguments]
        silent = subprocess.DEVNULL
        return subprocess.Popen(full, stdin=silent, stdout=silent, stderr=silent, text=True, env=dict(os.environ))

    def json(self, *arguments: str) -> Any:
        """What a command prints with ``-o json``."""
        done = self.command(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def accepting(self, *words: str) -> list[str]:
        """A changing command with ``--yes`` and all accepted that its dry run says would have to be."""
        plan = self.json(*words, "--dry-run")
        open_checks = [c["id"] for c in plan["checks"] if c["status"] in ("warn", "unknown")]
        return [*words, "--yes", *(f"--accept={one}" for one in open_checks), "-o", "json"]

    def typed(self, *words: str) -> Any:
        """Type a changing command as an operator who takes its warnings upon himself; what it prints."""
        done = self.command(*self.accepting(*words))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def look(self) -> Snapshot:
        """Read every source, those of hosts that Nova has just named included."""
        collector, started, seen = self.fleet.collector, time.time(), -1
        collector.refresh_now()
        while True:
            collector.tick()
            facts = collector.facts()
            if not collector.busy() and all((s.attempted_at or 0) >= started for s in facts.statuses):
                self._seen = self.fleet.joiner.join(facts, time.time())
                return self._seen
            assert time.time() - started < READ_S, [s.key for s in facts.statuses if (s.attempted_at or 0) < started]
            seen = collector.wait(seen, 0.2)

    def server(self, server_id: str) -> Server:
        """The server, read now."""
        found = self.reader.server(server_id)
        assert found is not None
        return found

    def row(self, server_id: str) -> MigrationFacts:
        """Its newest migration, read now."""
        return max(self.reader.migrations(server_id), key=lambda m: m.id)

    # -- what an operator does -----------------------------------------------------------------------------------------

    def check(self, server_id: str, destination: str) -> Precheck:
        """The pre-checks, on a fleet that is read for them."""
        self.look()
        return self.fleet.precheck(server_id, destination, others=False)

    def apply(self, plan: Plan) -> Outcome:
        """Apply a plan, taking its warnings upon oneself."""
        accepted = frozenset(c.id for c in plan.needs_override)
        return apply(plan, self.fleet.world(), self.journal, accepted=accepted)

    def subject(self, server_id: str, destination: str) -> Subject:
        """What is to be followed: its next migration."""
        return subject_of(
            self._seen, server_id, after=newest(self.reader.migrations(server_id)), destination=destination
        )

    def compute_state(self, host: str) -> str | None:
        """Whether Nova hears of a host's nova-compute, asked now."""
        body = self.fleet.cloud.get("compute", "/os-services", params={"binary": "nova-compute"})
        return next((row["state"] for row in body["services"] if row["host"] == host), None)

    def start(self, server_id: str, destination: str) -> Outcome:
        """Check, follow, start."""
        checked = self.check(server_id, destination)
        assert checked.chosen is not None
        assert checked.chosen.verdict != "fail", checked.chosen.reason
        last = newest(self.reader.migrations(server_id))
        plan = plan_start(self.server(server_id), checked.chosen, last)
        self.followers.follow(self.subject(server_id, destination=destination))
        return self.apply(plan)

    def ask_nova(self, server_id: str, destination: str) -> None:
        """Somebody else begins a migration, without a console and its checks."""
        body = {"os-migrateLive": {"host": destination, "block_migration": "auto"}}
        path = f"/servers/{server_id}/action"
        asked = self.lab.connect().compute.post(path, json=body, microversion="2.68")
        assert asked.status_code == 202, asked.text

    def until(
        self, server_id: str, wanted: Callable[[Timeline], object], what: str, timeout_s: float = 120
    ) -> Timeline:
        """Wait until something is so of the server's timeline, and give it back."""
        deadline = time.monotonic() + timeout_s
        while True:
            told = self.followers.timeline(server_id)
            if told is not None and wanted(told):
                return told
            assert time.monotonic() < deadline, f"not after {timeout_s:.0f} s: {what}: {_short(told)}"
            time.sleep(0.1)

    def end(self, server_id: str, timeout_s: float = 180) -> Timeline:
        """The timeline with its end, told for good."""
        return self.until(server_id, lambda t: t.settled and t.end is not None, "the end", timeout_s)

    def close(self) -> None:
        """End everything."""
        self.followers.stop()
        self.fleet.close()


def _short(told: Timeline | None) -> str:
    if told is None:
        return "no timeline"
    voices = "; ".join(f"{v.kind}:{v.host} {v.error or 'well'}" for v in told.voices)
    kind = told.story.kind if told.story is not None else "no story"
    return f"{told.status}, {kind}, {[(p.name, p.state) for p in told.phases]}, {voices}"
