"""The collector's promises: pace, back-off, deadlines, never twice at once, hosts that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from vgpu_console.fleet.collector import BACK_OFF_LIMIT_S, EVENT_DELAY_S, SETTLE_S, Collector, FactSource
from vgpu_console.model.facts import CloudIdentity
from vgpu_console.model.host_facts import LibvirtFacts, PciDevice, SshFacts
from vgpu_console.model.nova import ComputeService, NovaFacts
from vgpu_console.model.placement import PlacementFacts
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.sources.base import SourceError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A source that gives its answers in turn; an exception among them is raised. The last one repeats."""

    def __init__(self, kind: SourceKind, answers: list[Any], host: str = "") -> None:
        self._kind: SourceKind = kind
        self._host = host
        self._answers = answers
        self.asked = 0
        self.closed = False

    @property
    def kind(self) -> SourceKind:
        return self._kind

    @property
    def host(self) -> str:
        return self._host

    @property
    def requests(self) -> int:
        return 3

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def fetch(self, previous: Any) -> Any:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


class InlinePool:
    """Runs each job at once, or keeps it until it is told to, as a call that hangs would be."""

    def __init__(self) -> None:
        self.hold = False
        self.held: list[Callable[[], None]] = []
        self.lent = 0

    def submit(self, job: Callable[[], None]) -> None:
        if self.hold:
            self.held.append(job)
        else:
            job()

    def release(self) -> None:
        held, self.held = self.held, []
        for job in held:
            job()

    def lend(self) -> None:
        self.lent += 1

    def take_back(self) -> None:
        self.lent -= 1

    def close(self) -> None:
        pass


def nova(*hosts: str) -> NovaFacts:
    return NovaFacts(services=tuple(ComputeService(id=h, host=h, state="up", status="enabled") for h in hosts))


GPU_HOST = LibvirtFacts(host="gpu-01", devices=(PciDevice(address="0000:41:00.0", vendor_id="10de"),))


class Bench:
    """A collector over scripted sources, with a clock that moves when told."""

    def __init__(
        self, sources: list[Script], hosts: dict[str, list[Script]] | None = None, expected: tuple[str, ...] = ()
    ) -> None:
        self.clock = Clock()
        self.cloud, self.far = InlinePool(), InlinePool()
        self.nudges: dict[str, Callable[[], None]] = {}
        self.made: dict[str, list[Script]] = hosts or {}

        def host_sources(host: str, nudge: Callable[[], None]) -> Iterable[FactSource]:
            self.nudges[host] = nudge
            return list(self.made.get(host, []))

        self.collector = Collector(
            list(sources),
            host_sources,
            pacing=lambda kind, hosts: {"nova": 5.0, "keystone": 30.0}.get(kind, 10.0),
            deadline=lambda kind: 20.0,
            identity=lambda: CloudIdentity(cloud="prod"),
            expected_hosts=expected,
            clock=self.clock,
            pools=(self.cloud, self.far),
        )

    def run(self, seconds: float) -> None:
        """Let time pass in small steps, ticking as the engine does."""
        for _ in range(round(seconds * 10)):
            self.clock.now += 0.1
            self.collector.tick()

    def status(self, key: str) -> SourceStatus:
        return next(s for s in self.collector.facts().statuses if s.key == key)


def test_each_source_is_asked_at_its_own_pace() -> None:
    fast, slow = Script("nova", [nova()]), Script("keystone", [NovaFacts()])
    bench = Bench([fast, slow])
    bench.collector.tick()
    assert (fast.asked, slow.asked) == (1, 1)
    bench.run(31)
    assert fast.asked == 7
    assert slow.asked == 2


def test_a_good_answer_carries_its_time_and_cost() -> None:
    bench = Bench([Script("nova", [nova("gpu-01")])])
    bench.collector.tick()
    status = bench.status("nova")
    assert (status.fetched_at, status.error, status.requests, status.interval_s) == (1000.0, None, 3, 5.0)
    assert bench.collector.facts().identity.cloud == "prod"


def test_a_failure_keeps_the_last_good_answer_and_says_why() -> None:
    bench = Bench([Script("nova", [nova("gpu-01"), SourceError("unreachable", "no route to the cloud")])])
    bench.collector.tick()
    bench.run(6)
    status = bench.status("nova")
    assert (status.error, status.error_kind, status.failures) == ("no route to the cloud", "unreachable", 1)
    assert status.fetched_at == 1000.0
    facts = bench.collector.facts().nova
    assert facts is not None
    assert facts.services is not None
    assert facts.services[0].host == "gpu-01"


