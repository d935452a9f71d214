"""The parser of the fact command's answer: real lines, cut answers, hostile text, and nothing it would break on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.fake_host_tree import run_facts
from vgpu_console.model.host_facts import PciSysfs, SshFacts
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.ssh_host import SshHostSource, clock_skew
from vgpu_console.sources.ssh_parse import framebuffer_of, host_clock, max_instance_of, parse_answer, parse_facts

REAL_LINES = Path(__file__).parents[1] / "fixtures" / "h100-host-facts.txt"

ANSWER = """\
Welcome to gpu-01
==vgpu-console-facts 1==
==kernel==
5.14.0-427.el9.x86_64
==os-release==
ID="rhel"
VERSION_ID='9.4'
PRETTY_NAME="Red Hat Enterprise Linux 9.4 (Plow)"
==nvidia==
module:550.90.05
NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.05  Release Build
==gpus==
0000:41:00.0/information:Model: \t\t NVIDIA A100-PCIE-40GB
==pci==
0000:41:00.0/vendor:0x10de
0000:41:00.0/device:0x20f1
0000:41:00.0/class:0x030200
0000:41:00.0/numa_node:1
0000:41:00.0/sriov_numvfs:2
0000:41:00.0/sriov_totalvfs:16
0000:41:00.4/vendor:0x10de
0000:41:00.4/device:0x20f1
==links==
0000:41:00.0/driver -> ../../../../bus/pci/drivers/nvidia
0000:41:00.4/driver -> ../../../../bus/pci/drivers/nvidia
0000:41:00.4/physfn -> ../0000:41:00.0
==vgpu==
0000:41:00.4/nvidia/current_vgpu_type:1414
0000:41:00.4/nvidia/creatable_vgpu_types:ID    : vGPU Name
0000:41:00.4/nvidia/creatable_vgpu_types:1414 : NVIDIA H200X-1-18C
==mdev_bus==
yes 1
==mdev_types==
0000:41:00.4/nvidia-472/name:GRID A100-20C
0000:41:00.4/nvidia-472/description:num_heads=1, framebuffer=20480M, max_resolution=4096x2160, max_instance=2
0000:41:00.4/nvidia-472/available_instances:1
==nova_conf_files==
/etc/nova/nova.conf readable
==nova_conf==
/etc/nova/nova.conf\tdevices.enabled_mdev_types=nvidia-472
/etc/nova/nova.conf\tpci.alias={"name": "a"}
/etc/nova/nova.conf\tpci.alias={"name": "b"}
==end==
"""


HOSTILE = ["\x1b]52;c;eA==\x07", "٣", "9" * 5000, "=", "\t=", "-1"]


@pytest.fixture
def real_host(tmp_path: Path) -> Path:
    for line in REAL_LINES.read_text().splitlines():
        if not line.startswith("#"):
            path, _, value = line.partition("=")
            file = tmp_path / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as f:
                f.write(value + "\n")
    drivers = tmp_path / "sys/bus/pci/drivers/nvidia"
    drivers.mkdir(parents=True)
    (tmp_path / "sys/bus/pci/devices/0000:00:06.0/driver").symlink_to("../../../bus/pci/drivers/nvidia")
    return tmp_path


def test_a_real_host_whose_gpu_makes_no_vgpus(real_host: Path) -> None:
    facts, notes = parse_answer("h100", run_facts(real_host))
    assert facts.kernel == "6.18.44"
    assert facts.nvidia_driver == "580.159.04"
    assert facts.gpu_models == (("0000:00:06.0", "NVIDIA H100 80GB HBM3"),)
    assert facts.pci == (
        PciSysfs(address="0000:00:06.0", vendor_id="10de", product_id="2330", driver="nvidia", numa_node=None),
    )
    assert (facts.mdev_bus, facts.types, facts.nova_conf, notes) == (False, (), None, ())


def test_the_version_line_will_do_where_the_module_says_none(real_host: Path) -> None:
    (real_host / "sys/module/nvidia/version").unlink()
    assert parse_facts("h100", run_facts(real_host)).nvidia_driver == "580.159.04"


def test_a_whole_answer() -> None:
    facts, notes = parse_answer("gpu-01", ANSWER)
    assert notes == ()
    assert (facts.os_id, facts.os_version, facts.nvidia_driver, facts.mdev_bus) == ("rhel", "9.4", "550.90.05", True)
    assert facts.pci[0].sriov_totalvfs == 16
    assert facts.pci[1].creatable_vgpu_types == ((1414, "NVIDIA H200X-1-18C"),)
    assert facts.types[0].max_instances == 2
    assert facts.nova_conf == {"devices.enabled_mdev_types": "nvidia-472", "pci.alias": '{"name": "a"}; {"name": "b"}'}


def test_windows_line_ends_of_a_terminal_do_no_harm() -> None:
    text = ANSWER.replace("\n", "\r\n")
    assert parse_facts("gpu-01", text.replace("==\r\n", "==\n")) == parse_facts("gpu-01", ANSWER)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "sh: 1: exec: not found", "<html>502</html>", "==kernel==\n6.1\n==end==\n"]
)
def test_another_answer_is_an_error(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_facts("gpu-01", text)
    assert caught.value.kind == "protocol"
    assert "\n" not in str(caught.value)


def test_a_cut_answer_gives_what_is_there_and_says_so() -> None:
    facts, notes = parse_answer("gpu-01", ANSWER[: ANSWER.index("==vgpu==")])
    assert facts.kernel == "5.14.0-427.el9.x86_64"
    assert facts.pci[1].physical_function == "0000:41:00.0"
    assert (facts.mdev_bus, facts.nova_conf, facts.pci[1].current_vgpu_type) == (None, None, None)
    assert notes == ("the answer is cut short: some facts of this host are missing",)


@given(st.integers(0, len(ANSWER)))
def test_cut_anywhere(length: int) -> None:
    text = ANSWER[:length]
    if "==vgpu-console-facts 1==" not in text:
        with pytest.raises(SourceError):
            parse_answer("gpu-01", text)
        return
    facts, notes = parse_answer("gpu-01", text)
    assert bool(notes) is ("==end==" not in text)
    assert facts.kernel is None or "5.14.0-427.el9.x86_64".startswith(facts.kernel)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """The answer with lines replaced by strangers' text."""
    lines = ANSWER.split("\n")
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(2, len(lines) - 1))
        head = lines[at][: draw(st.integers(0, 60))]
        lines[at] = head + draw(
            st.text(max_size=40) | st.sampled_from(["\x1b]52;c;eA==\x07", "٣", "9" * 5000, "=", "\t=", "-1"])
        )
    return "\n".join(lines)


