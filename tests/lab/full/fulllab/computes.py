"""The two hosts: booted as lab hosts, with nova-compute in them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

from hostlab import image, machine

from fulllab import config_files
from fulllab.settings import COMPUTE_IMAGE, HOST_NAMES, LabError, Settings


def boot(settings: Settings) -> None:
    """Boot both and wait until they are ready. Raises hostlab's LabError."""
    disk = image.image(COMPUTE_IMAGE)
    with ThreadPoolExecutor(len(HOST_NAMES)) as pool:
        list(pool.map(lambda host: machine.start(settings.machine(host), disk), HOST_NAMES))


def end(settings: Settings) -> list[str]:
    """End them, as by pulling their plugs; the names of those that ran."""
    return [host for host in HOST_NAMES if machine.stop(settings.machine(host))]


def alive(settings: Settings, host: str) -> bool:
    """Whether the machine runs."""
    return machine.alive(settings.machine(host))


def run(settings: Settings, host: str, command: str, text: str = "") -> str:
    """Run a shell command there as root, with this input; its output. Raises LabError when it fails."""
    full = [*machine.ssh_command(settings.machine(host)), "--", command]
    done = subprocess.run(full, input=text, capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise LabError(f"{host}: {command}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def start_nova(settings: Settings, host: str) -> None:
    """Write its nova.conf and start nova-compute, which takes half a minute to report."""
    _configure(settings, host)
    run(settings, host, "fulllab-compute start")


def restart_nova(settings: Settings, host: str) -> None:
    """Stop nova-compute, write its nova.conf, start it."""
    _configure(settings, host)
    run(settings, host, "fulllab-compute restart")


def change(settings: Settings, host: str, values: dict[str, str]) -> list[str]:
    """Change options of its nova.conf (section.option) and of its kernel module (module.parameter).

    Options are read when nova-compute is restarted, parameters at once. Says what was done.
    """
    for key in values:
        section, dot, option = key.partition(".")
        if not (section and dot and option):
            raise LabError(f"{key}: neither section.option of nova.conf nor module.parameter")
    module = {key.partition(".")[2]: value for key, value in values.items() if key.startswith("module.")}
    options = {key: value for key, value in values.items() if not key.startswith("module.")}
    done = []
    for name, value in module.items():
        run(settings, host, f"cat >/sys/module/nvidia/parameters/{name}", value + "\n")
        done.append(f"{host}: the module's {name} is {value}")
    if options:
        config_files.change(host, options)
        restart_nova(settings, host)
        done.append(f"{host}: nova.conf changed, nova-compute restarted")
    return done


def _configure(settings: Settings, host: str) -> None:
    run(settings, host, "cat >/etc/nova/nova.conf", config_files.compute(settings, host))
