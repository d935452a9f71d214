"""The programs that the fact command runs on a host: nvidia-smi well, absent, failing, hanging and hostile."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.sources.fake_host_tree import gpu_host, nvidia_smi, program, run_facts, write
from vgpu_console.model.host_facts import NvidiaGpu, SshFacts
from vgpu_console.sources.fact_command import OUTPUT_LIMIT, PROGRAM_LIMIT_S, PROGRAMS_LIMIT_S
from vgpu_console.sources.ssh_parse import parse_answer

BUSYBOX = shutil.which("busybox")
AWKS = [a for a in ("mawk", "gawk", "original-awk", "busybox") if shutil.which(a)]
SHELLS = [s for s in ("/bin/sh", "dash", "bash", "ksh", "mksh") if shutil.which(s)]
FIXTURES = Path(__file__).parents[1] / "fixtures"

QUERY = (
    "echo '00000000:41:00.0, NVIDIA A100-PCIE-40GB, Enabled, Disabled, Enabled';"
    "echo '00000000:5E:00.0, Tesla T4, [N/A], [N/A], [N/A]';"
    "echo '00000000:C1:00.0, NVIDIA H200 NVL, Enabled, Disabled, Disabled'"
)
TYPES = f"cat '{FIXTURES}/nvidia-smi-vgpu-types.txt'"
MODES = f"cat '{FIXTURES}/nvidia-smi-modes.xml'"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    root = tmp_path / "a root"
    root.mkdir()
    return gpu_host(root)


def facts_of(root: Path, *, impatient: bool = False) -> tuple[SshFacts, tuple[str, ...]]:
    return parse_answer("gpu-01", run_facts(root, impatient=impatient))


def gpus_of(facts: SshFacts) -> dict[str, NvidiaGpu]:
    return {g.address: g for g in facts.nvidia_gpus}


def asked(root: Path) -> list[str]:
    """What nvidia-smi was started with."""
    return (root / "asked").read_text().splitlines() if (root / "asked").exists() else []


def test_the_modes_of_every_gpu(host: Path) -> None:
    nvidia_smi(host, query=QUERY, types=TYPES, modes=MODES)
    facts, notes = facts_of(host)
    assert notes == ()
    gpus = gpus_of(facts)
    a100 = gpus["0000:41:00.0"]
    assert (a100.name, a100.ecc_current, a100.ecc_pending, a100.mig) == ("NVIDIA A100-PCIE-40GB", True, False, True)
    assert (a100.host_mode, a100.mixed_sizes, a100.gsp) == (None, None, None)  # the XML does not name it
    assert gpus["0000:5e:00.0"] == NvidiaGpu(address="0000:5e:00.0", name="Tesla T4")
    h200 = gpus["0000:c1:00.0"]
    assert (h200.host_mode, h200.mixed_sizes, h200.gsp, h200.mig) == ("SR-IOV", True, True, False)
    assert [(t.type_id, t.name, t.max_instances, t.mig) for t in facts.supported_types] == [
        (0x582, "NVIDIA H200X-1-18CME", 1, True),
        (0x58A, "NVIDIA H200X-70C", 2, False),
    ]
    assert len(asked(host)) == 3


def test_little_of_what_it_says_leaves_the_host(host: Path) -> None:
    nvidia_smi(host, query=QUERY, types=TYPES, modes=MODES)
    text = run_facts(host)
    assert "GPU-0000" not in text  # the serials of the GPUs are nobody's business here
    assert "Sub System" not in text
    assert text.count("\ntypes:") == 11  # of two types: GPU, and five lines each


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gives_the_same_answer(host: Path, shell: str) -> None:
    nvidia_smi(host, query=QUERY, types=TYPES, modes=MODES)
    program(host, "/usr/sbin/libvirtd", "echo 'libvirtd (libvirt) 10.0.0'")
    assert run_facts(host, (str(shutil.which(shell)),)) == run_facts(host)


@pytest.mark.parametrize("awk", AWKS)
def test_every_awk_gives_the_same_answer(host: Path, tmp_path: Path, awk: str) -> None:
    nvidia_smi(host, query=QUERY, types=TYPES, modes=MODES)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/awk").symlink_to(str(shutil.which(awk)))
    assert run_facts(host, path=f"{tmp_path}/bin:{os.defpath}") == run_facts(host)


@pytest.fixture
def applets(tmp_path: Path) -> Path:
    """A folder of commands that are all busybox."""
    folder = tmp_path / "applets"
    folder.mkdir()
    for applet in ("sh", "awk", "grep", "sed", "xargs", "ls", "head", "timeout", "cat", "date", "sleep"):
        (folder / applet).symlink_to(str(BUSYBOX))
    return folder


@pytest.mark.skipif(not BUSYBOX, reason="no busybox on this machine")
def test_a_host_whose_every_command_is_busybox(host: Path, applets: Path) -> None:
    nvidia_smi(host, query=QUERY, types=TYPES, modes=MODES)
    assert run_facts(host, (str(applets / "sh"),), path=str(applets)) == run_facts(host)


@pytest.mark.skipif(not BUSYBOX, reason="no busybox on this machine")
def test_busybox_ends_one_that_hangs(host: Path, applets: Path) -> None:
    nvidia_smi(host, query="exec sleep 60")
    began = time.monotonic()
    text = run_facts(host, (str(applets / "sh"),), path=str(applets), impatient=True)
    assert time.monotonic() - began < 10
    assert parse_answer("gpu-01", text)[1] == (NO_ANSWER.format("--query-gpu"),)


NO_ANSWER = f"nvidia-smi {{}} gave no answer within {PROGRAM_LIMIT_S} s: GPU modes may be unknown"


@pytest.mark.parametrize(
    ("parts", "which", "runs"),
    [
        ({"query": "exec sleep 60"}, "--query-gpu", 1),
        ({"query": QUERY, "types": "sleep 60 & wait"}, "vgpu -s -v", 2),
        ({"query": QUERY, "types": TYPES, "modes": f"{MODES}; exec sleep 60"}, "-q -x", 3),
    ],
)
def test_one_that_hangs_is_ended_and_nothing_else_is_lost(
    host: Path, parts: dict[str, str], which: str, runs: int
) -> None:
    nvidia_smi(host, **parts)
    write(host, "/etc/nova/nova.conf", "[devices]\nenabled_mdev_types = nvidia-472\n")
    began = time.monotonic()
    facts, notes = facts_of(host, impatient=True)
    assert time.monotonic() - began < 8
    assert notes == (NO_ANSWER.format(which),)
    assert len(asked(host)) == runs  # after one that hangs no other is tried
    assert facts.kernel == "5.14.0-427.13.1.el9_4.x86_64"
    assert facts.nova_conf == {"devices.enabled_mdev_types": "nvidia-472"}
    assert gpus_of(facts)["0000:c1:00.0"].ecc_current is (None if runs == 1 else True)


def test_one_that_cannot_even_be_killed_does_not_hold_the_command(host: Path) -> None:
    """A process in the kernel's uninterruptible sleep keeps its output open: a child that leaves the group acts it."""
    nvidia_smi(host, query=f"{QUERY}; exec setsid sleep 9")
    began = time.monotonic()
    text = run_facts(host, impatient=True)
    assert time.monotonic() - began < 6
    assert text.endswith("==clock==\n1700000000\n==end==\n")
    facts, notes = parse_answer("gpu-01", text)
    assert notes == (NO_ANSWER.format("--query-gpu"),)
    assert gpus_of(facts)["0000:41:00.0"].ecc_current is True  # what it said before is heard


