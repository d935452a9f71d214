"""Switching a GPU's virtual functions on: the plan, for an operator's hands or for the console's own.

NVIDIA's ``sriov-manage`` does it and has to run at every boot. Its exit status says nothing: it also ends well where
the driver lost a race and nothing came up, so what libvirt then lists is what counts.
"""

from __future__ import annotations

from vgpu_console.actions.devices import find_gpu, find_host
from vgpu_console.actions.host_checks import guest_words, host_age, host_fresh
from vgpu_console.actions.plan import (
    NO_CONNECTION,
    REFUSED,
    Check,
    CheckStatus,
    OperatorStep,
    Plan,
    PlanError,
    ShellStep,
    Step,
    Target,
    sealed,
)
from vgpu_console.model.facts import Facts
from vgpu_console.model.host_facts import DomainFacts, LibvirtFacts, MdevFacts
from vgpu_console.model.snapshot import Host, PhysicalGpu, Snapshot
from vgpu_console.rules.nova_conf import addresses_on_bus, types_for_device

ENABLE = "sriov.enable"
PHYSICAL_GPU = "physical GPU"
SRIOV_MANAGE = "/usr/lib/nvidia/sriov-manage"
"""Where NVIDIA's vGPU manager packages put it."""

OPERATOR_SETTLE_S = 600.0
CONSOLE_SETTLE_S = 60.0


def plan_enable(
    facts: Facts,
    snapshot: Snapshot,
    host: str,
    gpu: str,
    now: float,
    *,
    by_console: bool,
    stale_s: float | None = None,
) -> Plan:
    """Switch all virtual functions of a GPU on. ``by_console``: over SSH; else the operator types the command.

    ``stale_s``: the age above which the host's facts are too old to act on. Raises PlanError for a host or GPU that is
    not there (2), one that was not read (3), and a GPU that has no virtual functions (4).
    """
    found = find_host(snapshot, host)
    board = find_gpu(snapshot, found.name, gpu)
    libvirt = facts.libvirt.get(found.name)
    if libvirt is None:
        raise PlanError(f"{found.name}: its libvirt has not been read, nothing is known of its guests", NO_CONNECTION)
    if board.sriov is False:
        raise PlanError(f"{board.model or 'the GPU'} {board.address} on {found.name} has no virtual functions", REFUSED)
    on, total = _listed(libvirt, board.address), board.vfs_total
    if on is None or not total:
        raise PlanError(f"{found.name} {board.address}: how many virtual functions it has is not known", NO_CONNECTION)
    steps: tuple[Step, ...] = ()
    inverse: tuple[Step, ...] = ()
    note = "nothing to undo"
    command = f"{SRIOV_MANAGE} -e {board.address}"
    if on < total:
        title = f"enable {total} virtual functions of {board.address}"
        if by_console:
            steps = (ShellStep(title=title, host=found.name, call="enable-vfs", address=board.address),)
        else:
            steps = (OperatorStep(title=title, host=found.name, command=command),)
        off = f"{SRIOV_MANAGE} -d {board.address}"
        inverse = (OperatorStep(title="switch them off", host=found.name, command=off),)
        note = "only while no guest uses one of them; the devices on them go with them"
    checks: list[Check | None] = [host_fresh("sriov.fresh", facts, "libvirt", found.name, now, stale_s)]
    if steps:
        age = host_age(facts, "libvirt", found.name, now)
        checks += [
            _no_live_vgpus(snapshot, libvirt, board, age),
            _no_free_devices(libvirt, board, age),
            _driver(board, age),
            _path(facts, found, by_console, now),
            _partial(on, total, age),
            _nova(found, libvirt, board, age),
        ]
    return sealed(
        Plan(
            action=ENABLE,
            title=f"{found.name} {board.address}: enable virtual functions",
            target=Target(
                kind=PHYSICAL_GPU,
                id=f"{found.name} {board.address}",
                name=f"{found.name} {board.address}",
                key={"host": found.name, "gpu": board.address},
            ),
            before={"vfs": on},
            after={"vfs": total},
            steps=steps,
            checks=tuple(c for c in checks if c is not None),
            effect=_effect(found, board, libvirt, total) if steps else (f"all {total} are on already",),
            inverse=inverse,
            inverse_note=note,
            commands=(f"ssh {found.name} sudo {command}",) if steps else (),
            danger="risk",
            settle_s=(CONSOLE_SETTLE_S if by_console else OPERATOR_SETTLE_S) if steps else 0.0,
        )
    )


