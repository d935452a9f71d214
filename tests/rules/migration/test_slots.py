"""What fits on one destination together, and who gives way to whom."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.rules.migration.placer import Option, Placer
from vgpu_console.rules.migration.slots import GpuSlots, HostSlots, Need, packed

LARGE, SMALL, SMALL_Q = "nvidia-472", "nvidia-471", "nvidia-566"
SIZES = {LARGE: 20480, SMALL: 10240, SMALL_Q: 10240}


def gpu(address: str = "0000:41:00.0", *, mixed: bool = False, **free: int) -> GpuSlots:
    names = {"large": LARGE, "small": SMALL, "small_q": SMALL_Q}
    counts = {names[name]: n for name, n in free.items()}
    return GpuSlots(address=address, free=counts, sizes={t: SIZES[t] for t in counts}, mixed=mixed)


def test_one_size_on_a_gpu_ends_the_others() -> None:
    after = gpu(large=2, small=4, small_q=4).left_after(SMALL)
    assert after is not None
    assert after.free == {LARGE: 0, SMALL: 3, SMALL_Q: 3}
    assert after.left_after(LARGE) is None


def test_where_sizes_mix_the_framebuffer_that_is_left_bounds_them() -> None:
    after = gpu(large=2, small=4, mixed=True).left_after(SMALL)
    assert after is not None
    assert after.free == {LARGE: 1, SMALL: 3}


def test_a_type_goes_to_the_gpu_that_runs_it_and_leaves_the_empty_one_to_others() -> None:
    empty, running = gpu("0000:41:00.0", large=2, small=4), gpu("0000:81:00.0", small=1)
    host = HostSlots(gpus=(empty, running))
    assert host.fits([Need((SMALL,)), Need((LARGE,)), Need((LARGE,))])
    assert not host.fits([Need((SMALL,)), Need((SMALL,)), Need((LARGE,))])


def test_cpu_and_memory_bound_what_devices_would_allow() -> None:
    host = HostSlots(gpus=(gpu(small=4),), root={"VCPU": 8, "MEMORY_MB": 100_000})
    need = Need((SMALL,), (("MEMORY_MB", 8192), ("VCPU", 4)))
    assert host.fits([need, need])
    assert not host.fits([need, need, need])


def test_a_class_that_is_not_known_bounds_nothing() -> None:
    assert HostSlots(gpus=(gpu(small=1),)).fits([Need((SMALL,), (("VCPU", 400),))])


@given(
    free=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=3),
    large=st.integers(0, 4),
    small=st.integers(0, 6),
)
def test_what_is_packed_is_never_more_than_some_way_to_use_the_gpus_allows(
    free: list[tuple[int, int]], large: int, small: int
) -> None:
    """Against every choice of one size for each GPU; and with two sizes nothing that fits is refused."""
    gpus = [gpu(f"0000:{n:02x}:00.0", large=a, small=b) for n, (a, b) in enumerate(free)]
    possible = any(
        sum(a for (a, _), size in zip(free, choice, strict=True) if size == "large") >= large
        and sum(b for (_, b), size in zip(free, choice, strict=True) if size == "small") >= small
        for choice in product(("large", "small"), repeat=len(free))
    )
    found = packed(gpus, [LARGE] * large + [SMALL] * small)
    if found is not None:
        assert possible
        assert all(n >= 0 for one in found for n in one.free.values())


def test_the_last_to_come_makes_an_earlier_one_go_elsewhere() -> None:
    slots = {"b": HostSlots(gpus=(gpu(small=1),)), "c": HostSlots(gpus=(gpu(small=1),))}
    need = Need((SMALL,))
    both = (Option("b", need, (0, 0, 1.0)), Option("c", need, (0, 0, 2.0)))
    one = (Option("b", need, (0, 0, 1.0)), Option("c", need, (1, 3, 9.0)))
    places = Placer(slots, {}).place({"s1": both, "s2": one, "s3": both})
    assert sorted(o.host for o in places.values()) == ["b", "c"]
    only_b = {"s1": both, "s2": both, "s9": (Option("b", need),)}
    assert Placer(slots, {}).place(only_b)["s9"].host == "b"


def test_a_chain_of_three_gives_way() -> None:
    slots = {h: HostSlots(gpus=(gpu(small=1),)) for h in "bcd"}
    need = Need((SMALL,))

    def on(*hosts: str) -> tuple[Option, ...]:
        return tuple(Option(h, need, (0, 0, float(n))) for n, h in enumerate(hosts))

    places = Placer(slots, {}).place({"s1": on("b", "c"), "s2": on("b", "c"), "s3": on("c", "d")})
    assert len(places) == 3
    assert {o.host for o in places.values()} == {"b", "c", "d"}


def test_what_comes_to_a_host_besides_is_not_handed_out_twice() -> None:
    slots = {"b": HostSlots(gpus=(gpu(small=2),))}
    options = {s: (Option("b", Need((SMALL,))),) for s in ("s1", "s2")}
    assert set(Placer(slots, {"b": [Need((SMALL,))]}).place(options)) == {"s1"}


def test_what_comes_besides_and_finds_no_room_does_not_close_the_host_to_others() -> None:
    slots = {"b": HostSlots(gpus=(gpu(small=0, large=1),))}
    options = {"s1": (Option("b", Need((LARGE,))),), "s2": (Option("b", Need()),)}
    assert set(Placer(slots, {"b": [Need((SMALL,))]}).place(options)) == {"s1", "s2"}
