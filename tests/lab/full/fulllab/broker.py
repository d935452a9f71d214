"""RabbitMQ, which carries Nova's calls between the control plane and the hosts: Debian's, with a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess

from cloudlab import processes
from cloudlab.settings import PASSWORD

from fulllab.settings import BROKER_USER, LabError, Settings, home

PROGRAMS = "/usr/lib/rabbitmq/bin"
PACKAGE = "rabbitmq-server"
NODE = "vgpufull@localhost"
START_S = 60.0


def install() -> str:
    """Install RabbitMQ where it is missing, without starting the machine's own; says what was done. Raises LabError."""
    if os.access(f"{PROGRAMS}/rabbitmq-server", os.X_OK):
        return "ready"
    if os.environ.get("SETUP_APT") == "no" or not shutil.which("apt-get"):
        raise LabError(f"the full lab needs this package: {PACKAGE}")
    # systemctl starts nothing when it is told that systemd does not run.
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1"]
    apt += ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    subprocess.run([*apt, "update"], stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [*apt, "install", "-y", "--no-install-recommends", PACKAGE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise LabError(f"apt-get could not install {PACKAGE}:\n{done.stdout[-2000:]}")
    return "installed"


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """Begin to start it; it listens on the bridge alone."""
    folder = home() / "broker"
    if folder.exists():
        shutil.rmtree(folder)
    for name in ("data", "log"):
        (folder / name).mkdir(parents=True)
    (folder / "enabled_plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text(
        f"loopback_users = none\ndefault_user = {BROKER_USER}\ndefault_pass = {PASSWORD}\n"
    )
    return processes.spawn_command(
        settings.cloud, "rabbitmq", [f"{PROGRAMS}/rabbitmq-server"], {**os.environ, **_environment(settings)}
    )


def wait(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Wait until it serves. Raises LabError."""
    command = [f"{PROGRAMS}/rabbitmqctl", "-n", NODE, "wait", "--timeout", f"{START_S:.0f}", str(home() / "broker/pid")]
    done = subprocess.run(command, env={**os.environ, **_environment(settings)}, capture_output=True, text=True)
    if done.returncode or process.poll() is not None:
        raise LabError(
            f"RabbitMQ did not start, see {settings.cloud.path('log')}: {(done.stdout + done.stderr)[-500:]}"
        )


def stop(settings: Settings) -> None:
    """End it, and Erlang's port mapper that it started."""
    environment = {**os.environ, **_environment(settings)}
    if (home() / "broker" / "pid").exists():
        command = [f"{PROGRAMS}/rabbitmqctl", "-n", NODE, "shutdown", "--timeout", "20"]
        subprocess.run(command, env=environment, capture_output=True)
        (home() / "broker" / "pid").unlink(missing_ok=True)
        subprocess.run(["epmd", "-port", environment["ERL_EPMD_PORT"], "-kill"], env=environment, capture_output=True)


def _environment(settings: Settings) -> dict[str, str]:
    folder, port = home() / "broker", settings.broker_port
    return {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_NODE_IP_ADDRESS": settings.address,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(port + 1),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(port + 2),
    }
