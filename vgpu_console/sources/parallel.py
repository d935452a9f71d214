"""Many small requests at once, a bounded number of them."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vgpu_console.sources.base import SourceError

T = TypeVar("T")
K = TypeVar("K")

WORKERS = 8


def for_each(keys: Iterable[K], read: Callable[[K], T | None]) -> dict[K, T]:
    """``read`` of every key, at most ``WORKERS`` at a time; keys that gave None are absent.

    The first SourceError ends it: what is under way is waited for (each request has its deadline), the rest is dropped.
    """
    wanted = list(dict.fromkeys(keys))
    out: dict[K, T] = {}
    if len(wanted) == 1:
        value = read(wanted[0])
        if value is not None:
            out[wanted[0]] = value
        return out
    if not wanted:
        return out
    error: SourceError | None = None
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(wanted)), thread_name_prefix="requests") as pool:
        # a copy of the context carries the counter of requests into the threads
        futures: dict[K, Future[T | None]] = {
            key: pool.submit(contextvars.copy_context().run, read, key) for key in wanted
        }
        for key, future in futures.items():
            try:
                value = future.result()
            except SourceError as exc:
                error = exc
                pool.shutdown(wait=False, cancel_futures=True)
                break
            if value is not None:
                out[key] = value
    if error is not None:
        raise error
    return out
