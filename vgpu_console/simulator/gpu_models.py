"""The GPU boards of the embedded cloud: PCI identity, SR-IOV size and the vGPU types that their driver offers.

Maxima are NVIDIA's equal-size maxima per physical GPU. Type numbers are those of NVIDIA's vgpuConfig.xml where it is
public (A100, T4, and 558 for A40-2Q); the other A40 and all L40S and A30 numbers only continue the sequence.
"""

from __future__ import annotations

import msgspec


class VgpuType(msgspec.Struct, frozen=True):
    """A vGPU type as the driver describes it. ``number`` is the numeric id, ``type_id`` the mdev one (nvidia-472)."""

    number: int
    name: str  # "GRID A100-20C"
    framebuffer_mib: int
    maximum: int  # on one physical GPU
    heads: int = 1
    resolution: str = "4096x2160"

    @property
    def mig(self) -> bool:
        """Whether it is backed by a MIG instance, whose slices are in its name, instead of a time slice."""
        return self.short_name.count("-") > 1

    @property
    def type_id(self) -> str:
        """The mdev type id."""
        return f"nvidia-{self.number}"

    @property
    def short_name(self) -> str:
        """The name without the vendor's prefix: ``A100-20C``."""
        return self.name.removeprefix("GRID ").removeprefix("NVIDIA ")

    @property
    def description(self) -> str:
        """The text of sysfs ``mdev_supported_types/<type>/description``."""
        return (
            f"num_heads={self.heads}, frl_config=60, framebuffer={self.framebuffer_mib}M, "
            f"max_resolution={self.resolution}, max_instance={self.maximum}"
        )


class Board(msgspec.Struct, frozen=True):
    """A GPU model. ``total_vfs`` 0 means that it has no SR-IOV and carries its vGPUs itself."""

    key: str
    product_id: str
    product: str  # as libvirt (pci.ids) names it
    model: str  # as the driver names it
    total_vfs: int
    types: tuple[VgpuType, ...]
    first_vf: int = 4  # offset of the first virtual function from the physical one
    by_name: dict[str, VgpuType] = {}

    @property
    def mig_capable(self) -> bool:
        """Whether the GPU can be cut into instances (of these boards: GA100)."""
        return self.product.startswith("GA100")

    def type(self, name: str) -> VgpuType:
        """The type of that name (``A100-20C``), mdev id (``nvidia-472``) or number. Raises KeyError."""
        if not self.by_name:
            for kind in self.types:
                self.by_name[kind.short_name] = kind
                self.by_name[kind.type_id] = kind
                self.by_name[str(kind.number)] = kind
        return self.by_name[name]


def _types(prefix: str, rows: str) -> tuple[VgpuType, ...]:
    """Types from ``number:size+suffix:maximum`` words; the framebuffer is the size in the name times 1024 MiB."""
    made = []
    for row in rows.split():
        number, name, maximum = row.split(":")
        size = int(name.rpartition("-")[2][:-1])
        heads = 1 if name.endswith("C") else 4
        resolution = "4096x2160" if name.endswith("C") else "7680x4320"
        made.append(VgpuType(int(number), f"{prefix}-{name}", size * 1024, int(maximum), heads, resolution))
    return tuple(made)


BOARDS: dict[str, Board] = {
    board.key: board
    for board in (
        Board(
            "A100-40",
            "20f1",
            "GA100 [A100 PCIe 40GB]",
            "NVIDIA A100-PCIE-40GB",
            16,
            _types("GRID A100", "468:4C:10 469:5C:8 470:8C:5 471:10C:4 472:20C:2 473:40C:1"),
        ),
        Board(
            "A100-80",
            "20b5",
            "GA100 [A100 PCIe 80GB]",
            "NVIDIA A100 80GB PCIe",
            20,
            _types("GRID A100D", "692:4C:20 693:8C:10 694:10C:8 695:16C:5 696:20C:4 697:40C:2 698:80C:1"),
        ),
        Board(
            "A30",
            "20b7",
            "GA100GL [A30 PCIe]",
            "NVIDIA A30",
            16,
            _types("NVIDIA A30", "800:4C:6 801:6C:4 802:8C:3 803:12C:2 804:24C:1 805:1-6C:4 806:2-12C:2 807:4-24C:1"),
        ),
        Board(
            "A40",
            "2235",
            "GA102GL [A40]",
            "NVIDIA A40",
            32,
            _types(
                "NVIDIA A40",
                "557:1Q:32 558:2Q:24 559:3Q:16 560:4Q:12 561:6Q:8 562:8Q:6 563:12Q:4 564:16Q:3 565:24Q:2 566:48Q:1",
            ),
        ),
        Board(
            "T4",
            "1eb8",
            "TU104GL [Tesla T4]",
            "Tesla T4",
            0,
            _types("GRID T4", "230:1Q:16 231:2Q:8 232:4Q:4 233:8Q:2 234:16Q:1 319:4C:4 320:8C:2 321:16C:1"),
        ),
        Board(
            "L40S",
            "26b9",
            "AD102GL [L40S]",
            "NVIDIA L40S",
            32,
            _types(
                "NVIDIA L40S",
                "1149:1Q:32 1150:2Q:24 1151:3Q:16 1152:4Q:12 1153:6Q:8 1154:8Q:6 1155:12Q:4 1156:16Q:3 "
                "1157:24Q:2 1158:48Q:1",
            ),
        ),
    )
}
"""The boards, by the key that a scenario uses."""
