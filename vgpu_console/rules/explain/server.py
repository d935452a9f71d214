"""Why a server has no vGPU, or which it has and from where, or why it is in ERROR."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from vgpu_console.model.check import CheckStatus
from vgpu_console.model.host_facts import DomainFacts
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.migration_trace import ActionEvent, ServerAction, nova_seconds
from vgpu_console.model.nova import Flavor, MigrationFacts, Server
from vgpu_console.rules.explain import mends, server_devices
from vgpu_console.rules.explain.chain import Chain, Explanation, few, unread
from vgpu_console.rules.explain.flavor import explain_flavor
from vgpu_console.rules.explain.offers import asked_host, ghosts, on_full_gpus
from vgpu_console.rules.explain.request import Answers
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.resource_classes import any_class, is_device_class, pci_aliases

NO_DEVICE = "mdev-capable resource is not available"
"""Nova's words where the device that Placement gave cannot be made (nova: virt/libvirt/driver.py)."""
RETRIES = "Exceeded maximum number of retries"
NO_HOST = "No valid host"


def explain_server(
    ground: Ground,
    server: Server,
    flavor: Flavor,
    answers: Answers | None = None,
    action: ServerAction | None = None,
) -> Explanation:
    """The chain of one server. ``flavor`` is the one the server keeps, with its disk; ``answers`` Placement's for it.

    ``action`` is its newest boot or move with the events, where Nova lets them be read.
    """
    chain = Chain(ground)
    wanted = vgpus_of(server)
    held = server_devices.devices_of(ground, server)
    reasons: tuple[str, ...] = _REASONS
    unplaced = not server.host and server.status != "SHELVED_OFFLOADED"
    _state(chain, server)
    _flavor(chain, server, wanted, bool(held))
    if server.status == "ERROR":
        _fault(chain, server)
    if unplaced and server.status != "BUILD":
        if not _events(chain, server, action):
            reasons = (*_OF_THE_FLAVOR, *_REASONS)
        now = explain_flavor(ground, flavor, answers)
        chain.add(now)
        chain.step("again", *_again(now))
    elif server.host and (wanted != 0 or held):
        server_devices.look_at_guest(chain, server)
        server_devices.look_at_allocation(chain, server, wanted)
        server_devices.look_at_devices(chain, server, wanted, held)
    return chain.ended("server", server.id, server.name or server.id, _headline(bool(held), server), reasons)


_REASONS = ("build", "fault", "device")
"""Of several steps that fail these tell most."""
_OF_THE_FLAVOR = ("groups", "class", "traits", "room", "candidates")
"""Where the build itself told nothing, what keeps such a server from a host now tells more than Nova's fault."""


def _again(now: Explanation) -> tuple[CheckStatus, str]:
    """What that means for a server without a host, which Nova builds no second time."""
    if now.verdict in ("pass", "warn"):
        return "warn", "one like it would find a host now; Nova does not try this one again: delete it, create it anew"
    return "warn", "one like it would fail again now: mend that first, then delete it and create it anew"


def _headline(held: bool, server: Server) -> dict[CheckStatus, str]:
    error = " and is in ERROR" if server.status == "ERROR" else ""
    has = f"has its vGPU{error or ', but'}" if held else f"has no vGPU{error}"
    return {
        "pass": "has its vGPU" if held else "is as it should be",
        "warn": has if held else f"has no vGPU now{error}",
        "fail": has,
        "unknown": has if held else "whether it has its vGPU is not known",
    }


def vgpus_of(server: Server) -> int | None:
    """How many its flavor asks for, PCI aliases included; None when that is not visible."""
    if server.extra_specs is None:
        return None
    classes = any_class(server.extra_specs)
    return sum(n for c, n in classes.items() if is_device_class(c)) or sum(pci_aliases(server.extra_specs).values())


# --- state ------------------------------------------------------------------------------------------------------------


