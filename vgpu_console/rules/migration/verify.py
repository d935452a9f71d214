"""After the end: is everything where it should be? Server, guest, its devices, allocations, the device it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from vgpu_console.model.check import Check, CheckStatus
from vgpu_console.model.migration_end import End, GuestLook
from vgpu_console.rules.migration.clues import Clues


def verify(clues: Clues, end: End, held: Mapping[str, str] | None, now: float) -> tuple[Check, ...]:
    """One check for each thing, worst first.

    ``held`` are the devices it had on the source, mdev uuid -> type id; None: it had some, and nobody saw which.
    A migration that the server was moved again after, or whose server is gone, says nothing of today: no checks.
    """
    row = clues.row
    if row is None or not end.over or not clues.newest or clues.trace.server_gone:
        return ()
    arrived = end.moved or end.kind == "split-brain"
    home = row.destination if arrived else row.source
    found = [_server(clues, home), _guest(clues, home, now), _allocations(clues, home), _left(clues)]
    if held is None:
        found.append(_devices_now(clues, home, row.source, now))
    elif held:
        found.append(_devices(clues, home, held, now))
        if arrived:
            found.append(_freed(clues.guests.get(row.source or ""), row.source, held, now))
    order = {"fail": 0, "warn": 1, "unknown": 2, "pass": 3}
    return tuple(sorted(found, key=lambda c: order[c.status]))


def _check(word: str, status: CheckStatus, evidence: str, source: str, age_s: float | None = None) -> Check:
    return Check(id=f"verify.{word}", status=status, evidence=evidence, source=source, age_s=age_s)


def _server(clues: Clues, home: str | None) -> Check:
    server = clues.server
    if server is None:
        return _check("server", "unknown", "the server was not read", "nova")
    where = f"the server is {server.status} on {server.host}"
    if server.host != home:
        return _check("server", "fail", f"{where}, not on {home}", "nova")
    if server.status == "ERROR" or server.task_state is not None:
        task = f", {server.task_state}" if server.task_state else ""
        return _check("server", "warn", f"{where}{task}", "nova")
    return _check("server", "pass", where, "nova")


def _guest(clues: Clues, home: str | None, now: float) -> Check:
    look = clues.guests.get(home or "")
    if look is None or look.state is None:
        return _check("guest", "unknown", _unseen(look, home), "libvirt")
    age = max(0.0, now - look.seen_at)
    if look.state == "running":
        return _check("guest", "pass", f"its guest runs on {home}", "libvirt", age)
    word = "no guest of it is" if look.state == "absent" else f"its guest is {look.state}"
    return _check("guest", "fail", f"{word} on {home}", "libvirt", age)


def _allocations(clues: Clues, home: str | None) -> Check:
    hosts = clues.hosts_of(clues.trace.server_holds)
    if hosts is None:
        return _check("allocations", "unknown", "the server's allocations were not read", "placement")
    if not hosts:
        return _check("allocations", "fail", "the server holds no allocations", "placement")
    if "" in hosts:
        words = "the server holds something of a provider whose host is not known"
        return _check("allocations", "unknown", words, "placement")
    if hosts != {home}:
        return _check("allocations", "fail", f"the server holds allocations on {', '.join(sorted(hosts))}", "placement")
    return _check("allocations", "pass", f"the server's allocations are on {home}", "placement")


def _left(clues: Clues) -> Check:
    holds = clues.trace.migration_holds
    if holds is None:
        return _check("left", "unknown", "what the migration's uuid holds was not read", "placement")
    if holds:
        hosts = sorted(h or "an unknown host" for h in clues.hosts_of(holds) or ())
        return _check(
            "left", "fail", f"the migration's uuid still holds allocations on {', '.join(hosts)}", "placement"
        )
    return _check("left", "pass", "nothing is held under the migration's uuid", "placement")


def _devices(clues: Clues, home: str | None, held: Mapping[str, str], now: float) -> Check:
    look = clues.guests.get(home or "")
    if look is None or look.state in (None, "absent"):
        return _check("devices", "unknown", _unseen(look, home), "libvirt")
    age = max(0.0, now - look.seen_at)
    had, has = Counter(held.values()), Counter(look.mdevs.values())
    if "" in has or "" in had:
        return _check("devices", "unknown", f"the types of its devices on {home} are not told", "libvirt", age)
    if had != has:
        words = f"it holds {_counted(has)} on {home}, and had {_counted(had)}"
        return _check("devices", "fail", words, "libvirt", age)
    return _check("devices", "pass", f"it holds {_counted(has)} on {home}, as before", "libvirt", age)


def _devices_now(clues: Clues, home: str | None, source: str | None, now: float) -> Check:
    """What it holds, of a server that was first seen after it had moved."""
    look = clues.guests.get(home or "")
    if look is None or look.state in (None, "absent"):
        return _check("devices", "unknown", _unseen(look, home), "libvirt")
    words = f"it holds {_counted(Counter(look.mdevs.values()))} on {home}; what it had on {source} was not seen"
    return _check("devices", "unknown", words, "libvirt", max(0.0, now - look.seen_at))


def _freed(look: GuestLook | None, host: str | None, held: Mapping[str, str], now: float) -> Check:
    if look is None or look.state is None or look.idle is None:
        return _check("source-device", "unknown", _unseen(look, host), "libvirt")
    age = max(0.0, now - look.seen_at)
    there = sorted(uuid for uuid in held if uuid in look.idle)
    if len(there) == len(held):
        words = f"{host} keeps {', '.join(there)} as a free device"
        return _check("source-device", "pass", words, "libvirt", age)
    taken = [uuid for uuid in held if uuid in look.mdevs]
    if taken:
        return _check("source-device", "fail", f"a guest on {host} still holds {', '.join(taken)}", "libvirt", age)
    words = f"{host} has {len(there)} of {len(held)} of its devices free; the others are gone or held by another guest"
    return _check("source-device", "pass", words, "libvirt", age)


def _unseen(look: GuestLook | None, host: str | None) -> str:
    why = f": {look.why}" if look is not None and look.why else ""
    return f"libvirt of {host} could not be looked at{why}"


def _counted(types: Mapping[str, int]) -> str:
    names: Sequence[str] = [f"{n} × {t}" if n > 1 else t for t, n in sorted(types.items())]
    return ", ".join(names) or "no vGPU"
