"""The simulated shells print what the real fact command prints on a host with the same files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vgpu_console.simulator import DemoCloud
from vgpu_console.simulator.file_tree import SECRET, file_tree
from vgpu_console.simulator.programs import as_script, programs
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.fact_command import FACT_COMMAND, FACT_SCRIPT
from vgpu_console.sources.ssh_parse import parse_facts


def on_disk(cloud: DemoCloud, host: str, root: Path) -> str:
    """The real command's output on the host's files and programs, written below a folder."""
    files, links = file_tree(cloud.state.hosts[host])
    tools = {path: as_script(answers) for path, answers in programs(cloud.state.hosts[host]).items()}
    files |= tools
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        if path in tools:
            file.chmod(0o755)
    for path, target in links.items():
        link = root / path.lstrip("/")
        link.symlink_to(target)
        if path.endswith("/driver"):
            (root / "sys/bus/pci/drivers" / target.rpartition("/")[2]).mkdir(parents=True, exist_ok=True)
    assert FACT_SCRIPT.startswith("R=\n")
    script = f"R={root}\n" + FACT_SCRIPT.removeprefix("R=\n")
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("awk") is None, reason="the fact command needs awk, as every host has")
@pytest.mark.parametrize("host", ["gpu-01", "gpu-02", "gpu-03", "gpu-05", "gpu-06"])
def test_the_shell_prints_what_the_real_command_prints(cloud: DemoCloud, tmp_path: Path, host: str) -> None:
    simulated = without_clock(cloud.shell.run(host, FACT_COMMAND, 5.0))
    assert simulated == without_clock(on_disk(cloud, host, tmp_path))


def without_clock(text: str) -> list[str]:
    """The lines, but for the two that say the time."""
    lines = text.splitlines()
    clocks = [n for n, line in enumerate(lines) if n and lines[n - 1] == "==clock=="]
    assert len(clocks) == 2
    assert all(lines[n].isdigit() for n in clocks)
    return [line for n, line in enumerate(lines) if n not in clocks]


def test_no_secret_of_nova_conf_leaves_a_host(cloud: DemoCloud) -> None:
    for host in ("gpu-01", "gpu-06"):
        files, _ = file_tree(cloud.state.hosts[host])
        assert files["/etc/nova/nova.conf"].count(SECRET) == 4
        assert SECRET not in cloud.shell.run(host, FACT_COMMAND, 5.0)


def test_the_console_reads_what_the_host_is(cloud: DemoCloud) -> None:
    facts = parse_facts("gpu-01", cloud.shell.run("gpu-01", FACT_COMMAND, 5.0))
    assert (facts.kernel, facts.nvidia_driver) == ("5.14.0-427.13.1.el9_4.x86_64", "550.90.05")
    assert facts.os_name == "Red Hat Enterprise Linux 9.4 (Plow)"
    maxima = {row.name: (row.framebuffer_mib, row.max_instances) for row in facts.types}
    assert maxima["GRID A100-20C"] == (20480, 2)
    assert maxima["GRID A100-4C"] == (4096, 10)
    assert facts.nova_conf is not None
    assert facts.nova_conf["devices.enabled_mdev_types"] == "nvidia-472"
    assert facts.nova_conf["libvirt.live_migration_downtime"] == "500000"
    assert facts.gpu_models == (("0000:41:00.0", "NVIDIA A100-PCIE-40GB"), ("0000:81:00.0", "NVIDIA A100-PCIE-40GB"))


def test_the_console_reads_a_vendor_vfio_host(cloud: DemoCloud) -> None:
    facts = parse_facts("gpu-06", cloud.shell.run("gpu-06", FACT_COMMAND, 5.0))
    assert facts.mdev_bus is False
    typed = [f for f in facts.pci if f.current_vgpu_type]
    assert [f.current_vgpu_type for f in typed] == [1155] * 3
    untyped = next(f for f in facts.pci if f.current_vgpu_type == 0)
    assert untyped.creatable_vgpu_types == ((1155, "NVIDIA L40S-12Q"),)  # three of four exist
    physical = next(f for f in facts.pci if f.sriov_totalvfs)
    assert (physical.sriov_numvfs, physical.sriov_totalvfs) == (32, 32)


@pytest.mark.parametrize(("fault", "kind"), [("unreachable", "unreachable"), ("timeout", "timeout"), ("auth", "auth")])
def test_faults_are_source_errors(cloud: DemoCloud, fault: str, kind: str) -> None:
    cloud.faults.ssh["gpu-01"] = fault  # type: ignore[assignment]
    with pytest.raises(SourceError) as error:
        cloud.shell.run("gpu-01", FACT_COMMAND, 5.0)
    assert error.value.kind == kind


def test_a_host_runs_nothing_but_the_fact_command(cloud: DemoCloud) -> None:
    with pytest.raises(SourceError):
        cloud.shell.run("gpu-01", "cat /etc/nova/nova.conf", 5.0)
