"""The bundled types: what an operator is told when the host itself does not say a type's maximum."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.rules.catalogue import load_catalogue, short_type_name

CATALOGUE = load_catalogue()


@pytest.mark.parametrize(
    ("name", "framebuffer_mib", "maximum", "mixed", "mig", "type_id"),
    [
        ("GRID A100-20C", 20480, 2, None, False, "nvidia-472"),
        ("NVIDIA A100-4C", 4096, 10, 8, False, "nvidia-468"),
        ("A100-3-20C", 20480, 2, None, True, "nvidia-476"),
        ("GRID A100-1-5CME", 5120, 1, None, True, "nvidia-706"),
        ("GRID A100-1-10C", 10240, 4, None, True, None),
        ("GRID A100X-40C", 40960, 1, None, False, "nvidia-462"),
        ("GRID A100D-16C", 16384, 5, 4, False, "nvidia-695"),
        ("GRID A100DX-7-80C", 81920, 1, None, True, "nvidia-626"),
        ("NVIDIA A30-2-12CME", 12288, 1, None, True, None),
        ("NVIDIA A40-2Q", 2048, 24, None, False, "nvidia-558"),
        ("NVIDIA A40-4C", 4096, 12, None, False, None),
        ("NVIDIA A40-48Q", 49152, 1, None, False, None),
        ("NVIDIA A16-1Q", 1024, 16, None, False, None),
        ("GRID T4-4Q", 4096, 4, None, False, "nvidia-232"),
        ("GRID T4-16C", 16384, 1, None, False, "nvidia-321"),
        ("GRID V100D-8Q", 8192, 4, None, False, "nvidia-183"),
        ("NVIDIA L40S-6C", 6144, 8, None, False, None),
        ("NVIDIA L4-1Q", 1024, 24, None, False, None),
        ("NVIDIA H100-80C", 82944, 1, None, False, None),
        ("NVIDIA H100L-47C", 48128, 2, None, False, None),
    ],
)
def test_rows(name: str, framebuffer_mib: int, maximum: int, mixed: int | None, mig: bool, type_id: str | None) -> None:
    row = CATALOGUE.lookup(name)
    assert row is not None
    assert (row.framebuffer_mib, row.max, row.max_mixed, row.mig) == (framebuffer_mib, maximum, mixed, mig)
    assert row.type_id == type_id
    assert "config-example.yaml" in row.source


def test_where_sources_disagree_the_lower_stands_and_the_other_is_named() -> None:
    row = CATALOGUE.lookup("NVIDIA H100-16C")
    assert row is not None
    assert row.max == 5
    assert row.source.endswith("NVIDIA AI Enterprise's table says 6; the lower is taken")


def test_a_type_with_a_known_number_and_no_known_maximum() -> None:
    row = CATALOGUE.lookup("GRID T4-2B4")
    assert row is not None
    assert (row.type_id, row.max, row.framebuffer_mib) == ("nvidia-224", None, 2048)
    assert "vgpuConfig.xml" in row.source


@pytest.mark.parametrize("name", ["NVIDIA H200X-1-18C", "mtty-2", "Dual port serial", "", "A100", "-20C", "a100-20c"])
def test_a_type_it_does_not_know(name: str) -> None:
    assert CATALOGUE.lookup(name) is None


def test_the_product_stands_in_for_what_the_name_lacks() -> None:
    assert CATALOGUE.lookup("20C") is None
    assert CATALOGUE.lookup("nvidia-472") is None
    for name in ("20C", "nvidia-472", "472", "GRID A100-20C"):
        row = CATALOGUE.lookup(name, "20f1")
        assert row is not None
        assert row.name == "A100-20C"
    assert CATALOGUE.lookup("nvidia-472", "1eb8") is None  # a T4 has no such type
    assert CATALOGUE.lookup("nvidia-472", "ffff") is None


def test_boards_and_architectures() -> None:
    board = CATALOGUE.board("0x20F1")
    assert board is not None
    assert (board.code, board.name, board.architecture) == ("A100", "A100 PCIe 40GB", "Ampere")
    assert CATALOGUE.board("beef") is None
    assert CATALOGUE.architecture("GRID T4-4Q") == "Turing"
    assert CATALOGUE.architecture("NVIDIA H100L-99C") == "Hopper"  # not a known type, still a known board
    assert CATALOGUE.architecture("", "26b9") == "Ada Lovelace"
    assert CATALOGUE.architecture("mtty-2") is None


def test_every_row_is_named_once_and_says_where_it_is_from() -> None:
    names = [r.name for r in CATALOGUE.rows]
    numbers = [r.type_id for r in CATALOGUE.rows if r.type_id]
    products = [p for b in CATALOGUE.boards for p in b.product_ids]
    assert len(set(names)) == len(names) > 200
    assert len(set(numbers)) == len(numbers)
    assert len(set(products)) == len(products)
    assert all(r.source and r.framebuffer_mib for r in CATALOGUE.rows)


def test_a_maximum_never_exceeds_the_memory_of_the_board() -> None:
    """The largest time-sliced type takes the whole GPU, so it measures what the others may take together."""
    for board in CATALOGUE.boards:
        sliced = [r for r in CATALOGUE.rows if r.board == board.code and not r.mig and r.max]
        whole = max(r.framebuffer_mib or 0 for r in sliced)
        for row in sliced:
            assert (row.max or 0) * (row.framebuffer_mib or 0) <= whole, row.name
            assert row.max_mixed is None or row.max_mixed < (row.max or 0), row.name


def test_the_file_has_no_misspelt_field() -> None:
    file = Path(__file__).parents[2] / "assets" / "vgpu_types.toml"
    data = tomllib.loads(file.read_text())
    assert set(data) == {"sources", "board"}
    for board in data["board"]:
        assert set(board) <= {"code", "name", "architecture", "product_ids", "source", "id_source", "note", "types"}
        for row in board["types"]:
            assert set(row) <= {"name", "max", "mixed", "id", "framebuffer_mib", "note"}


def test_it_brings_no_heavy_module() -> None:
    code = "import sys, vgpu_console.rules.catalogue as c; c.load_catalogue(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"textual", "openstack", "libvirt", "asyncssh", "rich"} & set(loaded)


@given(st.text(), st.none() | st.text())
def test_any_text_may_be_asked_for(name: str, product: str | None) -> None:
    row = CATALOGUE.lookup(name, product)
    assert row is None or row in CATALOGUE.rows
    CATALOGUE.architecture(name, product)
    assert short_type_name(short_type_name(name)) == short_type_name(name) or "GRID" in name or "NVIDIA" in name
