"""A fleet with a host that is to be emptied, and a console that drains it, on a clock that the tests move.

Nothing is mocked: Nova, Placement, Keystone, libvirt and shells are the embedded cloud's, read and changed through the
console's own sources, plans and journal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vgpu_console.actions.drain import Drain, DrainOptions, new_drain
from vgpu_console.actions.drain_report import DrainView
from vgpu_console.actions.drain_run import DrainRunner
from vgpu_console.actions.drain_store import DrainStore, new_id
from vgpu_console.actions.drain_world import LiveDrainWorld
from vgpu_console.actions.journal import Journal
from vgpu_console.config import DemoChoice, Settings, SshSettings
from vgpu_console.fleet.drain_places import plan_drain
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.migration.drain_words import DrainPlan
from vgpu_console.runtime import Fleet
from vgpu_console.simulator import DemoCloud
from vgpu_console.sources.nova_migrations import NovaMigrations

NOW = 1_800_000_000.0
HOST = "gpu-a"
ADVISED = {
    "live_migration_downtime": "500000",
    "live_migration_downtime_steps": "3",
    "live_migration_downtime_delay": "3",
    "live_migration_completion_timeout": "0",
}


class Moment:
    """A clock that moves when it is told to; ``wait`` lets time pass as a sleep would."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def build(cloud: DemoCloud, *, at_once: int | None = None) -> None:
    """Three hosts of the same make: two GPUs of large vGPUs each, one of small ones; ``gpu-a`` has five servers."""
    builder = cloud.builder
    builder.default_limits({"servers": 1000, "class:VGPU": 100, "class:VCPU": 1000, "class:MEMORY_MB": 4_000_000})
    project = builder.project("ml-research")
    for name in (HOST, "gpu-b", "gpu-c"):
        host = builder.host(name)
        host.kernel = "6.8.0-51-generic"
        host.os = ("ubuntu", "24.04", "Ubuntu 24.04.1 LTS")
        host.nova_conf = {"libvirt": dict(ADVISED)}
        if at_once is not None:
            host.nova_conf["DEFAULT"] = {"max_concurrent_live_migrations": str(at_once)}
        builder.gpu(host, "A100-40", ("A100-20C",))
        builder.gpu(host, "A100-40", ("A100-10C",))
        builder.inventories(host)
        for gpu in host.gpus:  # as an operator does, so that flavors can ask for a type
            for function in gpu.functions():
                provider = cloud.state.placement.by_name.get(builder.compute.provider_name(host, gpu, function))
                if provider is not None:
                    trait = f"CUSTOM_{gpu.enabled[0].short_name.replace('-', '_')}"
                    cloud.state.placement.set_traits(provider, provider.traits | {trait})
    large = builder.flavor("large", 16384, 4, 20, {"resources:VGPU": "1", "trait:CUSTOM_A100_20C": "required"})
    small = builder.flavor("small", 8192, 4, 20, {"resources:VGPU": "1", "trait:CUSTOM_A100_10C": "required"})
    plain = builder.flavor("plain", 2048, 1, 20, {})
    source = cloud.state.hosts[HOST]
    for name in ("train-1", "train-2"):
        builder.server(name, project, large, source, source.gpus[0])
    for name in ("note-1", "note-2"):
        builder.server(name, project, small, source, source.gpus[1])
    builder.server("web-1", project, plain, source)
    cloud.state.migration_seconds = 30.0


class _BuiltFleet(Fleet):
    """A console on the fleet of this module instead of a scenario's."""

    built: DemoCloud

    def _open_demo(self, choice: DemoChoice) -> DemoCloud:
        return self.built


class DrainConsole:
    """One operator's console on the cloud: reads it, plans a drain, runs it turn by turn."""

    def __init__(self, cloud: DemoCloud, moment: Moment, folder: Path) -> None:
        self.cloud = cloud
        self.moment = moment
        _BuiltFleet.built = cloud
        self.fleet = _BuiltFleet(Settings(read_only=False, ssh=SshSettings()), DemoChoice(None), clock=moment)
        self.store = DrainStore(folder / "drains")
        self.journal = Journal(folder / "journal.jsonl", clock=moment)
        self.views: list[DrainView] = []
        self.seen: tuple[Snapshot, Facts] = (Snapshot(), Facts())
        self.world = LiveDrainWorld(
            lambda: self.seen,
            NovaMigrations(self.fleet.cloud, moment),
            self.fleet.candidates,
            self.fleet.world(),
            self.journal,
            clock=moment,
            wait=moment.wait,
        )
        self.read()

    def read(self) -> None:
        """Ask every source afresh and join what they say, as the engine does at its pace."""
        collector = self.fleet.collector
        collector.refresh_now()
        collector.tick()
        version = collector.version
        while collector.busy() or collector.pending():
            version = collector.wait(version, 0.5)
            collector.tick()
        facts = collector.facts()
        self.seen = (self.fleet.joiner.join(facts, self.moment()), facts)

    def plan(self, to: tuple[str, ...] | None = None) -> DrainPlan:
        """Where the servers of the host would go."""
        return plan_drain(self.fleet.candidates, *self.seen, HOST, self.moment(), to=to)

    def drain(self, **options: object) -> Drain:
        """A new drain with everything accepted that its plan needs, but for what ``options`` say."""
        to = options.get("to")
        plan = self.plan(to)  # type: ignore[arg-type]
        asked: dict[str, object] = {"accepted": frozenset(plan.to_accept), "stop_after_failures": None} | options
        return new_drain(plan, DrainOptions(**asked), id=new_id(NOW), cloud="demo", now=self.moment())  # type: ignore[arg-type]

    def runner(self, drain: Drain) -> DrainRunner:
        """A runner that has the host's lock."""
        lock = self.store.lock("demo", HOST)
        self.store.save(drain)
        return DrainRunner(drain, self.world, self.store, lock, clock=self.moment, on_view=self.views.append)

    def run(self, runner: DrainRunner, *, until: Callable[[], bool] | None = None, seconds: float = 900.0) -> None:
        """Let the runner have its turns, each a second after the other, until its end, or until something is true."""
        end = self.moment() + seconds
        read = self.moment()
        while self.moment() < end and not (until is not None and until()):
            if runner.tick() <= 0:
                break
            self.moment.wait(1.0)
            self.cloud.advance()
            if self.moment() - read >= 10:
                read = self.moment()
                self.read()
        table = [(r.name, r.state, r.message) for r in runner.view().rows]
        assert until() if until is not None else runner.view().over, table

    def server(self, name: str) -> str:
        """A server's id."""
        return next(s.id for s in self.cloud.state.servers.values() if s.name == name)

    def where(self) -> dict[str, str | None]:
        """Every server's host in the cloud."""
        return {s.name: s.host for s in self.cloud.state.servers.values() if s.deleted is None}

    def asked(self) -> list[str]:
        """The names of servers whose migration this console has asked for, in that order."""
        started = [e.plan for e in self.journal.entries() if e.plan is not None and e.plan.action == "migrate.start"]
        return [p.target.name for p in started]


def console(folder: Path, *, at_once: int | None = None) -> DrainConsole:
    """A console on a fleet of its own."""
    moment = Moment()
    cloud = DemoCloud(clock=moment)
    build(cloud, at_once=at_once)
    cloud.advance()
    return DrainConsole(cloud, moment, folder)