@pytest.mark.parametrize(("state", "started", "runs"), [("D", 100, 0), ("S", 100, 3), ("D", 99_900, 3)])
def test_none_is_started_while_an_earlier_one_hangs_in_the_driver(
    host: Path, state: str, started: int, runs: int
) -> None:
    nvidia_smi(host, query=QUERY, types=TYPES, modes=MODES)
    write(host, "/proc/uptime", "1000.00 900.00\n")
    write(host, "/proc/4711/comm", "nvidia-smi\n")
    rest = " ".join(["1"] * 18)
    write(host, "/proc/4711/stat", f"4711 (nvidia-smi) {state} {rest} {started} 1 1\n")
    write(host, "/proc/1/comm", "systemd\n")
    facts, notes = facts_of(host)
    assert len(asked(host)) == runs
    stuck = ("an earlier nvidia-smi hangs in the driver, so no other was started: GPU modes are unknown",)
    assert notes == (stuck if runs == 0 else ())
    assert gpus_of(facts)["0000:c1:00.0"].gsp is True  # the driver's files say that, whatever nvidia-smi does


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        (
            {"query": 'echo "NVIDIA-SMI has failed because it couldn\'t communicate with the NVIDIA driver."; exit 9'},
            "nvidia-smi --query-gpu failed (status 9): NVIDIA-SMI has failed because it couldn't communicate with "
            "the NVIDIA driver.",
        ),
        ({"query": "echo broken >&2; exit 127"}, "nvidia-smi --query-gpu failed (status 127)"),
        (
            {"query": QUERY, "types": "echo 'Option -s is not recognized.'; exit 2", "modes": MODES},
            "nvidia-smi vgpu -s -v failed (status 2): Option -s is not recognized.",
        ),
        ({"query": QUERY, "types": "kill -9 $$"}, NO_ANSWER.format("vgpu -s -v")),
    ],
)
def test_a_failing_one_is_told_with_its_own_words(host: Path, parts: dict[str, str], note: str) -> None:
    nvidia_smi(host, **parts)
    if "modes" not in parts:
        nvidia_smi(host, **parts, modes="exit 9")
    facts, notes = facts_of(host)
    assert notes == (note,)
    assert facts.kernel is not None


