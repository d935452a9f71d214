"""Snapshots of any content for hypothesis, made from the types themselves: a field that is added is drawn, too."""

from __future__ import annotations

import functools
import random
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from vgpu_console.model.snapshot import Snapshot
from vgpu_console.recording.tables import LISTS
from vgpu_console.text import plain

TEXT = st.text(max_size=12).map(plain)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.one_of(st.integers(0, 2 * 10**12).map(lambda ms: ms / 1000), st.floats(0, 2e9))


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type annotation."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is str:
        return TEXT
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(-(2**53), 2**53)
    if hint is float:
        return NUMBERS
    if hint is type(None):
        return st.none()
    if hint is Any:
        return st.one_of(st.none(), TEXT, st.integers(-10, 10))
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of(*(of_type(arg) for arg in args))
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return st.lists(of_type(args[0]), max_size=2).map(tuple)
        return st.tuples(*(of_type(arg) for arg in args))
    if origin is dict:
        return st.dictionaries(of_type(args[0]), of_type(args[1]), max_size=2)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return struct(hint)
    raise AssertionError(f"no strategy for {hint}")


@functools.cache
def struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of a struct."""
    hints = get_type_hints(kind)
    fields = {name: of_type(hints[name]) for name in kind.__struct_fields__}
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


@functools.cache
def _item_types() -> dict[str, Any]:
    hints = get_type_hints(Snapshot)
    return {name: typing.get_args(hints[name])[0] for name in LISTS}


def _other(item: Any) -> Any:
    """The same but for one field."""
    name = next(n for n, hint in get_type_hints(type(item)).items() if hint in (str, str | None))
    return msgspec.structs.replace(item, **{name: f"{getattr(item, name) or ''} too"})


@st.composite
def snapshots(draw: st.DrawFn, most: int = 6) -> list[Snapshot]:
    """Some snapshots that share most of their items, as those of one fleet do; times may go back.

    What they are made of is hypothesis's; what comes, goes and moves from one to the next is a seed's, since so many
    small choices would be too many for one example.
    """
    kinds = _item_types()
    busy = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3, unique=True))
    drawn = {name: draw(struct(kinds[name])) for name in busy}
    rest = {name: draw(of_type(hint)) for name, hint in get_type_hints(Snapshot).items() if name not in LISTS}
    del rest["schema_version"], rest["taken_at"]
    times = draw(st.lists(TIMES, min_size=1, max_size=most))
    chance = random.Random(draw(st.integers(0, 2**32)))
    pools = {name: [item, _other(item), _other(_other(item))] for name, item in drawn.items()}
    lists: dict[str, Any] = dict.fromkeys(LISTS, ())
    out = []
    for taken_at in times:
        for name, pool in pools.items():
            kept = list(lists[name])
            what = chance.randrange(6) if kept else 0
            if what < 2:
                kept = chance.choices(pool, k=chance.randrange(5))
            elif what == 2:
                kept[chance.randrange(len(kept))] = chance.choice(pool)
            elif what == 3:
                kept.insert(chance.randrange(len(kept)), chance.choice(pool))
            lists[name] = tuple(kept)
        if lists["sources"] and chance.randrange(2):
            moved = msgspec.structs.replace(
                lists["sources"][0], fetched_at=chance.choice(times), requests=chance.randrange(9)
            )
            lists["sources"] = (moved, *lists["sources"][1:])
        out.append(Snapshot(taken_at=taken_at, **lists, **rest))
    return out