def test_failures_back_off_and_one_success_resets_the_pace() -> None:
    down = SourceError("unreachable", "down")
    source = Script("nova", [down] * 8 + [nova()])
    bench = Bench([source])
    bench.collector.tick()
    waits = []
    for _ in range(8):
        status = bench.status("nova")
        assert status.next_at is not None
        waits.append(round(status.next_at - bench.clock.now))
        bench.clock.now = status.next_at
        bench.collector.tick()
    assert waits[:5] == [5, 10, 20, 40, 80]
    assert max(waits) == BACK_OFF_LIMIT_S
    assert (bench.status("nova").failures, bench.status("nova").error) == (0, None)


def test_a_fault_of_our_own_is_an_error_line_and_not_the_end() -> None:
    bench = Bench([Script("nova", [ZeroDivisionError("secret value 42")])])
    bench.collector.tick()
    assert bench.status("nova").error == "unreadable answer (ZeroDivisionError)"


class Hanging(Script):
    """Answers only when it is let go; until then time passes and the collector ticks, as it would meanwhile."""

    meanwhile: Callable[[], None]

    def fetch(self, previous: Any) -> Any:
        self.meanwhile()
        return super().fetch(previous)


def test_a_hanging_source_is_marked_and_not_asked_twice() -> None:
    source = Hanging("nova", [nova("gpu-01")])
    bench = Bench([source])
    seen: list[str | None] = []

    def meanwhile() -> None:
        source.meanwhile = lambda: seen.append("asked twice")
        bench.run(21)
        seen.append(bench.status("nova").error)
        assert bench.cloud.lent == 1, "another thread may take the place of the one that hangs"
        bench.run(300)

    source.meanwhile = meanwhile
    bench.collector.tick()
    assert seen == ["no answer within 20 s"], "the call has not returned: it must not be made again"
    assert bench.status("nova").error is None, "the late answer counts"
    assert bench.cloud.lent == 0


def test_waiting_for_a_thread_is_not_counted_against_a_source() -> None:
    bench = Bench([Script("nova", [nova("gpu-01")])])
    bench.cloud.hold = True
    bench.collector.tick()
    bench.run(300)
    assert bench.status("nova").error is None
    assert len(bench.cloud.held) == 1
    bench.cloud.release()
    assert bench.status("nova").fetched_at is not None


def test_hosts_are_asked_when_nova_names_them_and_dropped_when_it_forgets_them() -> None:
    far = Script("libvirt", [GPU_HOST], "gpu-01")
    bench = Bench([Script("nova", [nova("gpu-01"), nova()])], {"gpu-01": [far]})
    bench.collector.tick()
    bench.collector.tick()
    assert list(bench.collector.facts().libvirt) == ["gpu-01"]
    bench.run(6)
    assert bench.collector.facts().libvirt == {}
    assert far.closed


def test_configured_hosts_are_asked_without_nova() -> None:
    down = Script("nova", [SourceError("unreachable", "down")])
    bench = Bench([down], {"gpu-09": [Script("ssh", [SshFacts(host="gpu-09")], "gpu-09")]}, expected=("gpu-09",))
    bench.collector.tick()
    assert list(bench.collector.facts().ssh) == ["gpu-09"]


def test_an_event_brings_a_reading_forward_and_a_second_one_after_it_settles() -> None:
    far = Script("libvirt", [GPU_HOST], "gpu-01")
    bench = Bench([Script("nova", [nova("gpu-01")])], {"gpu-01": [far]})
    bench.collector.tick()
    bench.collector.tick()
    assert far.asked == 1
    bench.nudges["gpu-01"]()
    bench.run(EVENT_DELAY_S + 0.1)
    assert far.asked == 2
    bench.run(SETTLE_S + 0.2)
    assert far.asked == 3
    bench.run(5)
    assert far.asked == 3


