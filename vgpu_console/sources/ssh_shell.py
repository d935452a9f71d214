"""The real host shell: asyncssh in one background thread, one kept connection per host.

Users, ports, keys, jump hosts and known hosts come from the user's own ssh configuration and agent, as for ``ssh``;
nothing is ever asked at the terminal, so a key with a passphrase has to be in the agent.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import os
import socket
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vgpu_console.sources.base import Refused, SourceError, Unanswered
from vgpu_console.sources.change_command import HostChange, change_command
from vgpu_console.sources.fact_command import FACT_COMMAND, OUTPUT_LIMIT
from vgpu_console.text import plain

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

_SYSTEM_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")
_STDERR_LIMIT = 4096
_KEEPALIVE_S = 15
_ERRNO_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to its network",
    errno.ECONNRESET: "the connection was closed",
    errno.EPIPE: "the connection was closed",
    errno.ETIMEDOUT: "no answer",
}


class AsyncSshShell:
    """Runs commands on hosts over SSH (a ChangingShell). Blocking calls from any thread; all else is one thread's.

    This is where the wall stands: ``run`` sends the constant fact command and nothing else, and ``change`` sends one of
    the constant changes and only with ``changes``. (Tests give ``only=None`` to send other things.)

    ``config`` names ssh configuration files instead of ``~/.ssh/config``, ``known_hosts`` such a file instead of those
    that the configuration or the system has. ``strict_host_keys=False`` takes any host key. Times are seconds;
    ``concurrency`` is how many hosts are asked at once.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        port: int | None = None,
        keys: Sequence[str | Path] = (),
        config: Sequence[str | Path] = (),
        known_hosts: str | Path | None = None,
        strict_host_keys: bool = True,
        connect_timeout_s: float = 10.0,
        concurrency: int = 32,
        changes: bool = False,
        only: str | None = FACT_COMMAND,
    ) -> None:
        self._user, self._port = user, port
        self._keys = [str(Path(k).expanduser()) for k in keys]
        self._config = [str(Path(c).expanduser()) for c in config]
        self._known_hosts = [str(known_hosts)] if known_hosts else []
        self._strict = strict_host_keys
        self._connect_timeout_s = connect_timeout_s
        self._concurrency = concurrency
        self._changes = changes
        self._only = only
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        # Below: touched only in the loop's thread.
        self._slots: asyncio.Semaphore | None = None
        self._turns: dict[str, asyncio.Lock] = {}
        self._connections: dict[str, asyncssh.SSHClientConnection] = {}

    def run(self, host: str, command: str, timeout_s: float) -> str:
        """Standard output of the command, at most 4 MiB of it. Raises SourceError; an error names the host's port."""
        if self._only is not None and command != self._only:
            raise Refused(f"{host}: not sent: this is not the command that reads facts")
        return self._in_loop(self._run(host, command, timeout_s))

    def change(self, host: str, change: HostChange, timeout_s: float) -> str:
        """What the change's command printed. It is sent once at most, over a connection of its own.

        Raises Refused without the right to change, SourceError when it was not sent, Unanswered when its answer is
        missing.
        """
        if not self._changes:
            raise Refused(f"{host}: not sent: the console may only read over SSH ([ssh] changes)")
        return self._in_loop(self._change(host, change_command(change), timeout_s))

    def close(self) -> None:
        """Close every connection and end the thread; later calls are refused."""
        with self._guard:
            self._closed = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close_all(), loop)
        thread.join(timeout=5)

    def _in_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with self._guard:
            if self._closed:
                coroutine.close()
                raise SourceError("unavailable", "the SSH connections are closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._serve, args=(self._loop,), name="ssh", daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise SourceError("unavailable", "the SSH connections were closed meanwhile") from None

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _close_all(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._connections.values():
            connection.abort()
        self._connections.clear()
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=2) if others else await asyncio.sleep(0)
        loop.stop()

    async def _run(self, host: str, command: str, timeout_s: float) -> str:
        self._slots = self._slots or asyncio.Semaphore(self._concurrency)
        async with self._turns.setdefault(host, asyncio.Lock()), self._slots:
            kept = self._connections.get(host)
            if kept is not None and not kept.is_closed():
                try:
                    return await self._command(kept, host, command, timeout_s)
                except SourceError as e:
                    if e.kind != "unreachable":
                        raise  # a kept connection that was lost unnoticed is tried once more with a new one
            self._drop(host)
            self._connections[host] = connection = await self._connect(host)
            return await self._command(connection, host, command, timeout_s)

    async def _change(self, host: str, command: str, timeout_s: float) -> str:
        import asyncssh

        # not the kept connection: whether that one is still good shows only when something was sent over it
        connection = await self._connect(host)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._read(connection, host, command)
        except TimeoutError:
            words = f"{host} did not finish the command within {timeout_s:g} s: nobody knows whether it was obeyed"
            raise Unanswered("timeout", words) from None
        except asyncssh.ChannelOpenError as e:
            raise _explain(e, host) from None
        except (asyncssh.Error, OSError) as e:
            told = _explain(e, host)
            raise Unanswered(told.kind, f"{told}: nobody knows whether it was obeyed") from None
        finally:
            connection.abort()

    def _drop(self, host: str) -> None:
        connection = self._connections.pop(host, None)
        if connection is not None:
            connection.abort()

    async def _connect(self, host: str) -> asyncssh.SSHClientConnection:
        import asyncssh

        wanted: dict[str, Any] = {"config": self._config or ()}
        if self._user:
            wanted["username"] = self._user
        if self._port:
            wanted["port"] = self._port
        known: list[bool] = []  # whether the known hosts have a key of this host, once they were looked through
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                files = await self._known_hosts_files(host, wanted)

                def trusted(name: str, address: str, port: int | None) -> Any:
                    entries = asyncssh.read_known_hosts(files) if files else asyncssh.import_known_hosts("")
                    found = entries.match(name, address, port)
                    known.append(bool(found[0]))
                    return found

                return await asyncssh.connect(
                    host,
                    **wanted,
                    client_keys=self._keys or (),
                    known_hosts=trusted if self._strict else None,
                    keepalive_interval=_KEEPALIVE_S,
                    keepalive_count_max=2,
                )
        except TimeoutError:
            raise SourceError("timeout", f"no SSH answer from {host} within {self._connect_timeout_s:g} s") from None
        except asyncssh.HostKeyNotVerifiable as e:
            raise _host_key_error(e, host, known) from None
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as e:
            if "assphrase" in str(e):
                raise SourceError("auth", "the SSH key has a passphrase: add it to the ssh agent") from None
            raise _explain(e, host) from None
        except (asyncssh.Error, OSError, ValueError) as e:  # a ValueError comes of the configuration or known_hosts
            raise _explain(e, host) from None

    async def _known_hosts_files(self, host: str, wanted: dict[str, Any]) -> list[str]:
        """The readable ones of: what was given, what the ssh configuration names, what the system has."""
        import asyncssh

        names: Sequence[str] = self._known_hosts
        if not names:
            options = await asyncssh.SSHClientConnectionOptions.construct(
                None, host=host, **wanted, client_keys=None, agent_path=None
            )
            configured = options.known_hosts
            names = [str(n) for n in configured] if isinstance(configured, list) else []
        return _readable(names or _SYSTEM_KNOWN_HOSTS)

    async def _command(
        self, connection: asyncssh.SSHClientConnection, host: str, command: str, timeout_s: float
    ) -> str:
        import asyncssh

        try:
            async with asyncio.timeout(timeout_s):
                return await self._read(connection, host, command)
        except TimeoutError:
            self._drop(host)
            raise SourceError("timeout", f"{host} did not finish the command within {timeout_s:g} s") from None
        except (asyncssh.Error, OSError) as e:
            self._drop(host)
            raise _explain(e, host) from None

    async def _read(self, connection: asyncssh.SSHClientConnection, host: str, command: str) -> str:
        import asyncssh

        process = await connection.create_process(
            command, stdin=asyncssh.DEVNULL, stderr=asyncssh.PIPE, encoding=None, request_pty=False
        )
        errors = asyncio.ensure_future(_read_all(process.stderr, _STDERR_LIMIT, discard_rest=True))
        try:
            out = await _read_all(process.stdout, OUTPUT_LIMIT)
            if len(out) > OUTPUT_LIMIT:  # a flood: nothing more of it is read
                self._drop(host)
                return out[:OUTPUT_LIMIT].decode("utf-8", "replace")
            err = await errors
            await process.wait_closed()
        finally:
            errors.cancel()
            process.close()
        if not out and process.exit_status != 0:
            if connection.is_closed():
                raise ConnectionResetError(errno.ECONNRESET, "closed in the middle")
            said = plain(err.decode("utf-8", "replace").strip().split("\n")[0], 120)
            raise SourceError("forbidden", f"{host} did not run the command{': ' + said if said else ''}")
        return out.decode("utf-8", "replace")


def _readable(names: Sequence[str]) -> list[str]:
    paths = [Path(n).expanduser() for n in names]
    return [str(p) for p in paths if os.access(p, os.R_OK) and p.is_file()]


async def _read_all(stream: Any, limit: int, *, discard_rest: bool = False) -> bytes:
    """Up to one byte more than the limit; reading on is what keeps the far side from waiting."""
    parts: list[bytes] = []
    size = 0
    while chunk := await stream.read(65536):
        if size <= limit:
            parts.append(chunk)
            size += len(chunk)
        elif not discard_rest:
            break
    return b"".join(parts)[: limit + 1]


def _host_key_error(error: Exception, host: str, known: list[bool]) -> SourceError:
    """Tells a host that was never seen from one whose key is another than before."""
    if "revoked" in str(error):
        return SourceError("auth", f"the host key of {host} is revoked in known_hosts")
    if any(known):
        return SourceError("auth", f"the host key of {host} has CHANGED: not the one in known_hosts; nothing was sent")
    return SourceError("auth", f"the host key of {host} is not known: connect once with ssh, or add it to known_hosts")


def _explain(error: Exception, host: str) -> SourceError:
    """One clear line for what asyncssh and the socket layer raise."""
    import asyncssh

    if isinstance(error, asyncssh.PermissionDenied):
        return SourceError("auth", f"{host} accepted no key of this user (permission denied)")
    if isinstance(error, asyncssh.ChannelOpenError):
        return SourceError("unreachable", f"{host} opened no session: {plain(error.reason, 120)}")
    if isinstance(error, asyncssh.ConnectionLost):
        return SourceError("unreachable", f"{host}: the SSH connection was lost")
    if isinstance(error, asyncssh.Error):
        return SourceError("protocol", f"{host}: SSH: {plain(error.reason, 160)}")
    if isinstance(error, socket.gaierror):
        return SourceError("unreachable", f"{host}: the name is not known")
    if isinstance(error, OSError):
        return SourceError("unreachable", f"{host}: {_os_words(error)}")
    return SourceError("unavailable", f"the SSH configuration or a key cannot be used: {plain(error, 160)}")


def _os_words(error: OSError) -> str:
    """asyncio joins the errors of several addresses into one without a number: then the first of its words counts."""
    if error.errno in _ERRNO_WORDS:
        return _ERRNO_WORDS[error.errno]
    text = str(error)
    numbers = [(text.find(f"[Errno {number}]"), words) for number, words in _ERRNO_WORDS.items()]
    return min(((at, words) for at, words in numbers if at >= 0), default=(0, plain(error.strerror or text, 160)))[1]
