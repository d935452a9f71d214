"""The lab's own Python environment: OpenStack's services are kept apart from the console's libraries."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from cloudlab.settings import REPOSITORY, lab_venv

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"


def is_ready(venv: Path, lock: Path) -> bool:
    """Whether the environment holds exactly what the lock file names."""
    stamp = venv / "lock.sha256"
    return stamp.is_file() and stamp.read_text() == _digest(lock)


def make(venv: Path | None = None, lock: Path = LOCK) -> str:
    """Make or refresh the environment (the lab's, unless another is named) and say in a few words what was done.

    Raises CalledProcessError.
    """
    venv = venv or lab_venv()
    if is_ready(venv, lock):
        return "ready"
    venv.parent.mkdir(parents=True, exist_ok=True)
    python = venv / "bin" / "python"
    uv = REPOSITORY / ".tools" / "bin" / "uv"
    if uv.is_file():
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, venv)
        _run(uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock)
    else:
        _run(sys.executable, "-m", "venv", "--clear", venv)
        _run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", lock)
    (venv / "lock.sha256").write_text(_digest(lock))
    return f"installed in {venv}"


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)