def _listed(libvirt: LibvirtFacts, address: str) -> int | None:
    """How many libvirt lists: the same figure that is read back when the plan is applied."""
    device = next((d for d in libvirt.devices if d.address == address), None)
    return None if device is None or device.virtual_functions is None else len(device.virtual_functions)


def _on_board(libvirt: LibvirtFacts, board: PhysicalGpu) -> set[str]:
    return {board.address, *(f.address for f in board.functions)}


def _mdevs_on(libvirt: LibvirtFacts, board: PhysicalGpu) -> list[MdevFacts]:
    mine = _on_board(libvirt, board)
    return [m for m in libvirt.mdevs if m.parent in mine]


def _guests(libvirt: LibvirtFacts, board: PhysicalGpu) -> list[DomainFacts]:
    """The domains that name a device or a function of this GPU, running or not."""
    mine = _on_board(libvirt, board)
    uuids = {m.uuid for m in _mdevs_on(libvirt, board)}
    return [d for d in libvirt.domains if uuids.intersection(d.mdevs) or mine.intersection(d.pci)]


def _no_live_vgpus(snapshot: Snapshot, libvirt: LibvirtFacts, board: PhysicalGpu, age: float | None) -> Check:
    guests = _guests(libvirt, board)
    live = [d for d in guests if d.active is not False]

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="sriov.no-live-vgpus", status=word, evidence=evidence, source="libvirt", age_s=age)

    if live:
        names = "; ".join(guest_words(snapshot, d) for d in live)
        return check("fail", f"guests have vGPUs of this GPU, and the command may take them away: {names}")
    known = {m.uuid for m in libvirt.mdevs}
    lost = [d for d in libvirt.domains if d.active is not False and not known.issuperset(d.mdevs)]
    if lost:
        names = "; ".join(guest_words(snapshot, d) for d in lost)
        return check("unknown", f"libvirt does not tell on which GPU the vGPUs of these guests are: {names}")
    if guests:
        names = "; ".join(guest_words(snapshot, d) for d in guests)
        return check("pass", f"no running guest has a vGPU of this GPU; named by {names}")
    return check("pass", "no guest has a vGPU of this GPU")


def _no_free_devices(libvirt: LibvirtFacts, board: PhysicalGpu, age: float | None) -> Check | None:
    free = [m for m in _mdevs_on(libvirt, board) if m.active is not False]
    if not free or _guests(libvirt, board):
        return None
    evidence = f"{len(free)} free device{'s' if len(free) > 1 else ''} on it may be lost when the driver rebinds"
    return Check(id="sriov.free-devices", status="warn", evidence=evidence, source="libvirt", age_s=age)


def _driver(board: PhysicalGpu, age: float | None) -> Check:
    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="sriov.driver", status=word, evidence=evidence, source="libvirt", age_s=age)

    if board.driver is None:
        return check("unknown", "which driver the GPU is bound to is not known; sriov-manage needs nvidia")
    if board.driver != "nvidia":
        return check("fail", f"the GPU is bound to {board.driver}: sriov-manage works only while it is bound to nvidia")
    return check("pass", "the GPU is bound to nvidia")


