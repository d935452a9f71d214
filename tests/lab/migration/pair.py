"""The two hosts and their guests as the tests hold them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.lab.migration.heartbeat import Heartbeat
from tests.lab.migration.settings import EMULATOR, GUEST, HOME, HOSTS, Host

COMMAND = Path(__file__).with_name("lab")

# virDomainMigrateFlags
LIVE, PEER2PEER, PERSIST_DEST, UNDEFINE_SOURCE, POSTCOPY = 1, 2, 8, 16, 1 << 15
NOVA = LIVE | PEER2PEER | PERSIST_DEST | UNDEFINE_SOURCE
"""What nova-compute migrates with."""

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{kernel}</kernel><cmdline>{command_line}</cmdline></os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <serial type='unix'><source mode='connect' path='{socket}'/><target port='0'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <video><model type='none'/></video>
  </devices>
</domain>
"""

T = TypeVar("T")


def until(ready: Callable[[], T], what: str, timeout_s: float = 20.0, every_s: float = 0.02) -> T:
    """Wait until a value is true-ish and give it back; AssertionError when time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = ready()
        if value:
            return value
        assert time.monotonic() < deadline, f"not after {timeout_s:.0f} s: {what}"
        time.sleep(every_s)


class Migrating:
    """A migration that runs in a thread of its own, as nova-compute runs it."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: Any = None
        self._call = call
        self._thread = threading.Thread(target=self._run, name="migrating", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error

    @property
    def runs(self) -> bool:
        """Whether the call has not come back."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Until it has ended, well or not; AssertionError when it does not."""
        self._thread.join(timeout_s)
        assert not self.runs, "the migration does not end"

    def succeed(self, timeout_s: float = 60.0) -> None:
        """Until it has ended; AssertionError unless well."""
        self.wait(timeout_s)
        assert self.error is None, self.error


class Guest:
    """A guest that beats on one of the hosts."""

    def __init__(self, pair: Pair, ws_mib: int, rate_mib: int, *, persistent: bool) -> None:
        self.pair = pair
        self.uuid = str(uuid.uuid4())
        self.name = f"beat-{self.uuid[:6]}"
        self.heartbeat = Heartbeat(HOME / f"{self.uuid[:6]}.beat")
        text = DOMAIN.format(
            name=self.name,
            uuid=self.uuid,
            memory_mib=ws_mib + 64,
            kernel=GUEST,
            command_line=f"ws={ws_mib} rate={rate_mib}",
            emulator=EMULATOR,
            socket=self.heartbeat.path,
        )
        connection = pair.connection(pair.a)
        if persistent:
            connection.defineXML(text).create()
        else:
            connection.createXML(text, 0)
        until(lambda: self.beats() > 50, "the guest beats")

    def beats(self) -> int:
        """How many heartbeats came in all."""
        return sum(e.beats for e in self.heartbeat.emulators())

    def on(self, host: Host) -> Any:
        """Its domain on a host; None when it is not there."""
        import libvirt

        try:
            return self.pair.connection(host).lookupByUUIDString(self.uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == 42:  # VIR_ERR_NO_DOMAIN
                return None
            raise

    def migrate(self, source: Host, destination: Host, *, flags: int = NOVA, mib_s: int = 200) -> Migrating:
        """Start its migration with at most ``mib_s`` MiB a second on the wire."""
        domain = self.on(source)
        parameters = {"bandwidth": mib_s}
        return Migrating(lambda: domain.migrateToURI3(destination.peer_uri, parameters, flags))

    def close(self) -> None:
        """End it on both hosts."""
        import libvirt

        for host in HOSTS:
            with contextlib.suppress(libvirt.libvirtError):
                domain = self.on(host)
                if domain is not None:
                    for end in (domain.abortJob, domain.destroy, domain.undefine):
                        with contextlib.suppress(libvirt.libvirtError):
                            end()
        self.heartbeat.close()


class Pair:
    """The lab. Its knobs go by way of its command, which becomes root where that is needed."""

    def __init__(self) -> None:
        self.a, self.b = HOSTS
        self._connections: dict[str, Any] = {}

    def up(self) -> None:
        """Bring it up; raises CalledProcessError with what it said."""
        self.run("up")

    def down(self) -> None:
        """End it."""
        for name in list(self._connections):
            self._forget(name)
        self.run("down")

    def run(self, *arguments: str) -> None:
        """One of the lab's commands."""
        subprocess.run([sys.executable, str(COMMAND), *arguments], check=True, capture_output=True, text=True)

    def cable(self, host: Host, what: str) -> None:
        """``cut`` or ``mend``."""
        self.run("cable", host.name, what)

    def daemon(self, host: Host, what: str) -> None:
        """``start``, ``stop``, ``kill``, ``freeze``, ``thaw``, ``restart``."""
        self.run("daemon", host.name, what)

    def connection(self, host: Host) -> Any:
        """A connection for the tests' own calls, with all rights."""
        from vgpu_console.sources.libvirt_open import open_libvirt

        kept = self._connections.get(host.name)
        if kept is None or not kept.isAlive():
            self._forget(host.name)
            kept = self._connections[host.name] = open_libvirt(host.uri, False)
        return kept

    def _forget(self, name: str) -> None:
        kept = self._connections.pop(name, None)
        if kept is not None:
            with contextlib.suppress(Exception):
                kept.close()
