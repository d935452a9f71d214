"""The pool's bound, and that a job that hangs does not stop the others."""

from __future__ import annotations

import threading

from vgpu_console.fleet.pool import DaemonPool

PATIENCE_S = 10.0


def test_no_more_threads_than_its_size_work_at_once() -> None:
    pool = DaemonPool("test", 2)
    gate, lock = threading.Event(), threading.Lock()
    running: set[int] = set()
    most = 0
    done = threading.Semaphore(0)

    def job() -> None:
        nonlocal most
        with lock:
            running.add(threading.get_ident())
            most = max(most, len(running))
        gate.wait(PATIENCE_S)
        with lock:
            running.discard(threading.get_ident())
        done.release()

    for _ in range(6):
        pool.submit(job)
    gate.set()
    assert all(done.acquire(timeout=PATIENCE_S) for _ in range(6))
    assert most <= 2
    pool.close()


def test_a_lent_thread_works_while_another_hangs() -> None:
    pool = DaemonPool("test", 1, most=2)
    hang, ran = threading.Event(), threading.Event()
    pool.submit(lambda: (hang.wait(PATIENCE_S), None)[1])
    pool.submit(ran.set)
    pool.lend()
    assert ran.wait(PATIENCE_S), "the second job must not wait for the one that hangs"
    hang.set()
    pool.take_back()
    again = threading.Event()
    pool.submit(again.set)
    assert again.wait(PATIENCE_S)
    pool.close()


def test_lending_is_bounded() -> None:
    pool = DaemonPool("test", 1, most=1)
    hang, ran = threading.Event(), threading.Event()
    pool.submit(lambda: (hang.wait(PATIENCE_S), None)[1])
    pool.submit(ran.set)
    pool.lend()
    assert not ran.is_set()
    hang.set()
    assert ran.wait(PATIENCE_S)
    pool.close()
