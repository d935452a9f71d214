"""The two hosts: namespaces, the network between them, and a libvirt daemon in each. Everything here needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab.migration.requirements import program
from tests.lab.migration.settings import HOME, HOSTS, SWITCH, Host

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 1
listen_addr = "{address}"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0777"
unix_sock_ro_perms = "0777"
host_uuid = "{uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
# Nothing of the machine's own services is asked: no cgroups, no AppArmor, no virtlogd. max_core: a guest that is killed
# on purpose leaves no core file. keepalive_*: a cut cable ends a migration in seconds, not in the usual half minute.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
max_core = 0
keepalive_interval = 1
keepalive_count = 2
"""
BOUND = {
    "run": "/run",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "files/hosts": "/etc/hosts",
    "files/passwd": "/etc/passwd",
    "files/group": "/etc/group",
}
"""What each host has of its own: under its home -> where its daemon sees it."""

MADE = HOME / "mount-points"
"""Lists the empty directories that were made on the machine to mount on, so that ``down`` takes them away."""


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("ip") or "ip", *arguments], check=check, capture_output=True, text=True)


def namespaces() -> set[str]:
    """Of this lab's network namespaces those that exist."""
    there = {line.split()[0] for line in _ip("netns", "list", check=False).stdout.splitlines() if line.strip()}
    return there & {SWITCH, *(h.namespace for h in HOSTS)}


def up() -> None:
    """Bring both hosts up. Raises subprocess.CalledProcessError, TimeoutError with the end of the daemon's log."""
    HOME.mkdir(parents=True, exist_ok=True)
    HOME.chmod(0o700)  # libvirt's sockets ask for no password: only who may look in here reaches them
    owner = int(os.environ.get("SUDO_UID", os.getuid()))
    os.chown(HOME, owner, -1)
    _ip("netns", "add", SWITCH)
    _ip("-n", SWITCH, "link", "add", "bridge", "type", "bridge")
    _ip("-n", SWITCH, "link", "set", "bridge", "up")
    for host in HOSTS:
        _ip("netns", "add", host.namespace)
        _ip("-n", SWITCH, "link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _ip("-n", SWITCH, "link", "set", host.cable, "master", "bridge", "up")
        _ip("-n", host.namespace, "link", "set", "lo", "up")
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", host.namespace, "link", "set", "eth0", "up")
        _write_files(host)
    _make_mount_points()
    for host in HOSTS:
        start_daemon(host, wait=False)
    for host in HOSTS:
        _wait(host)


def down() -> None:
    """End every process of the lab and take its namespaces away. Harmless when it is not up."""
    there = namespaces()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 2
        pids = set(_pids(there))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)
        while set(_pids(there)) and time.monotonic() < deadline:
            time.sleep(0.02)
    for name in there:
        _ip("netns", "delete", name, check=False)
    for host in HOSTS:
        _forget_files(host)
    if MADE.exists():
        for path in reversed(MADE.read_text().split()):
            with contextlib.suppress(OSError):  # somebody else uses it by now
                os.rmdir(path)
        MADE.unlink()


def _pids(there: set[str]) -> Iterator[int]:
    for name in there:
        yield from map(int, _ip("netns", "pids", name, check=False).stdout.split())


def _forget_files(host: Host) -> None:
    """All but libvirt's cache of what the emulator can do, which takes seconds to find out and stays true."""
    for part in host.home.glob("*"):
        if part.name == "libvirtd.out":
            part.unlink()
        elif part.name != "cache":
            shutil.rmtree(part, ignore_errors=True)


def _write_files(host: Host) -> None:
    _forget_files(host)
    for part in BOUND:
        folder = host.home / (part if "/" not in part else "files")
        folder.mkdir(parents=True, exist_ok=True)
    host.home.joinpath("etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(address=host.address, uuid=host.uuid))
    host.home.joinpath("etc/qemu.conf").write_text(QEMU_CONF)
    names = "".join(f"{h.address} {h.name}\n" for h in HOSTS)
    host.home.joinpath("files/hosts").write_text(f"127.0.0.1 localhost\n{names}")
    # libvirt's QEMU driver does not start without the user and group that it was built for.
    users, groups = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
    if "\nlibvirt-qemu:" not in users:
        users += "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n"
    for group, number in (("kvm", 64056), ("libvirt-qemu", 64055)):
        if f"\n{group}:" not in groups:
            groups += f"{group}:x:{number}:\n"
    host.home.joinpath("files/passwd").write_text(users)
    host.home.joinpath("files/group").write_text(groups)


def _make_mount_points() -> None:
    made = MADE.read_text().split() if MADE.exists() else []
    for target in BOUND.values():
        if not os.path.exists(target):
            os.makedirs(target)
            made.append(target)
    MADE.write_text("\n".join(made))


def start_daemon(host: Host, *, wait: bool = True) -> None:
    """Start the libvirt daemon of a host in its namespaces; guests that already run there are found again.

    Raises TimeoutError with the end of its log.
    """
    mounts = " && ".join(f"mount --bind '{host.home / part}' {target}" for part, target in BOUND.items())
    listen = f"{program('libvirtd')} --listen --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid"
    script = f"hostname {host.name} && {mounts} && exec {listen}"
    # Ahead of whatever else keeps this machine busy: what is measured is the migration, not the wait for a processor.
    keeper = [sys.executable, str(Path(__file__).with_name("keeper.py")), "nice", "-n", "-10"]
    own = ["unshare", "--mount", "--uts", "--propagation", "private"]
    with open(host.home / "libvirtd.out", "ab") as out:
        subprocess.Popen(
            [*keeper, program("ip") or "ip", "netns", "exec", host.namespace, *own, "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    if wait:
        _wait(host)


def signal_daemon(host: Host, name: str) -> None:
    """Send the daemon TERM, KILL, STOP or CONT; after the first two it is gone when this returns."""
    pid = daemon_pid(host)
    if pid is None:
        raise ProcessLookupError(f"no libvirt daemon runs on {host.name}")
    os.kill(pid, signal.Signals[f"SIG{name}"])
    if name in ("TERM", "KILL"):
        deadline = time.monotonic() + 10
        while daemon_pid(host) is not None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the libvirt daemon of {host.name} does not end")
            time.sleep(0.01)


def daemon_pid(host: Host) -> int | None:
    """The daemon's process id, None when it does not run."""
    try:
        pid = int((host.home / "run" / "libvirtd.pid").read_text())
        command = Path(f"/proc/{pid}/comm").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (OSError, ValueError, IndexError):
        return None
    return pid if command == "libvirtd" and state != "Z" else None


def emulators(host: Host) -> list[int]:
    """The process ids of the guests on a host."""
    found = []
    for pid in _pids({host.namespace} & namespaces()):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
                found.append(pid)
    return found


def set_cable(host: Host, *, plugged: bool) -> None:
    """Cut a host's cable, or mend it: frames are lost without a word, as when a switch dies."""
    _ip("-n", SWITCH, "link", "set", host.cable, "up" if plugged else "down")


def _wait(host: Host, timeout_s: float = 10.0) -> None:
    """Until the daemon answers, and not merely listens: it does so before its drivers are ready."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(host.socket))
            if _answers(host):
                return
        time.sleep(0.01)
    log = (host.home / "libvirtd.out").read_text(errors="replace")[-1000:]
    raise TimeoutError(f"libvirt on {host.name} does not answer: {log}")


def _answers(host: Host) -> bool:
    try:
        import libvirt
    except ImportError:
        return True  # a listening socket has to do
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        libvirt.openReadOnly(host.uri).close()
    except libvirt.libvirtError:
        return False
    return True
