"""One host as a process: start QEMU, wait until the host is ready, end it, and reach it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

from hostlab.image import Image
from hostlab.settings import LabError, Settings, load

READY = b"hostlab: ready after"
BOOT_TIMEOUT_S = 300.0
"""Eight seconds are usual; a machine that does much else takes its time."""

_GPU_NEEDS = "sriov_max_vfs=16,sriov_vq_flexible=32,sriov_vi_flexible=16,max_ioqpairs=34,msix_qsize=33"
"""QEMU's NVMe controller gives each virtual function two queues and an interrupt of its own."""


def start(settings: Settings, image: Image) -> None:
    """Start the host and wait until it is ready. Raises LabError with the end of its console."""
    if alive(settings):
        raise LabError(f"{settings.name} is up already; 'lab down' ends it")
    _require_free(settings)
    if settings.home.exists():
        shutil.rmtree(settings.home)
    settings.save()
    _image_note(settings).write_text(str(image.folder))
    _write_ssh_files(settings, image)
    with (settings.home / "qemu.out").open("ab") as output:
        process = subprocess.Popen(
            _command(settings, image),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _pid_file(settings).write_text(json.dumps({"pid": process.pid, "started": _start_time(process.pid)}))
    try:
        _wait_until_ready(settings, process)
    except BaseException:
        stop(settings)
        raise


def stop(settings: Settings) -> bool:
    """End the host, as by pulling its plug; False when it did not run. Nothing that it wrote is kept."""
    if not alive(settings):
        return False
    pid = json.loads(_pid_file(settings).read_text())["pid"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + 10
        while alive(settings) and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
    _pid_file(settings).unlink(missing_ok=True)
    return True


def alive(settings: Settings) -> bool:
    """Whether this very process still runs: the start time keeps a reused process id from being taken for it."""
    try:
        known = json.loads(_pid_file(settings).read_text())
    except FileNotFoundError:
        return False
    return known["started"] is not None and _start_time(known["pid"]) == known["started"]


def runs_as(settings: Settings, image: Image) -> bool:
    """Whether the host runs, with just these settings and from this image."""
    try:
        return (
            alive(settings)
            and load(settings.name) == settings
            and _image_note(settings).read_text() == str(image.folder)
        )
    except (LabError, OSError, TypeError):
        return False


def memory_mib(settings: Settings) -> int:
    """Resident memory of the host's QEMU."""
    pid = json.loads(_pid_file(settings).read_text())["pid"]
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def ssh_command(settings: Settings, user: str = "root") -> list[str]:
    """The ssh command line that reaches the host; a command to run there can follow."""
    return [str(settings.home / "ssh"), f"{user}@{settings.name}"]


def libvirt_tcp_uri(settings: Settings) -> str:
    """libvirt without authentication."""
    return f"qemu+tcp://127.0.0.1:{settings.libvirt_port}/system"


def libvirt_ssh_uri(settings: Settings, user: str = "root") -> str:
    """libvirt over SSH, with the host's own key and known hosts."""
    return f"qemu+ssh://{user}@127.0.0.1:{settings.ssh_port}/system?command={settings.home / 'ssh'}"


def _command(settings: Settings, image: Image) -> list[str]:
    kernel = {
        "name": settings.name,
        "uuid": settings.host_uuid,
        "framework": settings.framework,
        "vfs": settings.vfs,
        "lan": settings.lan_address or "",
    }
    options = " ".join(f"hostlab.{key}={value}" for key, value in kernel.items() if value != "")
    forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in settings.ports.items())
    command: list[object] = ["qemu-system-x86_64", "-name", settings.name, "-uuid", settings.host_uuid]
    command += ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", settings.cpus]
    command += ["-m", settings.memory_mib, "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"]
    command += ["-serial", f"file:{_log(settings)}"]
    command += ["-kernel", image.kernel, "-initrd", image.initrd, "-append"]
    command += [f"console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0 {options}"]
    command += ["-drive", f"file={image.disk},format=raw,if=virtio,cache=unsafe,snapshot=on"]
    command += ["-netdev", f"user,id=net0,restrict=on,{forwards}"]
    command += ["-device", f"virtio-net-pci,netdev=net0,mac={settings.mac(0)},romfile="]
    if settings.lan:
        command += ["-netdev", f"{settings.lan},id=net1"]
        command += ["-device", f"virtio-net-pci,netdev=net1,mac={settings.mac(1)},romfile="]
    for number in range(1, settings.gpus + 1):
        command += ["-device", f"nvme-subsys,id=gpu{number}"]
        command += ["-device", f"pcie-root-port,id=port{number},slot={number},chassis={number}"]
        command += ["-device", f"nvme,serial=gpu{number},subsys=gpu{number},bus=port{number},{_GPU_NEEDS}"]
    return [str(part) for part in command]


def _wait_until_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while True:
        console = _log(settings).read_bytes() if _log(settings).exists() else b""
        if READY in console:
            return
        said = console.decode(errors="replace")[-1500:]
        if process.poll() is not None:
            said = (settings.home / "qemu.out").read_text(errors="replace")[-1500:] + said
            raise LabError(f"{settings.name} ended while it started:\n{said}")
        if time.monotonic() > deadline:
            raise LabError(f"{settings.name} was not ready after {BOOT_TIMEOUT_S:.0f} s; its console:\n{said}")
        time.sleep(0.1)


def _write_ssh_files(settings: Settings, image: Image) -> None:
    """The key, and an ssh that needs and touches nothing of the user's own; libvirt can be told to use it."""
    for source, name in ((image.key, "id"), (image.known_hosts, "known_hosts")):
        shutil.copy(source, settings.home / name)
    (settings.home / "id").chmod(0o600)
    config = settings.home / "ssh_config"
    config.write_text(
        f"Host {settings.name}\n  HostName 127.0.0.1\n  Port {settings.ssh_port}\n"
        f"Host *\n  User root\n  IdentityFile {settings.home / 'id'}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {settings.home / 'known_hosts'}\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
    )
    wrapper = settings.home / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec ssh -F {config} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)


def _require_free(settings: Settings) -> None:
    for port in settings.ports:
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise LabError(f"port {port} is in use; --port-base moves both") from error


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _log(settings: Settings) -> Path:
    return settings.home / "console.log"


def _image_note(settings: Settings) -> Path:
    return settings.home / "image"


def _pid_file(settings: Settings) -> Path:
    return settings.home / "process.json"
