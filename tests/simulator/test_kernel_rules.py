"""The driver's rules on one GPU: the real maximum, one size at a time, one device per virtual function."""

from __future__ import annotations

import pytest

from vgpu_console.rules.catalogue import load_catalogue
from vgpu_console.simulator.gpu_models import BOARDS
from vgpu_console.simulator.hosts import Gpu, Host, KernelRefusal, gpu_address


def a_gpu(board: str) -> Gpu:
    host = Host("gpu-01")
    gpu = Gpu(host, BOARDS[board], gpu_address(0))
    host.gpus.append(gpu)
    return gpu


def fill(gpu: Gpu, type_name: str) -> int:
    """Create devices of a type wherever the driver still offers one; how many there were."""
    kind = gpu.board.type(type_name)
    made = 0
    for function in gpu.functions():
        while gpu.available(function, kind):
            gpu.create(f"00000000-0000-4000-8000-{made:012d}", kind.type_id, function, persistent=False)
            made += 1
    return made


@pytest.mark.parametrize(
    ("board", "type_name", "maximum"),
    [
        ("A100-40", "A100-40C", 1),
        ("A100-40", "A100-20C", 2),
        ("A100-40", "A100-10C", 4),
        ("A100-40", "A100-8C", 5),
        ("A100-40", "A100-5C", 8),
        ("A100-40", "A100-4C", 10),
        ("A100-80", "A100D-4C", 20),
        ("A40", "A40-8Q", 6),
        ("A40", "A40-1Q", 32),
        ("T4", "T4-4Q", 4),
        ("T4", "T4-16Q", 1),
    ],
)
def test_a_gpu_takes_its_types_real_maximum_and_no_more(board: str, type_name: str, maximum: int) -> None:
    gpu = a_gpu(board)
    assert fill(gpu, type_name) == maximum
    kind = gpu.board.type(type_name)
    for function in gpu.functions():
        with pytest.raises(KernelRefusal, match=rf"^No available instances of {kind.type_id} on {function}$"):
            gpu.create("11111111-0000-4000-8000-000000000000", kind.type_id, function, persistent=False)


def test_the_virtual_functions_of_an_a100_are_where_the_hardware_puts_them() -> None:
    functions = a_gpu("A100-40").vf_addresses()
    assert len(functions) == 16
    assert functions[:5] == ("0000:41:00.4", "0000:41:00.5", "0000:41:00.6", "0000:41:00.7", "0000:41:01.0")
    assert functions[-1] == "0000:41:02.3"


def test_one_device_pins_the_size_of_the_whole_gpu() -> None:
    gpu = a_gpu("A100-40")
    first, second = gpu.functions()[:2]
    gpu.create("00000000-0000-4000-8000-000000000000", "nvidia-472", first, persistent=False)
    offers = {kind.short_name: gpu.available(second, kind) for kind in gpu.board.types}
    assert offers == {"A100-4C": 0, "A100-5C": 0, "A100-8C": 0, "A100-10C": 0, "A100-20C": 1, "A100-40C": 0}
    assert gpu.available(first, gpu.board.type("A100-20C")) == 0


def test_types_of_equal_size_share_a_gpu() -> None:
    gpu = a_gpu("T4")
    gpu.create("00000000-0000-4000-8000-000000000000", "nvidia-232", gpu.address, persistent=False)
    assert gpu.available(gpu.address, gpu.board.type("T4-4C")) == 3
    assert gpu.available(gpu.address, gpu.board.type("T4-8Q")) == 0


@pytest.mark.parametrize(
    ("type_id", "function", "text"),
    [
        ("nvidia-472", "0000:99:00.4", "Unable to find parent device"),
        ("nvidia-472", "0000:41:00.0", "Unable to find parent device"),  # the physical function carries none
        ("nvidia-1", "0000:41:00.4", "Parent 0000:41:00.4 does not support mdev type nvidia-1"),
    ],
)
def test_what_cannot_be_made_is_refused_with_mdevctls_words(type_id: str, function: str, text: str) -> None:
    with pytest.raises(KernelRefusal) as refusal:
        a_gpu("A100-40").create("00000000-0000-4000-8000-000000000000", type_id, function, persistent=True)
    assert str(refusal.value) == text


def test_disabling_vfs_stops_devices_and_keeps_only_definitions() -> None:
    gpu = a_gpu("A100-40")
    first, second = gpu.functions()[:2]
    gpu.create("00000000-0000-4000-8000-000000000000", "nvidia-472", first, persistent=True)
    gpu.create("00000000-0000-4000-8000-000000000001", "nvidia-472", second, persistent=False)
    gpu.set_vfs(0)
    (left,) = gpu.all_mdevs()
    assert (left.parent, left.active, left.persistent) == (first, False, True)
    with pytest.raises(KernelRefusal, match=r"^Unable to find parent device '0000:41:00\.4'$"):
        gpu.start(left)
    gpu.set_vfs(16)
    gpu.start(left)
    assert left.active


@pytest.mark.parametrize("board", list(BOARDS))
def test_the_simulated_boards_agree_with_the_consoles_own_catalogue(board: str) -> None:
    """Two tables from one source: a typing error in either shows here."""
    catalogue = load_catalogue()
    compared = 0
    for kind in BOARDS[board].types:
        row = catalogue.lookup(kind.name, BOARDS[board].product_id)
        if row is not None:
            compared += 1
            assert (row.framebuffer_mib, row.max) == (kind.framebuffer_mib, kind.maximum), kind.name
    assert compared > len(BOARDS[board].types) // 2
