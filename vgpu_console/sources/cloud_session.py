"""The wall: the only place where HTTP leaves this console, and where a read-only console refuses to change anything.

It stands twice. ``WallSession`` refuses a request before keystoneauth has looked at it, so that not even a token is
fetched for it; ``LoggedHttp`` refuses again where bytes leave, whoever built the request. Every request is counted and
logged with its duration, never with its headers, its query or its body.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import keystoneauth1.session
import requests

from vgpu_console.sources.base import Refused
from vgpu_console.sources.cloud_errors import Where, netloc_of, transport_reason
from vgpu_console.text import plain

LOG = logging.getLogger("vgpu_console.http")

SLOW_S = 5.0
POOL_SIZE = 16  # connections kept per host: more worker threads than this wait for none

_READS = frozenset({"GET", "HEAD"})


class Tally:
    """Counts the requests of one fetch, over all threads that work for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        """One more request."""
        with self._lock:
            self.count += 1


_tally: contextvars.ContextVar[Tally | None] = contextvars.ContextVar("vgpu_console_http_tally", default=None)


@contextlib.contextmanager
def counting() -> Iterator[Tally]:
    """Counts the requests made in this context (and in threads that run a copy of it)."""
    tally = Tally()
    token = _tally.set(tally)
    try:
        yield tally
    finally:
        _tally.reset(token)


class Gate(threading.local):
    """Per thread: whether an auth plugin is logging in right now, and what was last talked to."""

    depth = 0
    last: Where | None = None

    @contextlib.contextmanager
    def login(self) -> Iterator[None]:
        """Open for the token request while the block runs."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def guard_plugin(plugin: Any, gate: Gate) -> None:
    """Make an auth plugin open the gate while it logs in: its own requests are the only POST a read-only wall lets out.

    ``get_auth_ref`` fetches a token; ``get_headers`` is included because OAuth 2.0 plugins fetch theirs there.
    """

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with gate.login():
                return method(*args, **kwargs)

        return call

    for name in ("get_auth_ref", "get_headers"):
        method = getattr(plugin, name, None)
        if method is not None:
            setattr(plugin, name, guarded(method))


def _refuse(method: str, url: object) -> Refused:
    path = plain(urlsplit(str(url)).path, 200)
    return Refused(f"read-only: {plain(method, 20)} {path} was not sent")


class LoggedHttp(requests.Session):
    """A requests session that counts, times and logs each exchange, and holds the inner wall."""

    def __init__(self, gate: Gate, *, read_only: bool, http: requests.Session | None = None) -> None:
        super().__init__()
        self.total = Tally()
        self._gate = gate
        self._read_only = read_only
        if http is None:
            for prefix in ("http://", "https://"):
                self.mount(prefix, keystoneauth1.session.TCPKeepAliveAdapter(pool_maxsize=POOL_SIZE))
        else:  # a seam: its adapters answer, and the proxies and netrc of this machine have no say
            self.trust_env = False
            self.adapters = http.adapters

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one prepared request. Raises Refused, or what requests raises."""
        method = (request.method or "").upper()
        if self._read_only and method not in _READS:
            login = method == "POST" and self._gate.depth > 0 and "X-Auth-Token" not in request.headers
            if not login:
                raise _refuse(method, request.url)
        where = Where("http", netloc_of(request.url), method, plain(urlsplit(str(request.url)).path, 200))
        self._gate.last = where
        self.total.add()
        tally = _tally.get()
        if tally is not None:
            tally.add()
        started = time.monotonic()
        try:
            response = super().send(request, **kwargs)
        except Exception as exc:
            took = time.monotonic() - started
            reason = transport_reason(exc)
            why = reason[1] if reason else type(exc).__name__
            LOG.warning("%s %s%s failed after %.3f s: %s", method, where.netloc, where.path, took, why)
            raise
        took = time.monotonic() - started
        bad = took > SLOW_S or response.status_code >= 400
        LOG.log(
            logging.WARNING if bad else logging.DEBUG,
            "%s %s%s %d in %.3f s, %d bytes%s",
            method,
            where.netloc,
            where.path,
            response.status_code,
            took,
            len(response.content),
            _request_id(response),
        )
        return response


def _request_id(response: requests.Response) -> str:
    value = response.headers.get("X-OpenStack-Request-Id") or response.headers.get("X-Compute-Request-Id")
    return f", {plain(value, 60)}" if value else ""


class WallSession(keystoneauth1.session.Session):
    """A keystoneauth session that, when read-only, refuses every method but GET, HEAD and the log-in's POST."""

    def __init__(self, *, http: LoggedHttp, gate: Gate, read_only: bool, **kwargs: Any) -> None:
        super().__init__(session=http, **kwargs)
        self._gate = gate
        self._read_only = read_only

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        """As keystoneauth's. Raises Refused before a token is fetched or a byte is sent."""
        if self._read_only and str(method).upper() not in _READS:
            login = (
                str(method).upper() == "POST" and kwargs.get("authenticated") is False and not args and self._gate.depth
            )
            if not login:
                raise _refuse(str(method), url)
        return super().request(url, method, *args, **kwargs)


_LIBRARY_LOGGERS = ("keystoneauth", "keystoneauth1", "openstack", "urllib3", "requests", "stevedore")


def quiet_libraries() -> None:
    """Keep the client libraries' own logging out of the console's log and off its screen.

    keystoneauth hashes tokens in what it logs but prints bodies; ``vgpu_console.http`` says what is worth saying.
    """
    for name in _LIBRARY_LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