def _state(chain: Chain, server: Server) -> None:
    """Nova's status, and for ERROR whether the guest runs all the same."""
    ground, status = chain.ground, server.status
    migration = newest_migration(ground, server.id)
    if status is None:
        chain.step("state", "unknown", f"its status is not known: {unread(ground, 'nova')}", "nova")
    elif status == "ERROR":
        _in_error(chain, server, migration)
    elif migration is not None and migration.in_progress:
        words = f"{status}, on its way from {migration.source} to {migration.destination or 'a host not yet chosen'}"
        chain.step("state", "pass", words, "nova")
    elif status == "BUILD":
        words = f"it is being built{f' ({server.task_state})' if server.task_state else ''}: look again in a moment"
        chain.step("state", "unknown", words, "nova")
    elif status in ("SHELVED_OFFLOADED", "SHELVED"):
        command = shlex.join(["openstack", "server", "unshelve", server.id])
        kept = "it was shelved off its host and holds no device" if status == "SHELVED_OFFLOADED" else "it is shelved"
        mend = Mend(words="unshelve it: it is scheduled anew", command=command)
        chain.step("state", "warn", f"{kept} until it is unshelved", "nova", mends=[mend])
    elif status == "SHUTOFF":
        chain.step("state", "pass", "it is shut off: it keeps its vGPU, and nobody uses it", "nova")
    else:
        where = f" on {server.host}" if server.host else ""
        chain.step("state", "pass", f"{status}{where}", "nova")


def _in_error(chain: Chain, server: Server, migration: MigrationFacts | None) -> None:
    ground = chain.ground
    hosts = [host for host, facts in ground.facts.libvirt.items() if _runs(facts.domains, server.id)]
    failed = migration is not None and migration.status in ("error", "failed", "cancelled")
    if server.host in hosts:
        after = (
            f" since its migration to {migration.destination} ended {migration.status}" if failed and migration else ""
        )
        words = f"Nova has it in ERROR{after}, but its guest runs on {server.host}: only Nova's word is wrong"
        chain.step("state", "fail", words, "libvirt", server.host or "", [mends.reset_server(server.id)])
    elif hosts:
        words = f"Nova has it in ERROR on {server.host or 'no host'}, and its guest runs on {few(hosts)}"
        command = f"vgpu-console migrate follow {server.id}"
        mend = Mend(words="see what became of its migration before anything is repaired", command=command)
        chain.step("state", "fail", words, "libvirt", hosts[0], [mend])
    elif server.host and not asked_host(ground.hosts.get(server.host)):
        why = unread(ground, "libvirt", server.host)
        words = f"Nova has it in ERROR; whether its guest runs on {server.host} is not known: {why}"
        chain.step("state", "fail", words, "nova")
    else:
        where = f"no guest of it with a vGPU runs on {server.host}" if server.host else "it was never given a host"
        chain.step("state", "fail", f"Nova has it in ERROR, and {where}", "nova")


def _runs(domains: Iterable[DomainFacts], server_id: str) -> bool:
    return any(d.uuid == server_id and d.active for d in domains)


def newest_migration(ground: Ground, server_id: str) -> MigrationFacts | None:
    """Its newest live migration that Nova tells of."""
    rows = (ground.facts.nova.migrations if ground.facts.nova is not None else None) or ()
    return max((m for m in rows if m.server_id == server_id), key=lambda m: m.id, default=None)


def _fault(chain: Chain, server: Server) -> None:
    """Nova's fault, as what it is: after a failed migration it may be that of an earlier failure, or none."""
    if not server.fault:
        chain.step(
            "fault", "warn", "Nova names no fault: its instance actions may (openstack server event list)", "nova"
        )
        return
    migration = newest_migration(chain.ground, server.id)
    written = nova_seconds(server.fault_at)
    later = migration is not None and migration.status in ("error", "failed", "cancelled")
    ended = nova_seconds(migration.created_at) if migration is not None and later else None
    if ended is not None and written is not None and written < ended:
        words = f"the fault that Nova shows is of {server.fault_at}, an earlier failure, and not the reason"
        chain.step("fault", "warn", f"{words}: “{server.fault}”", "nova")
    else:
        chain.step("fault", "fail", f"Nova's fault: “{server.fault}”", "nova")