@given(mangled() | st.text().map(lambda t: "==vgpu-console-facts 1==\n" + t))
def test_strangers_text_is_facts_without_control_characters(text: str) -> None:
    facts, notes = parse_answer("gpu-01", text)
    seen: list[str] = list(notes)

    def walk(value: object) -> None:
        if isinstance(value, str):
            seen.append(value)
        elif isinstance(value, dict):
            for pair in value.items():
                walk(pair)
        elif isinstance(value, tuple):
            for part in value:
                walk(part)
        elif hasattr(value, "__struct_fields__"):
            for name in value.__struct_fields__:
                walk(getattr(value, name))

    walk(facts)
    assert all(c.isprintable() for s in seen for c in s)


@pytest.mark.parametrize(
    ("text", "framebuffer", "maximum"),
    [
        ("num_heads=1, frl_config=60, framebuffer=20480M, max_resolution=4096x2160, max_instance=2", 20480, 2),
        ("num_heads=4,frl_config=45,framebuffer=1024M,max_resolution=5120x2880,max_instance=16", 1024, 16),
        ("low_gm_size: 128MB\nhigh_gm_size: 512MB", None, None),
        ("", None, None),
        ("framebuffer=M, max_instance=", None, None),
        ("framebuffer=99999999999999999999M, max_instance=99999999999999", None, None),
    ],
)
def test_descriptions(text: str, framebuffer: int | None, maximum: int | None) -> None:
    assert (framebuffer_of(text), max_instance_of(text)) == (framebuffer, maximum)


class Shell:
    """A host that answers with a given text."""

    def __init__(self, answer: Callable[[], str]) -> None:
        self.answer = answer

    def run(self, host: str, command: str, timeout_s: float) -> str:
        return self.answer()

    def close(self) -> None:
        pass


def test_a_source_repeats_the_object_while_nothing_changes_and_its_notes() -> None:
    text = [ANSWER]
    source = SshHostSource("gpu-01", Shell(lambda: text[0]))
    first = source.fetch(None)
    assert source.fetch(first) is first
    text[0] = ANSWER.replace("/etc/nova/nova.conf readable", "/etc/nova/nova.conf unreadable")
    changed = source.fetch(first)
    assert changed.nova_conf is None
    assert source.notes == ("/etc/nova/nova.conf may not be read by this user",)
    text[0] = ""
    with pytest.raises(SourceError, match="the host answered with nothing"):
        source.fetch(changed)
    assert not source.notes