def test_after_a_change_every_source_of_that_host_is_read_again() -> None:
    """Also SSH, which sends no events: it alone tells a reader what starts at boot."""
    libvirt, ssh = Script("libvirt", [GPU_HOST], "gpu-01"), Script("ssh", [SshFacts(host="gpu-01")], "gpu-01")
    other = Script("ssh", [SshFacts(host="gpu-02")], "gpu-02")
    bench = Bench([Script("nova", [nova("gpu-01", "gpu-02")])], {"gpu-01": [libvirt, ssh], "gpu-02": [other]})
    bench.collector.tick()
    bench.collector.tick()
    bench.collector.ask_again("gpu-01")
    bench.run(EVENT_DELAY_S + 0.1)
    assert (libvirt.asked, ssh.asked, other.asked) == (2, 2, 1)
    bench.run(SETTLE_S + 0.2)
    assert (libvirt.asked, ssh.asked, other.asked) == (3, 3, 1)


def test_a_host_without_gpus_is_asked_less_often() -> None:
    empty = Script("libvirt", [LibvirtFacts(host="cpu-01")], "cpu-01")
    full = Script("libvirt", [GPU_HOST], "gpu-01")
    bench = Bench([Script("nova", [nova("cpu-01", "gpu-01")])], {"cpu-01": [empty], "gpu-01": [full]})
    bench.collector.tick()
    bench.run(58)
    assert (empty.asked, full.asked) == (1, 6)


def test_placement_waits_for_novas_first_answer() -> None:
    placement = Script("placement", [PlacementFacts()])
    bench = Bench([Script("nova", [nova()]), placement])
    bench.cloud.hold = True
    bench.collector.tick()
    assert len(bench.cloud.held) == 1
    bench.cloud.hold = False
    bench.cloud.release()
    bench.collector.tick()
    assert placement.asked == 1


def test_placement_is_asked_although_nova_failed() -> None:
    placement = Script("placement", [PlacementFacts()])
    bench = Bench([Script("nova", [SourceError("auth", "no")]), placement])
    bench.collector.tick()
    bench.collector.tick()
    assert placement.asked == 1


def test_one_reading_asks_each_source_once_and_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    hosts = {"gpu-01": [Script("libvirt", [GPU_HOST], "gpu-01"), Script("ssh", [SshFacts(host="gpu-01")], "gpu-01")]}
    bench = Bench([Script("nova", [nova("gpu-01")]), Script("placement", [PlacementFacts()])], hosts)
    facts = bench.collector.collect_once(10.0, lambda done, known: seen.append((done, known)))
    assert {s.key for s in facts.statuses} == {"nova", "placement", "libvirt:gpu-01", "ssh:gpu-01"}
    assert all(s.error is None for s in facts.statuses)
    assert seen[-1] == (4, 4)


def test_one_reading_ends_at_its_deadline_and_names_what_is_missing() -> None:
    far = Script("libvirt", [GPU_HOST], "gpu-01")
    bench = Bench([Script("nova", [nova("gpu-01")])], {"gpu-01": [far]})
    bench.far.hold = True

    def tired(done: int, known: int) -> None:
        bench.clock.now += 4.0

    facts = bench.collector.collect_once(10.0, tired)
    late = next(s for s in facts.statuses if s.key == "libvirt:gpu-01")
    assert (late.error, late.error_kind) == ("no answer within 10 s", "timeout")
    assert facts.nova is not None


def test_only_the_wanted_kinds_are_asked() -> None:
    keystone, far = Script("keystone", [NovaFacts()]), Script("libvirt", [GPU_HOST], "gpu-01")
    collector = Collector(
        [Script("nova", [nova("gpu-01")]), keystone],
        lambda host, nudge: [far],
        pacing=lambda kind, hosts: 5.0,
        deadline=lambda kind: 5.0,
        kinds=frozenset({"nova"}),
        clock=Clock(),
        pools=(InlinePool(), InlinePool()),
    )
    collector.collect_once(5.0)
    assert (keystone.asked, far.asked) == (0, 0)


def test_refresh_now_does_not_wait_for_the_back_off() -> None:
    source = Script("nova", [SourceError("unreachable", "down"), nova()])
    bench = Bench([source])
    bench.collector.tick()
    bench.collector.refresh_now()
    bench.collector.tick()
    assert source.asked == 2
    assert bench.status("nova").error is None


@pytest.mark.parametrize(
    ("age", "error", "expected"),
    [
        (None, None, "never"),
        (1.0, None, "fresh"),
        (16.0, None, "stale"),
        (1.0, "down", "failed"),
        (None, "x", "failed"),
    ],
)
def test_freshness_words(age: float | None, error: str | None, expected: str) -> None:
    status = SourceStatus(kind="nova", fetched_at=None if age is None else 100.0 - age, error=error, interval_s=5.0)
    assert status.freshness(100.0) == expected
