"""A bounded pool of daemon threads: a call that hangs in a C library never keeps the console from ending."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol


class Pool(Protocol):
    """Runs jobs, somewhere and at some time."""

    def submit(self, job: Callable[[], None]) -> None: ...
    def lend(self) -> None: ...
    def take_back(self) -> None: ...
    def close(self) -> None: ...


class DaemonPool:
    """Runs jobs on at most ``size`` threads, started as they are needed. Jobs must not raise.

    A thread whose job hangs can be replaced (``lend``) until the job returns (``take_back``); at most ``most`` threads
    live at once, so that a fleet of hosts that all hang stays bounded.

    The standard executor joins its threads when the interpreter ends, which a hung ``open()`` of libvirt would block
    for minutes.
    """

    def __init__(self, name: str, size: int, most: int = 0) -> None:
        self._name = name
        self._size = size
        self._most = max(size, most)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        self._lent = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job; a thread is added when none is idle and the bound allows it."""
        self._jobs.put(job)
        with self._lock:
            self._waiting += 1
            self._grow()

    def lend(self) -> None:
        """One thread hangs: another may take its place."""
        with self._lock:
            self._lent += 1
            self._grow()

    def take_back(self) -> None:
        """A thread that hung has returned; one ends when it next finds nothing to do."""
        with self._lock:
            self._lent -= 1

    def _grow(self) -> None:
        if self._waiting <= self._idle or self._threads >= min(self._size + self._lent, self._most):
            return
        self._threads += 1
        threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()

    def close(self) -> None:
        """Let idle threads end; running jobs are not waited for."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._threads > min(self._size + max(0, self._lent), self._most):
                    self._threads -= 1
                    return
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
                self._waiting -= job is not None
            if job is None:
                return
            job()
