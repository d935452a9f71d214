"""nvidia-smi's words: the layouts of several drivers, values that say nothing, and text that is none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.model.host_facts import NvidiaGpu, SupportedType
from vgpu_console.sources.nvidia_parse import (
    ProgramAnswers,
    firmware_runs,
    nvidia_gpus,
    pci_address,
    supported_types,
    switch,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
TYPES = [" ".join(line.split()) for line in (FIXTURES / "nvidia-smi-vgpu-types.txt").read_text().splitlines()]
MODES = [" ".join(line.split()) for line in (FIXTURES / "nvidia-smi-modes.xml").read_text().splitlines()]


def answers(**said: list[str]) -> ProgramAnswers:
    return ProgramAnswers([f"{word}:{line}" for word, lines in said.items() for line in lines])


def only_gpu(gpus: tuple[NvidiaGpu, ...]) -> NvidiaGpu:
    assert len(gpus) == 1
    return gpus[0]


@pytest.mark.parametrize(
    ("bus_id", "address"),
    [
        ("00000000:41:00.0", "0000:41:00.0"),
        ("0000:AF:00.0", "0000:af:00.0"),
        ("00010000:3B:1F.7", "10000:3b:1f.7"),
        ("41:00.0", "0000:41:00.0"),
        (" 00000000:41:00.0 ", "0000:41:00.0"),
        ("GPU-41", None),
        ("", None),
        ("0000:41:00.8", None),
        ("٠000:41:00.0", None),
    ],
)
def test_addresses_are_written_as_everywhere_else(bus_id: str, address: str | None) -> None:
    assert pci_address(bus_id) == address


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Enabled", True),
        (" disabled ", False),
        ("[N/A]", None),
        ("N/A", None),
        ("[Not Supported]", None),
        ("[Unknown Error]", None),
        ("Aktiviert", None),
        ("Yes", None),
        ("", None),
    ],
)
def test_only_two_words_are_known_of_a_switch(text: str, value: bool | None) -> None:
    assert switch(text) is value


@pytest.mark.parametrize(
    ("text", "value"), [("580.159.04", True), ("N/A", False), ("[N/A]", False), ("", None), ("error", None)]
)
def test_firmware(text: str, value: bool | None) -> None:
    assert firmware_runs(text) is value


@pytest.mark.parametrize(
    ("line", "name", "modes"),
    [
        ("00000000:41:00.0, NVIDIA A100, Enabled, Enabled, Disabled", "NVIDIA A100", (True, True, False)),
        ("00000000:41:00.0, A GPU, with commas, Disabled, Enabled, [N/A]", "A GPU, with commas", (False, True, None)),
        ("00000000:41:00.0, [Unknown Error], [N/A], [N/A], [Not Supported]", "", (None, None, None)),
        ("00000000:41:00.0,Tesla T4,Enabled,Disabled,[N/A]", "Tesla T4", (True, False, None)),
    ],
)  # fmt: skip
def test_a_line_of_the_query(line: str, name: str, modes: tuple[bool | None, ...]) -> None:
    gpu = only_gpu(nvidia_gpus(answers(query=[line]), {}))
    assert (gpu.name, (gpu.ecc_current, gpu.ecc_pending, gpu.mig)) == (name, modes)


@pytest.mark.parametrize(
    "line",
    [
        "No devices were found",
        'Field "mig.mode.current" is not a valid field to query.',
        "00000000:41:00.0, NVIDIA A100-PCIE-40GB, Enabled",
        "pci.bus_id, name, ecc.mode.current, ecc.mode.pending, mig.mode.current",
    ],
)
def test_other_lines_are_no_gpu(line: str) -> None:
    assert nvidia_gpus(answers(query=[line]), {}) == ()


def test_the_xml_of_a_gpu_in_vgpu_mode() -> None:
    gpu = only_gpu(nvidia_gpus(answers(modes=MODES), {}))
    assert gpu == NvidiaGpu(
        address="0000:c1:00.0",
        name="NVIDIA H200 NVL",
        ecc_current=True,
        ecc_pending=False,
        mig=False,
        host_mode="SR-IOV",
        mixed_sizes=True,
        gsp=True,
    )


def test_the_xml_of_an_older_driver_and_of_a_gpu_that_carries_no_vgpu() -> None:
    """Drivers before 550 have no word for mixed sizes; a GPU outside vGPU mode says N/A of everything."""
    old = only_gpu(nvidia_gpus(answers(modes=[m for m in MODES if "heterogeneous" not in m]), {}))
    assert (old.host_mode, old.mixed_sizes) == ("SR-IOV", None)
    plain_gpu = [m.replace(">SR-IOV<", ">N/A<").replace("mode>Enabled<", "mode>N/A<") for m in MODES]
    gpu = only_gpu(nvidia_gpus(answers(modes=plain_gpu), {}))
    assert (gpu.host_mode, gpu.mixed_sizes) == (None, None)


def test_what_the_query_said_goes_first_and_the_xml_fills_in() -> None:
    said = answers(query=["00000000:C1:00.0, NVIDIA H200, [N/A], Enabled, [N/A]"], modes=MODES)
    gpu = only_gpu(nvidia_gpus(said, {"0000:c1:00.0": "N/A"}))
    assert (gpu.name, gpu.ecc_current, gpu.ecc_pending, gpu.mig, gpu.gsp) == ("NVIDIA H200", True, True, False, False)


def test_supported_types() -> None:
    assert supported_types(TYPES) == (
        SupportedType(
            address="0000:c1:00.0", type_id=1410, name="NVIDIA H200X-1-18CME",
            max_instances=1, framebuffer_mib=18432, mig=True,
        ),
        SupportedType(
            address="0000:c1:00.0", type_id=1418, name="NVIDIA H200X-70C",
            max_instances=2, framebuffer_mib=71680, mig=False,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("Max Instances : 2", "Max Instances : N/A"), {"max_instances": None}),
        (("Max Instances : 2", "Maximum Instances : 2"), {"max_instances": None}),
        (("FB Memory : 71680 MiB", "FB Memory : 70 GiB"), {"framebuffer_mib": None}),
        (("FB Memory : 71680 MiB", "FB Memory : 71680MiB"), {"framebuffer_mib": 71680}),
        (("Name : NVIDIA H200X-70C", "Name : [Unknown Error]"), {"name": ""}),
        (("GPU Instance Profile ID : N/A", ""), {"mig": None}),
    ],
)
def test_a_field_of_another_form_is_unknown_and_costs_no_other(
    change: tuple[str, str], expected: dict[str, object]
) -> None:
    kind = supported_types([line.replace(*change) for line in TYPES])[-1]
    assert kind.type_id == 1418
    assert {field: getattr(kind, field) for field in expected} == expected


@pytest.mark.parametrize("number", ["1418", "0x", "N/A", "0xfffffffff", "-1"])
def test_a_type_without_a_readable_number_takes_its_fields_with_it(number: str) -> None:
    lines = [line.replace("vGPU Type ID : 0x58a", f"vGPU Type ID : {number}") for line in TYPES]
    kinds = supported_types(lines)
    assert kinds[0].max_instances == 1  # not the 2 of the type that follows
    assert [k.type_id for k in kinds[1:]] == ([0x1418] if number == "1418" else [])


def test_types_before_any_gpu_belong_to_none() -> None:
    assert supported_types(TYPES[1:]) == ()
    assert supported_types(["GPU somewhere", *TYPES[1:]]) == ()


LINES = st.one_of(
    st.sampled_from(TYPES),
    st.sampled_from(MODES),
    st.sampled_from(
        ["GPU", "GPU :", "vGPU Type ID :", "<gpu id=", '<gpu id="">', "<current_ecc>", ":", "query status"]
    ),
    st.text(max_size=40),
)


@given(st.lists(st.tuples(st.sampled_from(["query", "types", "modes", "nvidia-smi", "libvirt", "", "\x1b"]), LINES)))
def test_no_text_breaks_it_and_none_gets_through_raw(lines: list[tuple[str, str]]) -> None:
    said = ProgramAnswers([f"{word}:{line}" for word, line in lines])
    shown = [*said.notes(), said.version("libvirt") or ""]
    for gpu in nvidia_gpus(said, {}):
        assert pci_address(gpu.address) == gpu.address
        shown += [gpu.name, gpu.host_mode or ""]
    for kind in supported_types(said.said.get("types", [])):
        assert kind.type_id >= 0
        shown.append(kind.name)
    assert all(s.isprintable() for s in shown)


@given(st.lists(LINES), st.lists(LINES))
def test_the_lines_around_a_gpu_do_not_change_it(before: list[str], after: list[str]) -> None:
    """Whatever stands before a GPU's types, and after those of the next GPU, they are what they are."""
    other = ["GPU 00000000:99:00.0"]
    kinds = supported_types(
        [*[b for b in before if "C1:00.0" not in b], *TYPES, *other, *[a for a in after if "C1:" not in a]]
    )
    assert [k for k in kinds if k.address == "0000:c1:00.0"] == list(supported_types(TYPES))


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ([], ""),
        (["nvidia-smi:absent"], ""),
        (["nvidia-smi:stuck"], "hangs in the driver"),
        (["nvidia-smi:\x1b[2J"], ""),
        (["query:x", "query status 0", "types status 0", "modes status 0"], ""),
        (["query:x"], "--query-gpu gave no answer"),
        (["query status 0", "types:GPU", "modes status 0"], "vgpu -s -v gave no answer"),
        (["query:bad field", "query status 2", "types status 0", "modes status 0"], ""),
        (["query:no driver", "query status 9", "types status 9", "modes status 9"], "status 9): no driver"),
        (["query status 0", "types status 0", "modes status 137"], "-q -x gave no answer"),
    ],
)
def test_notes(lines: list[str], note: str) -> None:
    notes = ProgramAnswers(lines).notes()
    assert len(notes) == (1 if note else 0)
    assert note in "".join(notes)
