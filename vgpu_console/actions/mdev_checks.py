"""What is looked at before a mediated device is made or changed. Each check has an id, its evidence and its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from vgpu_console.actions.host_checks import host_age, host_fresh
from vgpu_console.actions.mdev_steps import AUTOSTART, DEFINE, knows
from vgpu_console.actions.plan import NO_CONNECTION, Check, CheckStatus, PlanError
from vgpu_console.actions.quota_checks import age_of, listed
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import LibvirtFacts
from vgpu_console.model.snapshot import Host, MediatedDevice, Migration, PhysicalGpu, Snapshot
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.mdev_room import GpuView, TypeRoom, counted, listed_types, mixed_sizes, not_read
from vgpu_console.rules.nova_conf import max_instances_of
from vgpu_console.rules.nova_offers import nova_type


class Scene(msgspec.Struct, frozen=True):
    """What plans about one host's mediated devices are made from."""

    facts: Facts
    snapshot: Snapshot
    host: Host
    libvirt: LibvirtFacts
    now: float
    stale_s: float | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the host's libvirt was read."""
        return host_age(self.facts, "libvirt", self.host.name, self.now)

    def check(self, id: str, word: CheckStatus, evidence: str, source: str = "") -> Check:
        """A check whose source is the host's libvirt unless another is named."""
        if source:
            age = host_age(self.facts, "ssh", self.host.name, self.now) if source.startswith("nova.conf") else None
            return Check(id=id, status=word, evidence=evidence, source=source, age_s=age)
        return Check(id=id, status=word, evidence=evidence, source=f"libvirt {self.host.name}", age_s=self.age)

    def conf_source(self) -> str:
        """Where the host's nova.conf was read."""
        ssh = self.facts.ssh.get(self.host.name)
        return (ssh.nova_conf_path if ssh is not None else None) or "nova.conf"


def scene(facts: Facts, snapshot: Snapshot, host: Host, now: float, stale_s: float | None) -> Scene:
    """Gathers it. Raises PlanError where the host's libvirt has not been read: nothing is known of its guests then."""
    libvirt = facts.libvirt.get(host.name)
    if libvirt is None or "libvirt" not in host.known_from:
        why = not_read(host, "libvirt") or "not read: libvirt has not answered"
        raise PlanError(f"the devices of {host.name} are not known: {why}", NO_CONNECTION)
    return Scene(facts, snapshot, host, libvirt, now, stale_s)


def fresh(at: Scene) -> Check:
    """``mdev.fresh``: the host was read lately, and the last attempt did not fail."""
    return host_fresh("mdev.fresh", at.facts, "libvirt", at.host.name, at.now, at.stale_s)


def room(at: Scene, room: TypeRoom, count: int) -> Check:
    """``mdev.room``: so many fit, by the driver's offer and the type's real maximum."""
    if room.creatable is None:
        return at.check("mdev.room", "unknown", f"{room.why_not}; the driver may refuse")
    bound = f"the real maximum is {room.max} ({_origin(room)}), {room.created or 0} made"
    return at.check("mdev.room", "pass", f"{bound}, {room.creatable} more can be; wanted: {count}")


def _origin(room: TypeRoom) -> str:
    return {"host": "the driver's own word", "catalogue": "bundled table", "unknown": "not known"}[room.max_source]


def one_size(at: Scene, view: GpuView, type_id: str, label: str) -> Check:
    """``mdev.one-size``: the GPU runs this size, none, or several by its mode."""
    if mixed_sizes(view, type_id):
        words = f"the GPU takes several sizes at once: it carries {listed_types(view.devices)}"
        return at.check("mdev.one-size", "warn", f"{words}; where each fits only the driver knows")
    running = view.others(type_id, running=True)
    if running:
        return at.check("mdev.one-size", "fail", f"the GPU runs {listed_types(running)}, which is another size")
    idle = view.others(type_id, running=False)
    if idle:
        names = f"{counted(len(idle), 'device')} of another size ({listed_types(idle)})"
        verb = "are" if len(idle) > 1 else "is"
        evidence = f"{names} {verb} defined here and cannot start any more; nova-compute then fails when it starts"
        return at.check("mdev.one-size", "warn", evidence)
    if any(d.state != "defined" for d in view.devices):
        return at.check("mdev.one-size", "pass", f"the GPU runs {listed_types(view.devices)} already")
    ssh = at.facts.ssh.get(at.host.name)
    if any(g.address == view.gpu.address and g.mixed_sizes for g in (ssh.nvidia_gpus if ssh is not None else ())):
        return at.check("mdev.one-size", "pass", "the GPU runs nothing, and is set to take several sizes at once")
    return at.check("mdev.one-size", "pass", f"the GPU runs nothing: from now on it takes the size of {label} only")


def function_free(at: Scene, gpu: PhysicalGpu, function: str) -> Check:
    """``mdev.function-free``: nothing lives on the virtual function; a GPU without SR-IOV carries many."""
    if not gpu.functions:
        return at.check("mdev.function-free", "pass", f"{function} has no SR-IOV and carries several devices itself")
    if at.libvirt.skipped:
        unread = counted(len(at.libvirt.skipped), "description")
        evidence = f"{unread} of devices could not be read: one may be on {function} ({at.libvirt.skipped[0]})"
        return at.check("mdev.function-free", "unknown", evidence)
    return at.check("mdev.function-free", "pass", f"no device is on {function}, running or defined")


