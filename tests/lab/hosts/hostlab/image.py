"""The image that hosts boot: built once for each state of its recipe, and kept."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from hostlab.settings import HERE, LabError, labs_home

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "xz": "xz-utils",
    "ssh": "openssh-client",
}
"""What building and running take, and the Debian package that has it."""

_OF_THE_NETWORK = ("_proxy", "ssl_cert_file", "ssl_cert_dir")
"""Ends of the names of variables by which this machine's programs reach registries."""

_SBIN = ("/usr/sbin", "/sbin")


@dataclasses.dataclass(frozen=True)
class Image:
    """The files of a built image."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """Debian's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initramfs that finds the disk."""
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        """The root file system; hosts write to a throw-away layer above it."""
        return self.folder / "root.img"

    @property
    def key(self) -> Path:
        """The private key for root and watcher."""
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        """The host's key, for any name and port."""
        return self.folder / "known_hosts"

    @property
    def ready(self) -> bool:
        """Whether it was built to the end."""
        return (self.folder / "built").exists()


def image(addition: Path | None = None) -> Image:
    """The image of the recipe as it is now, built or not; with an addition (see build-image) one of its own."""
    return Image(labs_home() / f"{_prefix(addition)}{_recipe(addition)[:12]}")


def make(addition: Path | None = None) -> str:
    """Install what it takes, build the image if there is none, and say in a few words what was done.

    Raises LabError naming what is missing. Others that make it at the same time wait for the first.
    """
    labs_home().mkdir(parents=True, exist_ok=True)
    with (labs_home() / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install_tools()
        wanted = image(addition)
        if wanted.ready:
            return "ready"
        started = time.monotonic()
        _build(wanted.folder, addition)
        (wanted.folder / "built").touch()
        for other in labs_home().glob(f"{_prefix(addition)}*"):
            if other != wanted.folder:
                shutil.rmtree(other, ignore_errors=True)
        return f"built in {time.monotonic() - started:.0f} s"


def _prefix(addition: Path | None) -> str:
    return f"{addition.name}-image-" if addition else "image-"


def _recipe(addition: Path | None) -> str:
    digest = hashlib.sha256()
    inputs = [HERE / "build-image", *(HERE / "guest").rglob("*"), *(HERE / "module").rglob("*")]
    if addition:
        inputs += addition.rglob("*")
    for file in sorted(path for path in inputs if path.is_file()):
        name = file.relative_to(HERE) if file.is_relative_to(HERE) else file.relative_to(HERE.parent)
        digest.update(f"{name} {file.stat().st_mode & 0o111}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _build(folder: Path, addition: Path | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [*_as_root(f"building the image of the lab hosts into {folder}"), "env", f"OWNER={os.getuid()}"]
    network = [f"{key}={value}" for key, value in os.environ.items() if key.lower().endswith(_OF_THE_NETWORK)]
    recipe = [str(HERE / "build-image"), str(folder), *([str(addition)] if addition else [])]
    try:
        subprocess.run([*command, *network, *recipe], check=True)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise LabError("the image of the lab hosts could not be built, see the lines above") from error


def _install_tools() -> None:
    missing = sorted({package for tool, package in TOOLS.items() if not _has(tool)})
    if not missing:
        return
    words = " ".join(missing)
    if os.environ.get("SETUP_APT") == "no" or not shutil.which("apt-get"):
        raise LabError(f"lab hosts need these packages: {words}")
    root = _as_root(f"installing {words}")
    print(f"lab host: installing {words}", flush=True)
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    subprocess.run([*apt, "update"], check=False, stdout=subprocess.DEVNULL)
    install = [*apt, "install", "-y", "--no-install-recommends", *missing]
    done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode or not all(_has(tool) for tool in TOOLS):
        raise LabError(f"apt-get could not install {words}:\n{done.stdout[-2000:]}")


def _has(tool: str) -> bool:
    return bool(shutil.which(tool)) or any(os.access(f"{folder}/{tool}", os.X_OK) for folder in _SBIN)


def _as_root(what: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    raise LabError(f"{what} needs root, or sudo without a password")
