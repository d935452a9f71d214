"""Opening a real libvirt connection: with a probe before it, an event loop behind it, and no words on the terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vgpu_console.sources.base import SourceError
from vgpu_console.text import plain

PORTS = {"ssh": 22, "libssh": 22, "libssh2": 22, "tcp": 16509, "tls": 16514, "": 16514}
"""Where a transport listens when the URI names no port; a host without a transport is reached by TLS."""

KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 5, 3
"""A frozen daemon or a cut cable ends the pending calls after (count + 1) intervals."""

_guard = threading.Lock()
_loop_runs = False
_pending: set[tuple[str, bool]] = set()  # URIs (and whether read-only) whose open() has not come back


def open_libvirt(uri: str, read_only: bool, *, timeout_s: float = 5.0) -> Any:
    """A libvirt connection with keepalive and events. Blocks three times ``timeout_s`` (seconds) at most.

    Raises SourceError: unavailable without libvirt-python, unreachable or timeout when nobody listens; libvirt's own
    refusals come as libvirt.libvirtError.
    """
    try:
        import libvirt
    except ImportError as e:
        raise SourceError("unavailable", f"libvirt-python is not installed: {plain(e, 160)}") from None
    _start_events(libvirt)
    probe(uri, timeout_s)
    connection = _open_within(libvirt, batch_uri(uri), read_only, timeout_s * 2)
    with contextlib.suppress(libvirt.libvirtError):  # a local driver has no line that could be cut
        connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
    return connection


def batch_uri(uri: str) -> str:
    """The URI with ``no_tty=1``: ssh below libvirt would otherwise ask for a password on the console's own terminal."""
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh") or any(k == "no_tty" for k, _ in parse_qsl(parts.query)):
        return uri
    return parts._replace(query=f"{parts.query}&no_tty=1" if parts.query else "no_tty=1").geturl()


def endpoint(uri: str) -> tuple[str, int] | None:
    """Host and port that the URI leads to over the network; None for local drivers, sockets and own commands.

    Raises SourceError for a URI that cannot be read.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as e:
        raise SourceError("unavailable", f"the libvirt URI cannot be read: {plain(e, 120)}") from None
    driver, _, transport = parts.scheme.partition("+")
    if not host or (driver == "test" and not transport) or transport not in PORTS:
        return None
    return host, port or PORTS[transport]


def probe(uri: str, timeout_s: float) -> None:
    """A TCP connect to where the URI leads, since open() itself waits two minutes for a host that is not there.

    Raises SourceError. A host that ssh reaches by way of another one is not probed.
    """
    target = endpoint(uri)
    if target is not None and urlsplit(uri).scheme.endswith("+ssh"):
        target = _ssh_endpoint(*target, explicit=urlsplit(uri).port is not None)
    if target is None:
        return
    where = f"{plain(target[0], 80)} port {target[1]}"
    try:
        socket.create_connection(target, timeout=timeout_s).close()
    except TimeoutError:
        raise SourceError("timeout", f"no answer from {where} within {timeout_s:g} s") from None
    except (socket.gaierror, UnicodeError):
        raise SourceError("unreachable", f"the name {plain(target[0], 80)} is not known") from None
    except OSError as e:
        words = "connection refused" if e.errno == errno.ECONNREFUSED else os.strerror(e.errno or errno.EIO).lower()
        raise SourceError("unreachable", f"{where}: {words}") from None


def _ssh_endpoint(host: str, port: int, *, explicit: bool) -> tuple[str, int] | None:
    """Where ssh would connect to, by the user's ssh configuration; None when it would go by way of another host."""
    if host.startswith("-"):
        raise SourceError("unavailable", f"{plain(host, 80)} is no host name")
    ssh = shutil.which("ssh")
    if ssh is None:
        return host, port
    try:
        answer = subprocess.run([ssh, "-G", "--", host], stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return host, port
    told = dict(line.split(" ", 1) for line in answer.stdout.decode("utf-8", "replace").splitlines() if " " in line)
    if told.get("proxyjump", "none") != "none" or told.get("proxycommand", "none") != "none":
        return None
    told_port = told.get("port", "")
    return told.get("hostname", host), port if explicit or not told_port.isdigit() else int(told_port)


def _open_within(libvirt: Any, uri: str, read_only: bool, timeout_s: float) -> Any:
    """open() in a thread of its own, which is left behind when the far side accepts the line and then says nothing."""
    opener = libvirt.openReadOnly if read_only else libvirt.open
    attempt = (uri, read_only)  # a change is not to fail because the host is being read for the first time just now
    with _guard:
        if attempt in _pending:
            raise SourceError("timeout", "libvirt is still silent since an earlier attempt to open it")
        _pending.add(attempt)
    done = threading.Event()
    result: list[Any] = []
    failure: list[BaseException] = []
    given_up = threading.Lock()

    def work() -> None:
        try:
            result.append(opener(uri))
        except BaseException as e:
            failure.append(e)
        with _guard:
            _pending.discard(attempt)
        if given_up.acquire(blocking=False):
            done.set()
        elif result:
            result[0].close()

    threading.Thread(target=work, name="libvirt-open", daemon=True).start()
    if not done.wait(timeout_s) and given_up.acquire(blocking=False):
        raise SourceError("timeout", f"libvirt did not answer within {timeout_s:g} s of being reached")
    done.wait()
    if failure:
        raise failure[0]
    return result[0]


def _start_events(libvirt: Any) -> None:
    """libvirt's event loop, which keepalive and events need, has to be there before the first connection."""
    global _loop_runs
    with _guard:
        if _loop_runs:
            return
        libvirt.registerErrorHandler(_be_quiet, None)  # the default one writes on the terminal
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_events, args=(libvirt,), name="libvirt-events", daemon=True).start()
        _loop_runs = True


def _run_events(libvirt: Any) -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            continue


def _be_quiet(_context: Any, _error: Any) -> None:
    """What goes wrong comes as an exception too."""