def uuid_free(at: Scene, uuid: str) -> Check:
    """``mdev.uuid-free``: no device has it; a guest may still name one it has lost."""
    holder = next((d for d in at.libvirt.domains if uuid in d.mdevs), None)
    elsewhere = sorted({m.host for m in at.snapshot.mdevs if m.uuid == uuid and m.host != at.host.name})
    if holder is None and elsewhere:
        evidence = f"a device of {listed(elsewhere)} has the same uuid: allowed, and easily mixed up"
        return at.check("mdev.uuid-free", "warn", evidence)
    if holder is None:
        return at.check("mdev.uuid-free", "pass", f"no device and no guest of {at.host.name} has this uuid")
    name = consumer_words(at, holder.uuid)
    return at.check("mdev.uuid-free", "warn", f"{name} names this uuid and has lost its device: it gets this one")


def nova_type_check(at: Scene, function: str, room: TypeRoom, *, lost: int) -> Check:
    """``mdev.nova-type``: whether Nova makes this type on this function; ``lost`` providers would go if it does not."""
    planned = nova_type(at.host, function)
    if planned is None:
        return at.check(
            "mdev.nova-type", "unknown", "nova.conf could not be read: whether Nova uses this type is not known"
        )
    if planned == room.type_id:
        return at.check("mdev.nova-type", "pass", f"Nova makes {room.label} on {function}", at.conf_source())
    names = {t.type_id: t.type_name for g in at.host.gpus or () for t in g.types}
    other = short_type_name(names.get(planned, "")) or planned
    why = f"nova.conf gives {function} {other}" if planned else f"nova.conf enables no type on {function}"
    drops = f", and drops the {counted(lost, 'provider')} that can carry nothing else" if lost else ""
    return at.check("mdev.nova-type", "warn", f"{why}: Nova will not use this device{drops}", at.conf_source())


def max_instances(at: Scene, room: TypeRoom, count: int) -> tuple[Check, ...]:
    """``mdev.max-instances``, where nova.conf has one: a cap for the type on the whole host, not on a GPU."""
    cap = max_instances_of(at.host.nova_conf, room.type_id) if at.host.nova_conf is not None else None
    if cap is None:
        return ()
    there = sum(
        1 for m in at.snapshot.mdevs if m.host == at.host.name and m.type_id == room.type_id and m.mechanism == "mdev"
    )
    words = f"max_instances {cap} for {room.label} on the whole host; {there} there, {there + count} then"
    if there + count > cap:
        evidence = (
            f"{words}: Nova keeps {cap}, in libvirt's own order, and tries to drop the providers of the rest, those in "
            "use too: servers on them can then not be deleted until the cap is raised"
        )
        return (at.check("mdev.max-instances", "warn", evidence, at.conf_source()),)
    return (at.check("mdev.max-instances", "pass", words, at.conf_source()),)


def defined_visible(at: Scene, *, persistent: bool | None) -> Check:
    """``mdev.defined-visible``: this libvirt shows and keeps devices that are defined (7.3; autostart since 7.8)."""
    version = at.libvirt.libvirt_version
    can_define, can_autostart = knows(at.libvirt, DEFINE), knows(at.libvirt, AUTOSTART)
    if persistent and can_define is False:
        return at.check("mdev.defined-visible", "fail", f"libvirt {version} cannot define devices (7.3 and later can)")
    if persistent and can_autostart is False:
        evidence = f"libvirt {version} has no autostart (7.8): after a boot the device waits until something starts it"
        return at.check("mdev.defined-visible", "warn", evidence)
    if not at.libvirt.defined_visible:
        evidence = "this libvirt does not list devices that are defined and not running: one may be there unseen"
        return at.check("mdev.defined-visible", "unknown", evidence)
    if version is None:
        return at.check("mdev.defined-visible", "unknown", "libvirt's version is not known")
    return at.check("mdev.defined-visible", "pass", f"libvirt {version} lists defined devices")


def migrations_here(at: Scene) -> tuple[Migration, ...] | None:
    """Live migrations to or from the host that run, with vGPUs or perhaps with; None when Nova could not be asked."""
    if at.facts.nova is None or at.facts.nova.migrations is None:
        return None
    return tuple(
        m
        for m in at.snapshot.migrations
        if m.running and m.vgpu is not False and at.host.name in (m.source, m.destination)
    )