# --- a boot that failed -----------------------------------------------------------------------------------------------


def _flavor(chain: Chain, server: Server, wanted: int | None, held: bool) -> None:
    name = server.flavor or "?"
    if wanted is None:
        chain.step("flavor", "unknown", f"what flavor {name} asks for is not visible to this credential", "nova")
    elif wanted:
        classes = [f"{n} {c}" for c, n in any_class(server.extra_specs).items() if is_device_class(c)]
        classes += [f"{n} × PCI alias {a}" for a, n in pci_aliases(server.extra_specs).items()]
        chain.step("flavor", "pass", f"flavor {name} asks for {', '.join(classes)}", "nova")
    else:
        _no_vgpu(chain, server, name, held)


def _no_vgpu(chain: Chain, server: Server, name: str, held: bool) -> None:
    flavors = (chain.ground.facts.nova.flavors if chain.ground.facts.nova is not None else None) or ()

    def asks(flavor: Flavor) -> bool:
        classes = any_class(flavor.extra_specs)
        return any(n and is_device_class(c) for c, n in classes.items()) or bool(pci_aliases(flavor.extra_specs))

    now = next((f for f in flavors if f.name == name), None)
    asking = [f.name for f in flavors if asks(f)]
    if now is not None and asks(now):
        words = f"flavor {name} asks for a vGPU now, but did not when the server was made: a server keeps its own copy"
    elif held:
        words = f"flavor {name} asks for no vGPU, and yet its guest holds one"
    else:
        words = f"flavor {name} asks for no vGPU"
    todo = []
    if asking and server.host:
        command = shlex.join(["openstack", "server", "resize", "--flavor", asking[0], server.id])
        todo.append(Mend(words=f"resize it to a flavor that does: {few(asking)}", command=command))
    chain.step("flavor", "warn" if held else "fail", words, "nova", mends=todo)


def _events(chain: Chain, server: Server, action: ServerAction | None) -> bool:
    """What its build said of itself; False where that is nothing, as of a build that was tried elsewhere: “Success”."""
    fault = server.fault or ""
    told = _telling(action)
    where = f" on {told.host}" if told is not None and told.host else ""
    if told is not None and NO_DEVICE in (told.details or ""):
        words = f"its build failed{where}: “{told.details}”: Placement gave a device that cannot be made"
        chain.step("build", "fail", words + _suspects(chain), "nova")
    elif told is not None:
        chain.step("build", "fail", f"{told.name} failed{where}: “{told.details or 'no details'}”", "nova")
    elif NO_DEVICE in fault:
        words = f"Placement gave it a device that cannot be made{_suspects(chain)}"
        chain.step("build", "fail", words, "nova")
    elif RETRIES in fault:
        words = "several hosts were tried and each build failed; which of them, and why, only nova-compute's log says"
        chain.step("build", "fail", f"{words}{_suspects(chain)}", "nova")
    elif NO_HOST in fault:
        chain.step("build", "fail", "the scheduler found no host for it then: see what it would find now", "nova")
        return False
    elif server.status == "ERROR":
        words = "why it was given no host is not told: see what the scheduler would find now"
        chain.step("build", "unknown", words, "nova")
        return False
    return True


def _telling(action: ServerAction | None) -> ActionEvent | None:
    """The event that failed with words."""
    failed = [e for e in (action.events if action is not None else ()) if e.result == "Error"]
    return next((e for e in reversed(failed) if e.details), failed[-1] if failed else None)


def _suspects(chain: Chain) -> str:
    """Hosts on which that happens now: those whose providers stand for nothing, or for a full GPU."""
    snapshot = chain.ground.snapshot
    devices = [p for p in snapshot.providers if p.parent_uuid is not None]
    classes = {i.resource_class for p in devices for i in p.inventories or () if is_device_class(i.resource_class)}
    bad = [*ghosts(snapshot, devices), *on_full_gpus(snapshot, devices, classes)]
    hosts = sorted({p.host for p in bad})
    return f" (now so on {few(hosts)}: explain host {hosts[0]})" if hosts else ""
