"""What the lab needs of the machine, installing it where that is allowed, and the guest's program."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab.migration.settings import EMULATOR, GUEST, GUEST_SOURCES

PACKAGES = {
    "libvirtd": "libvirt-daemon",
    "libvirt's QEMU driver": "libvirt-daemon-driver-qemu",
    "qemu-system-x86_64": "qemu-system-x86",
    "ip": "iproute2",
    "unshare": "util-linux",
    "gcc": "gcc",
}
"""What is needed, and the Debian or Ubuntu package that has it."""

COMPILE = [
    *("gcc", "-m32", "-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-static", "-s"),
    *("-fno-pic", "-no-pie", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"),
    *("-fcf-protection=none", "-mgeneral-regs-only"),  # nothing that a processor fresh from its reset does not know
    "-Wl,-Ttext-segment=0x100000,-z,noseparate-code,-z,noexecstack,--build-id=none",
]


class NotPossible(Exception):
    """The lab cannot run here; ``str()`` says what is missing."""


def as_root() -> list[str]:
    """The words before a command that needs root. Raises NotPossible when neither root nor ``sudo -n`` is at hand."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "-n", "true"], capture_output=True).returncode:
        raise NotPossible("needs root, or sudo that asks for no password")
    return [sudo, "-n"]


def program(name: str) -> str | None:
    """Where a program is; also where an ordinary user's PATH does not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def missing() -> Iterator[str]:
    """What of PACKAGES is not there."""
    for name in ("libvirtd", "ip", "unshare", "gcc"):
        if program(name) is None:
            yield name
    if not os.access(EMULATOR, os.X_OK):
        yield "qemu-system-x86_64"
    if not any(Path("/usr").glob("lib*/**/libvirt/connection-driver/libvirt_driver_qemu.so")):
        yield "libvirt's QEMU driver"


def set_up() -> str:
    """Install what is missing, compile the guest; what was done, in one line. Raises NotPossible."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise NotPossible("the guests are for Linux on x86_64")
    root = as_root()
    wanted = sorted({PACKAGES[name] for name in missing()})
    if wanted and program("apt-get") and os.environ.get("SETUP_APT", "yes") != "no":
        apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
        install = [*apt, "install", "-y", "--no-install-recommends", *wanted]
        if subprocess.run(install, capture_output=True).returncode:
            subprocess.run([*apt, "update"], capture_output=True)
            subprocess.run(install, capture_output=True)
    still = list(missing())
    if still:
        packages = " ".join(PACKAGES[name] for name in still)
        raise NotPossible(f"missing: {', '.join(still)} (Debian and Ubuntu: apt-get install {packages})")
    compiled = compile_guest()
    done = [f"installed {' '.join(wanted)}"] if wanted else []
    return ", ".join([*done, f"guest of {compiled} bytes"])


def compile_guest() -> int:
    """Compile the guest unless it is newer than its sources; its size in bytes. Raises NotPossible."""
    sources = sorted([*GUEST_SOURCES.glob("*.S"), *GUEST_SOURCES.glob("*.c")], reverse=True)
    if not GUEST.exists() or GUEST.stat().st_mtime < max(s.stat().st_mtime for s in sources):
        GUEST.parent.mkdir(parents=True, exist_ok=True)
        fresh = GUEST.with_suffix(".new")
        made = subprocess.run([*COMPILE, "-o", str(fresh), *map(str, sources)], capture_output=True, text=True)
        if made.returncode:
            raise NotPossible(f"gcc cannot make the guest: {made.stderr.strip()}")
        fresh.replace(GUEST)
    return GUEST.stat().st_size