def migration(at: Scene, *, refuse: bool) -> Check:
    """``mdev.migration``: no live migration with vGPUs to or from the host runs: Nova may have claimed what is free."""
    found = migrations_here(at)
    age = age_of(at.facts, "nova", at.now)
    if found is None:
        evidence = "Nova's migrations are not known: one may have claimed devices or a size on this host"
        return Check(id="mdev.migration", status="unknown", evidence=evidence, source="nova", age_s=age)
    if not found:
        evidence = "no live migration with vGPUs to or from this host"
        return Check(id="mdev.migration", status="pass", evidence=evidence, source="nova", age_s=age)
    names = listed([f"{m.server or m.server_id}{_of(m.project)} {m.source} -> {m.destination}" for m in found])
    claimed = "which may have claimed this device" if refuse else "which may have claimed devices and a size here"
    evidence = f"a live migration is under way: {names}, {claimed}; wait for its end"
    return Check(id="mdev.migration", status="fail" if refuse else "warn", evidence=evidence, source="nova", age_s=age)


def waiting_consumers(at: Scene, view: GpuView) -> tuple[str, ...] | None:
    """Who has vGPUs of this GPU allocated in Placement and holds no device of it yet; None when not known."""
    if at.facts.placement is None:
        return None
    functions = {view.gpu.address, *(f.address for f in view.gpu.functions)}
    providers = [p for p in at.snapshot.providers if p.host == at.host.name and p.device in functions]
    if any(p.allocations is None for p in providers):
        return None
    held = Counter(d.parent for d in view.devices if d.used)
    out: list[str] = []
    for provider in providers:
        given = [
            a.consumer_id for a in provider.allocations or () for n in a.resources.values() for _ in range(max(0, n))
        ]
        known = [d.server_id for d in view.devices if d.used and d.parent == provider.device]
        rest = [c for c in given if c not in known]
        over = len(given) - held[provider.device]
        out += rest[: max(0, over)]
    return tuple(out)


def claimed(at: Scene, view: GpuView) -> tuple[Check, ...]:
    """``mdev.claimed``, where someone is on the way: what is made now may take the room of a server that boots."""
    waiting = waiting_consumers(at, view)
    age = age_of(at.facts, "placement", at.now)
    if not waiting:
        return ()
    names = listed([consumer_words(at, c) for c in dict.fromkeys(waiting)])
    evidence = f"{counted(len(waiting), 'vGPU')} of this GPU allocated and not held by a guest yet: {names}"
    return (Check(id="mdev.claimed", status="warn", evidence=evidence, source="placement", age_s=age),)


def consumer_words(at: Scene, consumer: str) -> str:
    """A consumer of Placement or a domain's uuid as an operator knows it: server and project, migration, or neither."""
    server = next((s for s in at.snapshot.servers if s.id == consumer), None)
    if server is not None:
        return f"server {server.name} of project {server.project}"
    moving = next((m for m in at.snapshot.migrations if m.uuid == consumer), None)
    if moving is not None:
        state = "" if moving.running else f" that has ended ({moving.status})"
        return f"the migration{state} of server {moving.server or moving.server_id}{_of(moving.project)}"
    domain = next((d for d in at.libvirt.domains if d.uuid == consumer), None)
    if domain is not None:
        return f"domain {domain.name} ({consumer}), no server that Nova tells of"
    return f"{consumer}, neither a server nor a migration that Nova tells of"


def _of(project: str) -> str:
    return f" of project {project}" if project else ""


def holder(at: Scene, device: MediatedDevice) -> Check:
    """``mdev.unused``: no guest names the device, also none that is shut off."""
    domain = next((d for d in at.libvirt.domains if device.uuid in d.mdevs), None)
    if domain is None:
        return at.check("mdev.unused", "pass", f"no guest of {at.host.name} names it, running or shut off")
    state = {True: "runs with it", False: "is shut off and names it", None: "names it"}[domain.active]
    return at.check("mdev.unused", "fail", f"{consumer_words(at, domain.uuid)} {state} (domain {domain.name})")


def allocation(at: Scene, device: MediatedDevice, view: GpuView | None) -> Check:
    """``mdev.allocation``: nobody who holds no device yet has what the device stands for in Placement."""
    age = age_of(at.facts, "placement", at.now)

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="mdev.allocation", status=word, evidence=evidence, source="placement", age_s=age)

    if view is None:
        return check("pass", "its function is not there: Placement can allocate nothing of it")
    if at.facts.placement is None:
        return check("unknown", "Placement could not be read: a server that boots may be about to take this device")
    if view.gpu.functions:
        provider = next((p for p in at.snapshot.providers if (p.host, p.device) == (at.host.name, device.parent)), None)
        if provider is None:
            return check("pass", f"{device.parent} has no provider in Placement")
        if provider.allocations is None:
            return check("unknown", f"the allocations of {provider.name} could not be read")
        if not provider.allocations:
            return check("pass", f"{provider.name} has no allocation")
        names = listed([consumer_words(at, a.consumer_id) for a in provider.allocations])
        return check("fail", f"{provider.name} is allocated to {names}")
    waiting = waiting_consumers(at, view)
    if waiting is None:
        return check("unknown", "the allocations of this GPU could not be read")
    if not waiting:
        return check("pass", "all that is allocated on this GPU is held by guests")
    return check("warn", _may_wait(at, waiting))


def _may_wait(at: Scene, waiting: Sequence[str]) -> str:
    names = listed([consumer_words(at, c) for c in dict.fromkeys(waiting)])
    return f"allocated on this GPU and not held by a guest, so it may be waiting for this device: {names}"
