"""Virtual functions, the vendor's own framework and layouts on a real host, over real SSH and libvirt."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.lab.device_console import DeviceConsole
from tests.lab.host_machine import VFS, GpuHost
from vgpu_console.actions.layout import differences
from vgpu_console.actions.layout_file import layout_of, read_layout, to_toml
from vgpu_console.actions.layout_plan import plan_layout
from vgpu_console.actions.plan import Plan, PlanError
from vgpu_console.actions.sriov import plan_enable
from vgpu_console.actions.vgpu_type import plan_clear_type, plan_set_type


@pytest.fixture
def console(open_device_console: Callable[..., DeviceConsole]) -> DeviceConsole:
    """A console that may change the host over SSH too."""
    return open_device_console()


def enabling(console: DeviceConsole, gpu: str, *, by_console: bool) -> Plan:
    return plan_enable(console.facts, console.snapshot, console.name, gpu, time.time(), by_console=by_console)


class TestVirtualFunctions:
    def test_the_console_enables_them_and_counts_them(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        gpu = gpu_host.gpus[0]
        gpu_host.set_vfs(gpu, 0)
        plan = enabling(console.read_with(gpu, 0), gpu, by_console=True)
        assert (plan.before, plan.after) == ({"vfs": 0}, {"vfs": VFS})
        console.done(plan)
        assert console.read().gpu(gpu).vfs_enabled == VFS

    def test_the_operator_enables_them_while_the_console_watches(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        gpu = gpu_host.gpus[1]
        gpu_host.set_vfs(gpu, 0)
        plan = enabling(console.read_with(gpu, 0), gpu, by_console=False)
        words: list[str] = []

        def typed(_: Plan, steps: int, word: str) -> None:
            words.append(word)
            if word.startswith("waiting") and len([w for w in words if w.startswith("waiting")]) == 1:
                gpu_host.set_vfs(gpu, VFS)

        assert any("sriov-manage -e" in command for command in plan.commands)
        outcome = console.apply(plan, progress=typed)
        assert (outcome.result, outcome.observed) == ("done", {"vfs": VFS})
        assert any(word.startswith("waiting: vfs 0 so far, wanted 16") for word in words)

    def test_an_exit_status_of_0_is_not_believed(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        """NVIDIA's tool says 0 when it has done nothing; what is read back counts."""
        gpu = gpu_host.gpus[0]
        gpu_host.set_vfs(gpu, 0)
        plan = enabling(console.read_with(gpu, 0), gpu, by_console=True)
        tool = "/usr/lib/nvidia/sriov-manage"
        gpu_host.run(f"cp {tool} /tmp/kept && printf '#!/bin/sh\\nexit 0\\n' >{tool}")
        stop = iter([False] * 4 + [True] * 1000)
        try:
            outcome = console.apply(plan, stop=lambda: next(stop))
        finally:
            gpu_host.run(f"cp /tmp/kept {tool}")
        assert (outcome.result, outcome.observed) == ("unverified", {"vfs": 0})

    def test_a_gpu_with_a_running_vgpu_is_left_alone(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        gpu = gpu_host.gpus[0]
        gpu_host.set_vfs(gpu, 4)
        uuid = gpu_host.make_mdev_behind(gpu_host.functions(gpu)[0], "nvidia-472")
        gpu_host.start_guest("vm-train-7", [uuid])
        plan = enabling(console.read_with(gpu, 4), gpu, by_console=True)
        (failed,) = [c for c in plan.blocked_by if c.id == "sriov.no-live-vgpus"]
        assert "vm-train-7" in failed.evidence
        assert console.apply(plan).result == "refused"
        assert gpu_host.run(f"cat /sys/bus/pci/devices/{gpu}/sriov_numvfs") == "4"

    def test_without_the_right_nothing_is_sent_over_ssh(
        self, gpu_host: GpuHost, open_device_console: Callable[..., DeviceConsole]
    ) -> None:
        gpu = gpu_host.gpus[0]
        gpu_host.set_vfs(gpu, 0)
        console = open_device_console(changes=False).read_with(gpu, 0)
        outcome = console.apply(enabling(console, gpu, by_console=True))
        assert outcome.result == "refused"
        assert "[ssh] changes is not set" in outcome.message
        assert console.read().gpu(gpu).vfs_enabled == 0


@pytest.mark.vendor_framework
class TestVendorFramework:
    def test_types_are_set_to_the_maximum_and_cleared(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        gpu = gpu_host.gpus[0]
        console.read()
        assert console.gpu(gpu).mechanism == "vendor-vfio"
        plans = plan_set_type(console.facts, console.snapshot, console.name, gpu, "A100-20C", 2, now=time.time())
        outcomes = console.apply_all(plans)
        assert [o.result for o in outcomes] == ["done", "done"], [o.message for o in outcomes]
        functions = [str(p.target.key["function"]) for p in plans]
        told = gpu_host.run(" && ".join(f"cat /sys/bus/pci/devices/{f}/nvidia/current_vgpu_type" for f in functions))
        assert "0" not in told.splitlines()
        console.read()
        with pytest.raises(PlanError) as full:
            plan_set_type(console.facts, console.snapshot, console.name, gpu, "A100-20C", now=time.time())
        assert full.value.exit == 4
        clear = plan_clear_type(console.facts, console.snapshot, console.name, functions[0], time.time())
        console.done(clear)
        assert gpu_host.run(f"cat /sys/bus/pci/devices/{functions[0]}/nvidia/current_vgpu_type") == "0"

    def test_a_function_that_a_guest_has_open_is_never_cleared(self, gpu_host: GpuHost, console: DeviceConsole) -> None:
        gpu = gpu_host.gpus[0]
        console.read()
        (plan,) = plan_set_type(console.facts, console.snapshot, console.name, gpu, "A100-20C", now=time.time())
        console.done(plan)
        function = str(plan.target.key["function"])
        gpu_host.start_guest("vm-render-2", pci=[function])
        console.read()
        clear = plan_clear_type(console.facts, console.snapshot, console.name, function, time.time())
        (failed,) = [c for c in clear.blocked_by if c.id == "vfio.not-open"]
        assert "vm-render-2" in failed.evidence
        assert console.apply(clear).result == "refused"
        gpu_host.stop_guest("vm-render-2")


class TestLayouts:
    def test_a_layout_is_made_so_and_is_then_without_difference(
        self, gpu_host: GpuHost, console: DeviceConsole
    ) -> None:
        console.read()
        text = "\n".join(
            [
                "version = 1",
                f'[[gpu]]\nhost = "{console.name}"\ngpu = "{gpu_host.gpus[0]}"\ntype = "A100-10C"\ncount = 3',
                f'[[gpu]]\nhost = "{console.name}"\ngpu = "{gpu_host.gpus[1]}"\ntype = "A100-40C"\ncount = 1',
            ]
        )
        layout = read_layout(text)
        assert len(differences(layout, console.snapshot)) == 2
        made = plan_layout(console.facts, console.snapshot, layout, time.time())
        assert (len(made.plans), made.left) == (4, ())
        assert [console.apply(plan).result for plan in made.plans] == ["done"] * 4
        assert differences(layout, console.read().snapshot) == ()
        assert plan_layout(console.facts, console.snapshot, layout, time.time()).plans == ()
        written = layout_of(console.snapshot)
        assert read_layout(to_toml(written)) == written
        assert differences(written, console.snapshot) == ()