def test_a_driver_that_does_not_know_a_field_is_understood_by_the_other_form(host: Path) -> None:
    refused = "echo 'Field \"mig.mode.current\" is not a valid field to query.'; exit 2"
    nvidia_smi(host, query=refused, types=TYPES, modes=MODES)
    facts, notes = facts_of(host)
    h200 = gpus_of(facts)["0000:c1:00.0"]
    assert (h200.name, h200.ecc_current, h200.ecc_pending, h200.mig) == ("NVIDIA H200 NVL", True, False, False)
    assert notes == ()


def test_a_gpu_that_is_not_in_vgpu_mode_supports_no_type(host: Path) -> None:
    nvidia_smi(host, query=QUERY, types="echo 'No supported devices in vGPU mode'", modes=MODES)
    facts, notes = facts_of(host)
    assert (facts.supported_types, notes) == ((), ())


def test_a_host_without_nvidia_smi_is_not_at_fault(host: Path) -> None:
    facts, notes = facts_of(host)
    assert notes == ()
    assert [g.address for g in facts.nvidia_gpus] == ["0000:c1:00.0"]
    assert (facts.nvidia_gpus[0].ecc_current, facts.nvidia_gpus[0].gsp) == (None, True)


def test_a_host_without_timeout_runs_nothing(host: Path, tmp_path: Path) -> None:
    nvidia_smi(host, query=QUERY)
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("sh", "awk", "grep", "sed", "xargs", "ls", "head", "cat", "date"):
        (folder / name).symlink_to(str(shutil.which(name)))
    text = run_facts(host, path=str(folder), only=True)
    assert asked(host) == []
    assert parse_answer("gpu-01", text)[1] == (
        "this host has no timeout(1), so nvidia-smi was not run: GPU modes are unknown",
    )


