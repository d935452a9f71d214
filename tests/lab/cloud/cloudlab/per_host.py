"""Several nova-compute services in one process: what Nova keeps once per process is kept once per host.

The host of the running code is a context variable; threads and executor jobs inherit it from whoever started them.
Import this before any nova module.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import futurist
from oslo_concurrency import lockutils
from oslo_config import cfg

current_host: contextvars.ContextVar[str | None] = contextvars.ContextVar("current_host", default=None)


def install() -> None:
    """Patch the four places: CONF.host, threads, executors, named locks."""
    cfg.ConfigOpts.host = property(lambda conf: current_host.get() or conf._get("host"))
    _inherit_in_threads()
    _inherit_in_executors()
    lockutils.internal_lock = _lock_of_host(lockutils.internal_lock)
    lockutils.internal_fair_lock = _lock_of_host(lockutils.internal_fair_lock)


def as_host(host: str, call: Callable[[], Any]) -> Any:
    """Run something as that host's nova-compute would."""

    def inside() -> Any:
        current_host.set(host)
        return call()

    return contextvars.copy_context().run(inside)


def _inherit_in_threads() -> None:
    start = threading.Thread.start

    def start_with_context(thread: threading.Thread) -> None:
        context, run = contextvars.copy_context(), thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_with_context  # type: ignore[method-assign]


def _inherit_in_executors() -> None:
    submit = futurist.ThreadPoolExecutor.submit

    def submit_with_context(executor: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        context = contextvars.copy_context()
        return submit(executor, context.run, call, *args, **kwargs)

    futurist.ThreadPoolExecutor.submit = submit_with_context


def _lock_of_host(make: Callable[..., Any]) -> Callable[..., Any]:
    """``compute_resources`` and its like guard one host's books, not those of all."""

    def make_named(name: str, *args: Any, **kwargs: Any) -> Any:
        host = current_host.get()
        return make(f"{host}-{name}" if host else name, *args, **kwargs)

    return make_named
