"""openstackclient in an environment of its own: what operators use today, and what the console is compared with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PINNED = ("python-openstackclient==10.5.0", "osc-placement==4.9.1")
TREE = Path(__file__).resolve().parents[2]
HOME = TREE / ".lab" / "openstackclient"


def openstack() -> str:
    """The path of its command; the environment is made when it is missing."""
    command = HOME / "bin" / "openstack"
    if not command.exists():
        print("installing openstackclient …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([str(HOME / "bin" / "pip"), "install", "--quiet", *PINNED], check=True)
    return str(command)


def console() -> str:
    """The path of this project's command."""
    return str(Path(sys.executable).with_name("vgpu-console"))
