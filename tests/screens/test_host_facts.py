"""The facts beside a host's devices that only its own shell can tell: GPU modes, processor and clock."""

from __future__ import annotations

import msgspec
import pytest

from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.screens.render import facts

NOW = 1_700_000_000.0


def gpu(bus: str, **modes: bool) -> PhysicalGpu:
    plain = PhysicalGpu(
        host="gpu-01",
        address=f"0000:{bus}:00.0",
        model="A100 PCIe 40GB",
        mechanism="mdev",
        vfs_enabled=16,
        vfs_total=16,
        sriov=True,
    )
    return msgspec.structs.replace(plain, **modes)


def words(lines: list[facts.Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def lines_of(host: Host) -> list[str]:
    return words(facts.host_facts(host, Snapshot(hosts=(host,)), NOW))


def test_gpus_that_are_alike_share_a_line() -> None:
    alike = [gpu(bus, ecc=True, ecc_pending=True, mig=False, mixed_sizes=False, gsp=False) for bus in ("41", "81")]
    assert words(facts.gpu_modes(alike)) == ["GPUs      ECC on · MIG off · mixed sizes off"]
    assert words(facts.gpu_modes(alike[:1])) == ["GPU       ECC on · MIG off · mixed sizes off"]


def test_gpus_that_differ_are_named() -> None:
    lines = words(facts.gpu_modes([gpu("41", ecc=True), gpu("81", ecc=False, gsp=True), gpu("a1", ecc=True)]))
    assert lines == ["GPUs      41:00.0, a1:00.0  ECC on", "GPU       81:00.0  ECC off · GSP firmware"]


def test_a_mode_that_changes_with_the_next_reset_stands_out() -> None:
    (line,) = facts.gpu_modes([gpu("41", ecc=True, ecc_pending=False)])
    assert ("ECC on (off after its next reset)", "warn") in line


def test_nothing_is_said_of_what_nobody_knows() -> None:
    assert facts.gpu_modes([gpu("41")]) == []
    lines = lines_of(Host(name="gpu-01", gpus=(gpu("41"),)))
    assert not any(line.startswith(("GPU", "CPU", "clock")) for line in lines)


@pytest.mark.parametrize(
    ("skew", "error", "line"),
    [
        (0.2, 0.6, "clock     in step with ours ±0.6 s"),
        (-0.6, 0.6, "clock     in step with ours ±0.6 s"),
        (12.34, 0.6, "clock     12.3 s ahead of ours ±0.6 s"),
        (-3600.0, 0.5, "clock     3600.0 s behind ours ±0.5 s"),
    ],
)
def test_the_clock(skew: float, error: float, line: str) -> None:
    assert line in lines_of(Host(name="gpu-01", clock_skew_s=skew, clock_error_s=error))


def test_the_processor() -> None:
    assert "CPU       AMD EPYC 9354" in lines_of(Host(name="gpu-01", cpu_model="AMD EPYC 9354"))
