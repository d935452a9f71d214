"""A bounded pool of daemon threads: a call that hangs in a C library never keeps the console from ending."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol


class Pool(Protocol):
    """Runs jobs, somewhere and at some time."""

    def submit(self, job: Callable[[], None]) -> None: ...
    def close(self) -> None: ...


class DaemonPool:
    """Runs jobs on at most ``size`` threads, started as they are needed. Jobs must not raise.

    The standard executor joins its threads when the interpreter ends, which a hung ``open()`` of libvirt would block
    for minutes.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job; a thread is added when none is idle and the bound allows it."""
        with self._lock:
            grow = self._idle == 0 and self._threads < self._size
            if grow:
                self._threads += 1
                number = self._threads
            else:
                self._idle = max(0, self._idle - 1)
        self._jobs.put(job)
        if grow:
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def close(self) -> None:
        """Let idle threads end; running jobs are not waited for."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            with self._lock:
                self._idle += 1
