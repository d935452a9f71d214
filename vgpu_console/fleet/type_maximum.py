"""A type's real maximum on a GPU and where it is from: the host's own word first, then the bundled catalogue.

Placement's totals are never one: an SR-IOV GPU has more virtual functions than it carries vGPUs of most types.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from vgpu_console.fleet.boards import Board
from vgpu_console.model.host_facts import SshFacts, SupportedType
from vgpu_console.model.snapshot import MaxSource

SUPPORTED_EVIDENCE = "nvidia-smi vgpu -s -v"
"""Where the driver says what a GPU supports whatever exists on it: no file of the vendor VFIO framework does."""


class TypeRow(Protocol):
    """A row of the bundled catalogue."""

    @property
    def framebuffer_mib(self) -> int | None: ...
    @property
    def max(self) -> int | None: ...
    @property
    def max_mixed(self) -> int | None: ...
    @property
    def source(self) -> str: ...


class TypeCatalogue(Protocol):
    """What the join needs of the catalogue."""

    def lookup(self, type_name: str, product_id: str | None = None) -> TypeRow | None: ...


class Described(msgspec.Struct, frozen=True):
    """What the host's driver says of a type, wherever on this host it says it."""

    name: str
    framebuffer_mib: int | None
    max_instances: int | None
    evidence: str


def described_types(ssh: SshFacts | None, addresses: Iterable[str]) -> dict[str, Described]:
    """What sysfs says of the types on these functions, by type id: ``description`` of ``mdev_supported_types``."""
    out: dict[str, Described] = {}
    wanted = set(addresses)
    for entry in ssh.types if ssh else ():
        if entry.address in wanted and entry.type_id not in out:
            path = f"/sys/class/mdev_bus/{entry.address}/mdev_supported_types/{entry.type_id}/description"
            out[entry.type_id] = Described(entry.name, entry.framebuffer_mib, entry.max_instances, path)
    return out


def sibling(board: Board, type_id: str, ssh: SshFacts | None) -> Described | None:
    """The same type on another GPU of the same product in this host: it describes a GPU whose functions are off."""
    if ssh is None or board.functions:
        return None
    product = {p.address: p.product_id for p in ssh.pci}
    own = board.product_id
    alike = [a for a, p in product.items() if p == own and own]
    return described_types(ssh, alike).get(type_id)


def supported_type(board: Board, type_id: str) -> SupportedType | None:
    """The driver's list of supported types has numbers: 472 stands for an mdev type's ``nvidia-472`` too."""
    number = type_id.removeprefix("nvidia-")
    return board.supported.get(int(number)) if number.isascii() and number.isdigit() else None


def own_words(board: Board, type_id: str, described: dict[str, Described], ssh: SshFacts | None) -> Described | None:
    """What the host itself says of a type on this GPU, the most particular word first; None when it says nothing."""
    kind = supported_type(board, type_id)
    listed = Described(kind.name, kind.framebuffer_mib, kind.max_instances, SUPPORTED_EVIDENCE) if kind else None
    said = [d for d in (described.get(type_id), listed, sibling(board, type_id, ssh)) if d is not None]
    return next((d for d in said if d.max_instances is not None), said[0] if said else None)


def maximum(said: Described | None, row: TypeRow | None, mixed_sizes: bool | None) -> tuple[int | None, MaxSource, str]:
    """(maximum, whose word it is, where that can be read).

    In mixed-size mode some types fit fewer times, since a vGPU may then begin at certain places of the framebuffer
    only. Where the host's figure is still the one for equal sizes, the catalogue's lower one holds.
    """
    found: tuple[int | None, MaxSource, str] = (None, "unknown", "")
    if said is not None and said.max_instances is not None:
        found = said.max_instances, "host", said.evidence
    elif row is not None and row.max is not None:
        found = row.max, "catalogue", row.source
    if mixed_sizes and row is not None and row.max_mixed is not None and (found[0] is None or found[0] > row.max_mixed):
        return row.max_mixed, "catalogue", f"{row.source}; mixed-size mode"
    return found


def room(limit: int | None, made: int | None, beside: Iterable[int | None], own_size: int | None) -> int | None:
    """How many more of a type the GPU as a whole can take; None when that cannot be told.

    ``made`` of the type exist, and ``beside`` has the framebuffer size of each vGPU of another type. Those of the same
    size (20Q beside 20C) take the places of this type. Beside one of another or an unknown size only the driver knows
    what is left: nothing, or in mixed-size mode and with MIG instances what still fits.
    """
    others = list(beside)
    if limit is None or made is None or any(size is None or size != own_size for size in others):
        return None
    return limit - made - len(others)
