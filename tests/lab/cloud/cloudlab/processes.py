"""Start the lab's processes in the background, remember them, and stop those and no others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudlab.settings import Settings, lab_venv


class LabError(Exception):
    """The lab could not be brought up; the text says where to look."""


def spawn(
    settings: Settings, name: str, module: str, *arguments: str, venv: Path | None = None, paths: Sequence[Path] = ()
) -> subprocess.Popen[bytes]:
    """Start ``python -m module HOME arguments`` in its own session, with its output in ``log/name.out``.

    ``venv`` is another environment than the lab's; ``paths`` are more places of modules.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [Path(__file__).resolve().parents[1], *paths]))
    environment["PYTHONWARNINGS"] = "ignore"
    python = str((venv or lab_venv()) / "bin" / "python")
    return spawn_command(settings, name, [python, "-m", module, str(settings.home), *arguments], environment)


def spawn_command(
    settings: Settings, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program the same way, and remember it."""
    with settings.path("log", f"{name}.out").open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )
    known = recorded(settings.home)
    known[name] = {"pid": process.pid, "started": start_time(process.pid)}
    _pid_file(settings.home).write_text(json.dumps(known))
    return process


def recorded(home: Path) -> dict[str, dict[str, Any]]:
    """The processes of the lab that lives there, by name."""
    try:
        return dict(json.loads(_pid_file(home).read_text()))
    except FileNotFoundError:
        return {}


def alive(entry: dict[str, Any]) -> bool:
    """Whether this very process still runs: the start time keeps a reused process id from being taken for it."""
    return start_time(entry["pid"]) == entry["started"]


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def stop_all(home: Path) -> int:
    """End the recorded processes, first politely, and forget them; says how many were still there."""
    entries = [entry for entry in recorded(home).values() if alive(entry)]
    _end(entries)
    _pid_file(home).unlink(missing_ok=True)
    return len(entries)


def stop(home: Path, name: str) -> bool:
    """End one of them; False when it did not run."""
    entries = [entry for key, entry in recorded(home).items() if key == name and alive(entry)]
    _end(entries)
    return bool(entries)


def _end(entries: list[dict[str, Any]]) -> None:
    for number, patience in ((signal.SIGTERM, 4.0), (signal.SIGKILL, 2.0)):
        for entry in entries:
            if alive(entry):
                os.kill(entry["pid"], number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(map(alive, entries)):
            _reap()
            time.sleep(0.05)


def wait_until(ready: Callable[[], bool], what: str, processes: list[subprocess.Popen[bytes]], timeout: float) -> None:
    """Wait for a condition; raises LabError when time is up or one of the processes ended."""
    deadline = time.monotonic() + timeout
    while True:
        for process in processes:
            if process.poll() is not None:
                raise LabError(f"{what}: process {process.args[2]} ended with {process.returncode}")  # type: ignore[index]
        if ready():
            return
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not there after {timeout:.0f} s")
        time.sleep(0.05)


def require_free(ports: list[int], address: str = "127.0.0.1") -> None:
    """Raises LabError when something listens on one of the ports already: or a lab would talk to another one."""
    for port in ports:
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise LabError(f"port {port} is in use; --port-base moves them all") from error


def answers(url: str) -> bool:
    """Whether something speaks HTTP there, with any status but a server error."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def memory_mib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def _reap() -> None:
    """Collect children that ended, when the lab is stopped by the process that started it."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _pid_file(home: Path) -> Path:
    return home / "processes.json"