@pytest.mark.parametrize(
    ("host", "began", "ended", "ahead", "error"),
    [
        ((1000, 1000), 1000.2, 1000.4, 0.2, 0.6),  # in step, as far as whole seconds can tell
        ((1030, 1030), 1000.0, 1000.0, 30.5, 0.5),
        ((940, 940), 1000.0, 1000.2, -59.6, 0.6),
        ((1000, 1006), 1000.0, 1006.5, 0.25, 0.75),  # six seconds of nvidia-smi are not six seconds of error
        ((1000, 1000), 1000.0, 1008.0, -3.5, 4.5),  # but a slow way there or back is
    ],
)
def test_the_clock_of_a_host_against_ours(
    host: tuple[int, int], began: float, ended: float, ahead: float, error: float
) -> None:
    assert clock_skew(host, began, ended) == pytest.approx((ahead, error))


@given(st.floats(-1e6, 1e6), st.floats(0, 30), st.floats(0, 30), st.floats(0, 30), st.integers(0, 10**9).map(float))
def test_the_true_difference_is_within_the_error(skew: float, way: float, busy: float, back: float, now: float) -> None:
    first, last = now + way, now + way + busy
    found = clock_skew((int((first + skew) // 1), int((last + skew) // 1)), now, last + back)
    assert found is not None
    assert abs(found[0] - skew) <= found[1] + 1e-3


@pytest.mark.parametrize(
    ("host", "began", "ended"), [(None, 1.0, 2.0), ((1000, 1000), 5.0, 4.0), ((1000, 2000), 1000.0, 1001.0)]
)
def test_a_clock_that_was_set_meanwhile_says_nothing(host: tuple[int, int] | None, began: float, ended: float) -> None:
    assert clock_skew(host, began, ended) is None


@pytest.mark.parametrize(
    ("said", "clock"),
    [
        (("1700000000", "1700000001"), (1700000000, 1700000001)),
        (("1700000001", "1700000000"), None),
        (("%s", "%s"), None),
        (("1700000000", ""), None),
        (("٣", "٣"), None),
        (("9" * 5000, "9" * 5000), None),
    ],
)
def test_both_readings_of_the_clock_are_needed(said: tuple[str, str], clock: tuple[int, int] | None) -> None:
    first = ANSWER.replace("==kernel==", f"==clock==\n{said[0]}\n==kernel==")
    assert host_clock(first.replace("==end==", f"==clock==\n{said[1]}\n==end==")) == clock
    assert host_clock(ANSWER) is None
    assert host_clock("no answer") is None


def test_a_skew_that_is_not_contradicted_is_no_new_fact() -> None:
    """The clock runs on between two readings; only a difference that the error does not explain is told."""
    ours, theirs = [1000.0], [1010.3]

    def answer() -> str:
        ours[0] += 0.2
        theirs[0] += 0.2
        clock = f"==clock==\n{int(theirs[0])}\n"
        return ANSWER.replace("==kernel==", f"{clock}==kernel==").replace("==end==", f"{clock}==end==")

    source = SshHostSource("gpu-01", Shell(answer), clock=lambda: ours[0])
    first = source.fetch(None)
    assert first.clock_skew_s is not None
    assert first.clock_error_s is not None
    assert abs(first.clock_skew_s - 10.3) <= first.clock_error_s
    for step in (60.4, 60.9, 61.5):
        ours[0] += step
        theirs[0] += step
        assert source.fetch(first) is first
    theirs[0] -= 30
    changed = source.fetch(first)
    assert changed.clock_skew_s == pytest.approx(-19.7, abs=0.61)


def test_a_reading_that_fell_luckier_in_its_second_is_no_new_fact_but_a_much_sharper_one_is() -> None:
    """First known to within half a second, then to within hundredths, and the other way round."""

    def facts(began: float, ended: float, first: int, last: int, previous: SshFacts | None) -> SshFacts:
        times = iter([began, ended])
        text = ANSWER.replace("==kernel==", f"==clock==\n{first}\n==kernel==")
        shell = Shell(lambda: text.replace("==end==", f"==clock==\n{last}\n==end=="))
        return SshHostSource("gpu-01", shell, clock=lambda: next(times)).fetch(previous)

    rough = facts(1000.0, 1000.1, 1000, 1000, None)
    assert (rough.clock_skew_s, rough.clock_error_s) == (0.45, 0.55)
    assert facts(2000.95, 2001.05, 2000, 2001, rough) is rough
    slow = facts(1000.0, 1009.0, 1000, 1000, None)
    assert slow.clock_error_s == 5.0
    sharp = facts(2000.95, 2001.05, 2000, 2001, slow)
    assert sharp.clock_error_s == 0.05