@pytest.mark.parametrize(
    "flood",
    [
        "yes '==end=='",
        "yes '@modes'",
        "head -c 9000000 /dev/zero",
        "printf '\\033]52;c;eA==\\007\\n==nova_conf==\\n/x\\tDEFAULT.host=evil\\n'",
        'echo \'<gpu id="00000000:41:00.0">\'; yes "<current_ecc>Enabled</current_ecc>" | head -n 500000',
    ],
)
@pytest.mark.parametrize("part", ["query", "types", "modes"])
def test_hostile_output_is_neither_a_heading_nor_a_flood(host: Path, part: str, flood: str) -> None:
    nvidia_smi(host, **{part: flood})
    write(host, "/etc/nova/nova.conf", "[DEFAULT]\nhost = gpu-01\n")
    text = run_facts(host, impatient=True)
    assert len(text) < OUTPUT_LIMIT
    assert text.endswith("==clock==\n1700000000\n==end==\n")
    assert text.count("\n==end==\n") == 1
    facts, _ = parse_answer("gpu-01", text)
    assert facts.nova_conf == {"DEFAULT.host": "gpu-01"}
    assert all(g.name.isprintable() for g in facts.nvidia_gpus)


def test_what_is_installed_and_where(host: Path) -> None:
    program(host, "/usr/sbin/mdevctl", "exit 1")
    program(host, "/usr/lib/nvidia/sriov-manage", "exit 1")
    program(host, "/usr/bin/sudo", "exit 1")
    write(host, "/usr/bin/nvidia-smi", "not executable")
    program(host, "/usr/sbin/virtqemud", "echo 'virtqemud (libvirt) 10.0.0'")
    program(host, "/usr/libexec/qemu-kvm", "echo 'QEMU emulator version 8.2.0 (qemu-kvm-8.2.0-11.el9_4.4)'")
    facts, _ = facts_of(host)
    assert facts.tools == {
        "mdevctl": "/usr/sbin/mdevctl",
        "sriov-manage": "/usr/lib/nvidia/sriov-manage",
        "sudo": "/usr/bin/sudo",
        "virtqemud": "/usr/sbin/virtqemud",
        "qemu-kvm": "/usr/libexec/qemu-kvm",
    }
    assert (facts.libvirt_installed, facts.qemu_installed) == ("10.0.0", "8.2.0")
    assert facts.cpu_model == "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"


def test_a_version_that_a_failing_program_says_counts_for_nothing(host: Path) -> None:
    program(host, "/usr/sbin/libvirtd", "echo 'libvirtd (libvirt) 10.0.0'; exit 1")
    program(host, "/usr/bin/qemu-system-x86_64", "echo 'error while loading shared libraries: libx.so.1.2'; exit 127")
    facts, notes = facts_of(host)
    assert (facts.libvirt_installed, facts.qemu_installed, notes) == (None, None, ())


def test_the_files_that_make_a_vgpu_and_who_may_write_them(host: Path) -> None:
    facts, _ = facts_of(host)
    assert (facts.create_mdev, facts.set_vgpu_type) == (True, True)
    shutil.rmtree(host / "sys/class/mdev_bus")
    shutil.rmtree(host / "sys/bus/pci/devices/0000:c1:00.4/nvidia")
    facts, _ = facts_of(host)
    assert (facts.create_mdev, facts.set_vgpu_type) == (None, None)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root writes every file")
def test_a_user_who_may_not_write_them(host: Path) -> None:
    for file in [*host.rglob("create"), *host.rglob("current_vgpu_type")]:
        file.chmod(0o444)
    shell: tuple[str, ...] = ("/bin/sh",)
    if os.geteuid() == 0:
        shell = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh")
        for folder in host.parents:
            if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
    facts, _ = parse_answer("gpu-01", run_facts(host, shell))
    assert (facts.create_mdev, facts.set_vgpu_type) == (False, False)


def test_nothing_is_run_with_more_rights_than_the_user_has(host: Path) -> None:
    program(host, "/usr/bin/sudo", f"touch '{host}/sudo-was-run'")
    run_facts(host)
    assert not (host / "sudo-was-run").exists()


def test_the_limits_fit_into_the_deadline_of_a_reading() -> None:
    from vgpu_console.config import SshSettings

    assert PROGRAM_LIMIT_S < PROGRAMS_LIMIT_S < SshSettings().timeout - 2
