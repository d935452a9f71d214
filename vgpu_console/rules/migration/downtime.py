"""How long a guest with vGPUs will stand still while it moves: a range, with its arithmetic in sight.

Nobody tells it beforehand: Nova stores no downtime, and libvirt's figure of a running job is the limit in force. What
counts is what is still to be sent when the guest is paused: a vGPU's framebuffer, and, where the device cannot track
the pages it writes, all of the guest's memory, since QEMU must then take every page for dirty (QEMU,
docs/devel/migration/vfio.rst). A fleet's own past migrations know better than any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

MIB = 1024 * 1024

ASSUMED_RATE = (800_000_000.0, 1_100_000_000.0)
"""Bytes a second where nothing is configured or measured: a network of 10 Gbit/s. The lower end is what VMware's
published stun times of a V100 on such a network come to (16 GB of framebuffer: 22 s), the upper end nearly its line
rate."""

SWITCH_OVER_MS = (300.0, 2000.0)
"""Stopping devices, handing over and starting them again, apart from data: 0.4 to 1.4 s between two hosts with QEMU
10.0 and mediated devices that had next to no state to send."""

ENOUGH = 3
"""So many past migrations of a type replace the model; fewer are only told."""

_UNTRACKED = frozenset({"Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere"})


class PastMove(msgspec.Struct, frozen=True, kw_only=True):
    """A migration of this fleet whose downtime was measured. ``heard``: as one clock heard it, since two were apart."""

    type_name: str
    source: str
    destination: str
    ram_mib: int
    framebuffer_mib: int
    downtime_ms: float
    heard: bool = False


class Downtime(msgspec.Struct, frozen=True, kw_only=True):
    """The range in milliseconds, both None when it cannot be told; ``basis`` is the arithmetic, a line each."""

    low_ms: float | None
    high_ms: float | None
    basis: tuple[str, ...]
    from_history: int = 0  # so many past migrations are behind the range; 0: a model

    @property
    def known(self) -> bool:
        """Whether there is a range."""
        return self.low_ms is not None and self.high_ms is not None


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """What the migration network carries, bytes a second, and where that is from."""

    low: float
    high: float
    origin: str  # "configured: [migration] rate"


def tracks_dirty_pages(architecture: str | None) -> bool | None:
    """Whether a GPU of that architecture can say which pages it wrote. None: no public source says.

    NVIDIA publishes no table; Ampere and older are taken for unable, which is what Nova's advice of a downtime limit
    of 500 s rests on (Nova, virtual GPU guide, caveats).
    """
    return False if architecture in _UNTRACKED else None


def predict(
    *,
    ram_mib: int | None,
    framebuffer_mib: int | None,
    tracked: bool | None,
    type_name: str,
    source: str,
    destination: str,
    rate: Rate | None = None,
    switch_over_ms: tuple[float, float] = SWITCH_OVER_MS,
    past: Sequence[PastMove] = (),
) -> Downtime:
    """The range for one move. ``framebuffer_mib`` is the sum over the server's vGPUs, 0 without one.

    With at least three measured moves of the type, between these hosts if there are so many, else between any, their
    effective rates take the model's place.
    """
    if ram_mib is None or framebuffer_mib is None:
        what = "the guest's memory" if ram_mib is None else "the framebuffer of its vGPU type"
        return Downtime(low_ms=None, high_ms=None, basis=(f"{what} is not known: no prediction",))
    between = [m for m in past if (m.type_name, m.source, m.destination) == (type_name, source, destination)]
    alike = [m for m in past if m.type_name == type_name]
    for moves, where in ((between, f"from {source} to {destination}"), (alike, "between any hosts")):
        if len(moves) >= ENOUGH:
            return _from_history(moves, where, type_name, ram_mib, framebuffer_mib, switch_over_ms)
    return _from_model(ram_mib, framebuffer_mib, tracked, rate, switch_over_ms, alike)


def _from_model(
    ram_mib: int,
    framebuffer_mib: int,
    tracked: bool | None,
    rate: Rate | None,
    switch_over_ms: tuple[float, float],
    past: Sequence[PastMove],
) -> Downtime:
    rate = rate or Rate(low=ASSUMED_RATE[0], high=ASSUMED_RATE[1], origin="assumed: a network of 10 Gbit/s")
    least = framebuffer_mib if tracked is not True else 0
    most = framebuffer_mib + ram_mib
    if not framebuffer_mib:
        least = 0
    low = switch_over_ms[0] + _ms(least, rate.high)
    high = switch_over_ms[1] + _ms(most, rate.low)
    dirty = {
        False: "the GPU cannot tell which pages it wrote: up to all memory counts as dirty",
        None: "whether the GPU tells which pages it wrote is not known: up to all memory may count as dirty",
        True: "the GPU tells which pages it wrote: memory and framebuffer may be sent before the pause",
    }[tracked]
    if not framebuffer_mib:
        dirty = "no vGPU: what is written faster than it is sent is left for the pause"
    basis = [
        f"least: {_gib(least)} of framebuffer at {_gb(rate.high)}/s and {_s(switch_over_ms[0])} to switch over",
        f"most: {_gib(framebuffer_mib)} of framebuffer and {_gib(ram_mib)} of memory at {_gb(rate.low)}/s and "
        f"{_s(switch_over_ms[1])} to switch over",
        dirty,
        f"rate {rate.origin}",
    ]
    basis += (
        [f"{len(past)} past migration{'s' if len(past) > 1 else ''} of this type: {ENOUGH} would make this better"]
        if past
        else []
    )
    return Downtime(low_ms=low, high_ms=high, basis=tuple(basis))


def _from_history(
    moves: Sequence[PastMove],
    where: str,
    type_name: str,
    ram_mib: int,
    framebuffer_mib: int,
    switch_over_ms: tuple[float, float],
) -> Downtime:
    """Each past move had a rate at which all it could have had to send would have gone in its pause."""
    size = ram_mib + framebuffer_mib
    times = sorted(size * m.downtime_ms / (m.ram_mib + m.framebuffer_mib) for m in _with_size(moves))
    measured = sorted(m.downtime_ms for m in moves)
    if not times:
        times = measured
    low, high = max(times[0], min(switch_over_ms[0], measured[0])), max(times[-1], measured[0])
    spread = f"{_s(measured[0])} to {_s(measured[-1])}" if measured[0] != measured[-1] else _s(measured[0])
    basis = [
        f"{len(moves)} past migrations of {type_name} {where} took {spread}",
        f"scaled from their sizes to {_gib(ram_mib)} of memory and {_gib(framebuffer_mib)} of framebuffer",
    ]
    heard = sum(m.heard for m in moves)
    if heard:
        basis.append(f"{heard} of them as this console heard it: the clocks of their hosts seem to have been apart")
    return Downtime(low_ms=low, high_ms=high, basis=tuple(basis), from_history=len(moves))


def _with_size(moves: Iterable[PastMove]) -> list[PastMove]:
    return [m for m in moves if m.ram_mib + m.framebuffer_mib > 0]


def _ms(mib: int, bytes_per_s: float) -> float:
    return mib * MIB / bytes_per_s * 1000.0


def _gib(mib: int) -> str:
    return f"{mib / 1024:.3g} GiB"


def _gb(rate: float) -> str:
    return f"{rate / 1e9:.3g} GB"


def _s(ms: float) -> str:
    return f"{ms / 1000:.3g} s"


def ladder(downtime_ms: int, steps: int, delay_s: int, data_gib: float) -> tuple[tuple[int, int], ...]:
    """When nova-compute raises QEMU's limit, and to what: (seconds since the start, milliseconds) for each rung.

    Nova's own arithmetic ([libvirt] live_migration_downtime, _steps, _delay): the delay counts for each GiB of memory,
    of which there are at least two, and of copied disks.
    """
    delay = int(delay_s * data_gib)
    base = downtime_ms / steps
    offset = (downtime_ms - base) / steps
    return tuple((delay * rung, int(base + offset * rung)) for rung in range(steps + 1))


def reached_after_s(rungs: Sequence[tuple[int, int]], needed_ms: float) -> int | None:
    """When a limit that allows such a pause is first in force, seconds; None: never."""
    return next((at for at, limit in rungs if limit >= needed_ms), None)


HEARD_APART_MS, HEARD_APART = 500, 0.2
"""A measured downtime is doubted where it differs by more than this, and by this part, from what was heard: events
come a little late over a slow line."""


def doubted(downtime_ms: float, heard_ms: float | None) -> bool:
    """Whether libvirt's figure, which counts over the clocks of both hosts, is far from what one clock heard."""
    return heard_ms is not None and abs(downtime_ms - heard_ms) > max(HEARD_APART_MS, HEARD_APART * heard_ms)


def clocks_apart(downtime_ms: float, heard_ms: float | None) -> str:
    """Why libvirt's figure is doubted; "" where it is not, or nothing was heard."""
    if heard_ms is None or not doubted(downtime_ms, heard_ms):
        return ""
    return (
        f"heard here: {_in_ms(heard_ms)}; libvirt counts {_in_ms(downtime_ms)} over the clocks of both hosts, which "
        "seem to be apart"
    )


def of_one_clock(downtime_ms: float, heard_ms: float | None) -> float:
    """The figure to reckon with: libvirt's, or what was heard where libvirt's is doubted."""
    return heard_ms if heard_ms is not None and doubted(downtime_ms, heard_ms) else downtime_ms


def _in_ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms"


def told_downtime(downtime_ms: float, heard_ms: float | None, words: Callable[[float], str] = _in_ms) -> str:
    """A measured downtime, with what was heard where that makes it doubtful: ``2648 ms (heard 1460 ms)``.

    ``words`` says a time that is given in milliseconds.
    """
    pause = of_one_clock(downtime_ms, heard_ms)
    return words(downtime_ms) if pause == downtime_ms else f"{words(downtime_ms)} (heard {words(pause)})"
