"""The key table, the places to jump to and the row cache."""

from __future__ import annotations

import pytest
from textual.binding import Binding

from tests.screens import fleets
from vgpu_console.screens import keys
from vgpu_console.screens.dialogs.sort import letters_for
from vgpu_console.screens.render import devices, hosts, migrations, quota, servers
from vgpu_console.screens.render.row_cache import RowCache
from vgpu_console.screens.targets import all_targets, search
from vgpu_console.screens.widgets.cells import text
from vgpu_console.screens.widgets.columns import Column
from vgpu_console.screens.widgets.fleet_table import FleetTable, TableRow


def test_every_binding_has_an_id_and_no_two_keys_of_a_screen_are_the_same() -> None:
    assert len({k.id for k in keys.KEYS}) == len(keys.KEYS)
    for own in {k.scope for k in keys.KEYS}:  # beside its own each screen has the application's and the view's
        taken: dict[str, str] = {}
        for key in (k for k in keys.KEYS if k.scope in ("app", "view", own)):
            for one in key.keys.split(","):
                assert one not in taken, f"{one}: {key.id} and {taken.get(one)}"
                taken[one] = key.id


def test_the_tables_own_bindings_are_all_described() -> None:
    ids = {b.id for b in FleetTable.BINDINGS if isinstance(b, Binding)}
    assert ids == set(keys.TABLE_KEYS)


def test_unknown_ids_are_told_with_the_nearest_that_exists() -> None:
    assert keys.unknown_ids(["filter", "table.open"]) == []
    assert keys.unknown_ids(["fliter"]) == ["keys: no action is called fliter; did you mean filter?"]
    assert keys.unknown_ids(["zzzzzz"]) == ["keys: no action is called zzzzzz"]


def test_the_readme_table_has_every_key_that_does_something() -> None:
    table = keys.markdown_table()
    for key in keys.KEYS:
        assert (f"`{key.id}`" in table) is not bool(key.reason)
    assert "| `- backspace` | The view before this one | `previous` |" in table


@pytest.mark.parametrize(
    "columns", [hosts.COLUMNS, devices.COLUMNS, servers.COLUMNS, quota.COLUMNS, migrations.COLUMNS]
)
def test_every_column_can_be_sorted_by_a_letter_of_its_own(columns: tuple[Column, ...]) -> None:
    letters = letters_for(columns)
    assert len(set(letters.values())) == len(columns)
    assert not set(letters.values()) & {"j", "k", "q", ""}


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("", ("view", "fleet")),
        ("quota", ("view", "quota")),
        ("h", ("view", "fleet")),
        ("srv", ("view", "servers")),
        ("q", ("command", "app.exit_now")),
        ("gpu-03", ("host", "gpu-03")),
        ("GPU-03", ("host", "gpu-03")),
        ("g5", ("host", "gpu-05")),
        ("project render", ("project", f"{'c3' * 16}/class:VGPU")),
        ("server vm-vdi-101", ("server", fleets.server_id(101))),
        (fleets.server_id(101), ("server", fleets.server_id(101))),
    ],
)
def test_the_best_fitting_place_comes_first(typed: str, first: tuple[str, str]) -> None:
    found = search(typed, all_targets(fleets.fleet()))
    assert (found[0].kind, found[0].name) == first


def test_what_fits_nothing_finds_nothing() -> None:
    assert search("no such thing", all_targets(fleets.fleet())) == []


def test_rows_are_built_once_and_again_only_when_their_facts_change() -> None:
    built: list[str] = []

    def build(item: tuple[str, int], mark: object) -> TableRow:
        built.append(item[0])
        return TableRow(item[0], (text(f"{item[1]} {mark}"),))

    cache: RowCache[tuple[str, int]] = RowCache(lambda item: item[0], build)
    first = cache.rows([("a", 1), ("b", 1)])
    again = cache.rows([("a", 1), ("b", 2)])
    assert built == ["a", "b", "b"]
    assert again[0] is first[0]
    cache.rows([("a", 1)], mark=lambda _: "old")
    assert built[-1] == "a"


def test_many_new_rows_come_in_portions() -> None:
    cache: RowCache[int] = RowCache(str, lambda item, _: TableRow(str(item), ()), at_once=10)
    items = list(range(25))
    sizes = []
    for _ in range(3):
        sizes.append(len(cache.rows(items)))
        if cache.complete:
            break
    assert sizes == [10, 20, 25]
    assert cache.complete
