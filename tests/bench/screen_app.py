"""The console over a generated fleet whose hosts change at a given pace: run as a script inside a pty.

Arguments: number of hosts, changed hosts a second. The simulated cloud is read once, so that what is measured is the
console's own screen and not the simulator beside it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from vgpu_console.config import DemoChoice, Settings
from vgpu_console.model.facts import Facts
from vgpu_console.model.placement import Candidates, RequestGroup
from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.runtime import read_once


def _changed(host: Host, tick: int) -> Host:
    """The host with one vGPU more or less in use than a moment ago."""
    gpus = []
    for position, gpu in enumerate(host.gpus or ()):
        used = (tick % 2) if position == 0 else gpu.vgpus_used
        gpus.append(msgspec.structs.replace(gpu, vgpus_used=used) if isinstance(gpu, PhysicalGpu) else gpu)
    total = sum(g.vgpus_used or 0 for g in gpus)
    return msgspec.structs.replace(host, gpus=tuple(gpus), mdevs_used=total)


class PacedEngine:
    """Hands out a snapshot a second in which some of the first hosts have changed."""

    def __init__(self, snapshot: Snapshot, changes: int) -> None:
        self.snapshot = snapshot
        self.paused = False
        self.world = None
        self.journal = None
        self.mover = None
        self._changes = changes
        self._ended = threading.Event()

    def facts(self) -> Facts:
        return Facts()

    def candidates(self, groups: Sequence[RequestGroup], policy: str | None) -> Candidates:
        return Candidates(error="this engine asks nobody")

    def start(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        threading.Thread(target=self._run, args=(on_snapshot,), daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def refresh_now(self) -> None:
        pass

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def _run(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        tick = 0
        on_snapshot(self.snapshot)
        while not self._ended.wait(1.0):
            tick += 1
            hosts = tuple(_changed(h, tick) if i < self._changes else h for i, h in enumerate(self.snapshot.hosts))
            now = time.time()
            sources = tuple(msgspec.structs.replace(s, fetched_at=now, attempted_at=now) for s in self.snapshot.sources)
            on_snapshot(msgspec.structs.replace(self.snapshot, hosts=hosts, sources=sources, taken_at=now))


def main() -> None:
    """Read the fleet, then run the console over it until it is killed."""
    hosts, changes = int(sys.argv[1]), int(sys.argv[2])
    snapshot = read_once(Settings(), DemoChoice(hosts), deadline_s=600.0)
    from vgpu_console.app import VgpuConsoleApp

    engine = PacedEngine(snapshot, changes)
    VgpuConsoleApp(lambda: engine, settings=Settings()).run()


if __name__ == "__main__":
    main()