def _path(facts: Facts, host: Host, by_console: bool, now: float) -> Check:
    """Whether the command can be expected to be there: NVIDIA's packages bring it with the vGPU manager."""
    ssh = facts.ssh.get(host.name)
    age = host_age(facts, "ssh", host.name, now)

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="sriov.path", status=word, evidence=evidence, source=f"ssh {host.name}", age_s=age)

    if ssh is not None and ssh.nvidia_driver:
        return check("pass", f"NVIDIA driver {ssh.nvidia_driver} is loaded; its vGPU manager brings {SRIOV_MANAGE}")
    if not by_console:
        return check("pass", f"the operator types the command; its usual place is {SRIOV_MANAGE}")
    if ssh is None:
        return check("unknown", f"the host was not read over SSH: whether {SRIOV_MANAGE} is there is not known")
    return check("unknown", f"no NVIDIA driver shows on the host: {SRIOV_MANAGE} may be missing")


def _partial(on: int, total: int, age: float | None) -> Check | None:
    """The kernel refuses to go from one number of functions to another (EBUSY) without passing through none."""
    if on == 0:
        return None
    evidence = (
        f"{on} of {total} are on: the kernel changes their number only from 0, so sriov-manage may do nothing; "
        "then switch them off first (-d), which takes every device on them away"
    )
    return Check(id="sriov.partial", status="warn", evidence=evidence, source="libvirt", age_s=age)


def _waiting(libvirt: LibvirtFacts, host: Host, board: PhysicalGpu) -> list[MdevFacts]:
    """Defined devices whose function is not there. libvirt then often gives no parent that tells of which GPU."""
    bus = board.address.rpartition(":")[0]
    there = {d.address for d in libvirt.devices}
    return [
        m
        for m in libvirt.mdevs
        if m.active is not True and (m.parent is None or (m.parent not in there and m.parent.startswith(bus + ":")))
    ]


def _nova(host: Host, libvirt: LibvirtFacts, board: PhysicalGpu, age: float | None) -> Check:
    """Nova starts every defined device when nova-compute starts, and a missing function makes that fail.

    (nova: virt/libvirt/driver.py, _start_inactive_mediated_devices; the process lives on, its service is down.)
    """
    waiting = len(_waiting(libvirt, host, board))

    def check(word: CheckStatus, evidence: str) -> Check:
        return Check(id="sriov.nova", status=word, evidence=evidence, source="libvirt", age_s=age)

    if not libvirt.defined_visible:
        return check(
            "pass", "this libvirt does not show defined devices: restart nova-compute if it is down afterwards"
        )
    if not waiting:
        return check("pass", "no defined device waits for a missing function")
    devices = f"{waiting} defined device{'s wait' if waiting > 1 else ' waits'} for missing functions"
    if host.service_state == "down":
        return check("pass", f"{devices}, which keeps nova-compute from starting: restart it when they are there")
    return check("pass", f"{devices}: until then nova-compute must not be restarted, it would not come up")


def _effect(host: Host, board: PhysicalGpu, libvirt: LibvirtFacts, total: int) -> tuple[str, ...]:
    out = [f"{total} virtual functions of {board.model or 'the GPU'} {board.address} appear, each for one vGPU at most"]
    waiting = _waiting(libvirt, host, board)
    starting = sum(1 for m in waiting if m.autostart)
    if waiting:
        rest = len(waiting) - starting
        out.append(
            f"of {len(waiting)} devices that wait for missing functions {starting} start by themselves (autostart)"
            + (
                f"; {rest} stay defined, and Nova counts their function twice until nova-compute restarts"
                if rest
                else ""
            )
        )
    targets = addresses_on_bus(host.nova_conf, board.address)
    types = types_for_device(host.nova_conf, targets or (board.address,)) or ()
    if types and not targets and board.vgpus_max is not None and board.vgpus_max < total:
        name = board.active_type_name or types[0]
        out.append(
            f"nova.conf lists no functions for {name}: Placement will offer up to {total}, of which "
            f"{board.vgpus_max} are real"
        )
    out.append("it lasts until the next boot or reload of the driver: sriov-manage has to run each time before Nova")
    out.append("mixed-size mode of this GPU is off afterwards, if it was on")
    return tuple(out)
