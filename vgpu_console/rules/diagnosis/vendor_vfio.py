"""NVIDIA's vendor VFIO framework: types on virtual functions against what nova.conf's [pci] hands out."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from vgpu_console.model.evidence import Evidence, host_says, libvirt_says, placement_says
from vgpu_console.model.snapshot import Finding, Host, PhysicalGpu, VirtualFunction
from vgpu_console.rules.catalogue import short_type_name
from vgpu_console.rules.device_spec import DeviceSpec, aliases, device_specs
from vgpu_console.rules.diagnosis.ground import Ground
from vgpu_console.rules.diagnosis.table import Chapter, Diagnosis

TYPES_LOST = Diagnosis(
    id="vendor-types-lost",
    severity="fail",
    title="No virtual function has a vGPU type",
    why="The types are gone after every boot until somebody sets them. Nova does not look at them: it goes on handing "
    "the functions out, and servers on them do not start.",
    needs=("ssh",),
    action="vgpu-type.set",
)
UNTYPED = Diagnosis(
    id="vendor-vf-untyped",
    severity="fail",
    title="Nova hands out virtual functions without a vGPU type",
    why="Nova counts what device_spec matches and does not look at types: a server that is given such a function does "
    "not start.",
    needs=("ssh",),
    action="vgpu-type.set",
    fleeting=True,
)
NO_TYPES = Diagnosis(
    id="vendor-no-types",
    severity="fail",
    title="The driver lets no vGPU type be set on a GPU",
    why="No virtual function of it can carry a vGPU, and Nova goes on handing them out. NVIDIA's vGPU manager "
    "(nvidia-vgpu-mgr, nvidia-vgpud) is not running, or the GPU is in MIG mode without an instance.",
    needs=("ssh",),
)
NOT_IN_SPEC = Diagnosis(
    id="vendor-vf-not-in-spec",
    severity="warn",
    title="A virtual function has a vGPU type and is in no device_spec",
    why="Nova never hands it out, and its framebuffer is kept from other vGPUs of this GPU.",
    needs=("ssh",),
)
MANAGED = Diagnosis(
    id="vendor-managed",
    severity="fail",
    title='device_spec lacks "managed": "no" for vendor VFIO functions',
    why="libvirt then takes the function from NVIDIA's driver when a guest starts: the vGPU is lost, and the host may "
    "crash.",
    needs=("ssh",),
)
NOT_MIGRATABLE = Diagnosis(
    id="vendor-not-migratable",
    severity="warn",
    title="Servers with these vGPUs cannot be live-migrated",
    why='Nova refuses it unless device_spec and alias both say "live_migratable": "yes".',
    needs=("ssh",),
)
TOO_OLD = Diagnosis(
    id="live-migratable-too-old",
    severity="fail",
    title="device_spec asks for live migration that this libvirt or QEMU cannot do",
    why="nova-compute does not start with live_migratable before libvirt 10.0.0 and QEMU 8.2.2.",
    needs=("ssh",),
)

_WHOLE = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_LEAST = {"libvirt": (10, 0, 0), "qemu": (8, 2, 2)}


class Specs:
    """A nova.conf's device_spec, quick to look up: most name one function by its whole address."""

    def __init__(self, specs: Sequence[DeviceSpec]) -> None:
        self.all = tuple(specs)
        self._by_address: dict[str, DeviceSpec] = {}
        self._others: list[DeviceSpec] = []
        self._known: dict[tuple[str, str, str, str], DeviceSpec | None] = {}
        for spec in specs:
            if spec.patterns is None and spec.address and _WHOLE.fullmatch(spec.address):
                self._by_address.setdefault(spec.address, spec)
            else:
                self._others.append(spec)

    def of(self, gpu: PhysicalGpu, address: str) -> DeviceSpec | None:
        """The one by which Nova takes a function of the GPU; None: it does not."""
        key = (gpu.address, gpu.product_id, gpu.vendor_id, address)
        if key not in self._known:
            self._known[key] = self._find(gpu, address)
        return self._known[key]

    def _find(self, gpu: PhysicalGpu, address: str) -> DeviceSpec | None:
        product = gpu.product_id
        for spec in (self._by_address.get(address), self._by_address.get(gpu.address), *self._others):
            if spec is None or (product and spec.product_id not in ("*", product)):
                continue
            if spec.matches(address, gpu.address, gpu.vendor_id):
                return spec
        return None


@lru_cache(maxsize=4096)
def _read(text: str) -> Specs:
    return Specs(device_specs({"pci.device_spec": text}) or ())


def specs_of(conf: Mapping[str, str]) -> Specs:
    """Every device_spec of a nova.conf; those of the same text are read once."""
    return _read(conf.get("pci.device_spec", conf.get("pci.passthrough_whitelist", "")))


def _gpus(ground: Ground) -> Iterator[tuple[Host, Mapping[str, str], Specs, PhysicalGpu]]:
    for host, gpu in ground.gpus():
        if gpu.mechanism == "vendor-vfio" and gpu.functions and host.nova_conf is not None:
            yield host, host.nova_conf, specs_of(host.nova_conf), gpu


def _types(ground: Ground) -> Iterator[Finding]:
    """Types that should be there and are not, and the other way round."""
    for host, _, specs, gpu in _gpus(ground):
        known = [f for f in gpu.functions if f.current_vgpu_type is not None]
        handed = [(f, spec) for f in known if (spec := specs.of(gpu, f.address)) is not None]
        bare = [(f, spec) for f, spec in handed if not f.current_vgpu_type]
        if bare and len(bare) == len(handed) and _nothing_creatable(ground, host, gpu):
            yield _no_types(host, gpu, len(handed))
        elif bare and len(bare) == len(handed):
            yield _untyped(
                ground,
                host,
                gpu,
                bare,
                TYPES_LOST,
                f"none of the {len(handed)} virtual functions that Nova "
                "hands out has a vGPU type (lost at the last boot?)",
            )
        elif bare:
            yield _untyped(
                ground,
                host,
                gpu,
                bare,
                UNTYPED,
                f"{len(bare)} of the {len(handed)} virtual functions that "
                f"Nova hands out have no vGPU type: {_some([f.address for f, _ in bare])}",
            )
        strangers = [f for f in known if f.current_vgpu_type and specs.of(gpu, f.address) is None]
        if strangers:
            names = {t.type_id: t.type_name for t in gpu.types}
            yield NOT_IN_SPEC.found(
                f"gpu {host.name} {gpu.address}",
                f"{_some([f.address for f in strangers])}: a vGPU type is set, and no device_spec names "
                f"{'them' if len(strangers) > 1 else 'it'}",
                host_says(
                    host.name,
                    "; ".join(
                        f"{f.address}/nvidia/current_vgpu_type is {f.current_vgpu_type} "
                        f"({names.get(str(f.current_vgpu_type), '') or 'of no known name'})"
                        for f in strangers[:3]
                    ),
                ),
                host_says(host.name, f"nova.conf: {len(specs.all)} device_spec, none for it"),
                host=host.name,
                command=f"vgpu-console nova-conf {shlex.quote(host.name)} --snippet",
                key="N",
                objects=(f"gpu {host.name} {gpu.address}", *(f"function {host.name} {f.address}" for f in strangers)),
            )


def _nothing_creatable(ground: Ground, host: Host, gpu: PhysicalGpu) -> bool:
    """Whether the driver says of every function that no type could be set on it."""
    own = {f.address for f in gpu.functions}
    ssh = ground.facts.ssh.get(host.name)
    said = [p.creatable_vgpu_types for p in (ssh.pci if ssh else ()) if p.address in own]
    return bool(said) and all(types == () for types in said)


def _no_types(host: Host, gpu: PhysicalGpu, handed: int) -> Finding:
    return NO_TYPES.found(
        f"gpu {host.name} {gpu.address}",
        f"no type is set on its functions and none could be; nova.conf hands out {handed} of them",
        host_says(host.name, f"{gpu.address}: creatable_vgpu_types of all {len(gpu.functions)} functions is empty"),
        host_says(host.name, f"nova.conf: device_spec names {handed} of them"),
        host=host.name,
        command=f"ssh {shlex.quote(host.name)} systemctl status nvidia-vgpud nvidia-vgpu-mgr",
    )


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (" …" if len(words) > 3 else "")


def _untyped(
    ground: Ground,
    host: Host,
    gpu: PhysicalGpu,
    bare: Sequence[tuple[VirtualFunction, DeviceSpec]],
    diagnosis: Diagnosis,
    message: str,
) -> Finding:
    addresses = {f.address for f, _ in bare}
    libvirt = ground.facts.libvirt.get(host.name)
    domains = [d for d in (libvirt.domains if libvirt else ()) if addresses.intersection(d.pci)]
    servers = [ground.server_words(d.uuid) for d in domains]
    said: list[Evidence] = [host_says(host.name, f"{_some(sorted(addresses))}: current_vgpu_type is 0")]
    said.append(host_says(host.name, f"nova.conf: device_spec names {len(bare)} of them"))
    said += [
        placement_says(", ".join(f"{provider.name}: {i.total} {i.resource_class}" for i in provider.inventories))
        for provider in ground.providers_of.get(host.name, ())
        if provider.device == gpu.address and provider.inventories
    ]
    if servers:
        said.append(libvirt_says(host.name, f"domains that want them: {_some([d.name for d in domains])}"))
    hurt = (
        f"; {len(servers)} servers cannot start"
        if len(servers) > 1
        else f"; {servers[0]} cannot start"
        if servers
        else ""
    )
    return diagnosis.found(
        f"gpu {host.name} {gpu.address}",
        message + hurt,
        *said,
        host=host.name,
        command=_set_type(host, gpu, bare),
        key="n",
        objects=(f"gpu {host.name} {gpu.address}", *servers),
    )


def _set_type(host: Host, gpu: PhysicalGpu, bare: Sequence[tuple[VirtualFunction, DeviceSpec]]) -> str:
    """Sets the type that the functions' resource class is named after, as far as the GPU has room for it."""
    place = ["vgpu-console", "mdev"]
    class_ = bare[0][1].resource_class or ""
    wanted = next((t for t in gpu.types if class_of(t.type_name) == class_), None)
    if wanted is None:
        return shlex.join([*place, "types", host.name, "--gpu", gpu.address])
    words = [*place, "create", host.name, "--gpu", gpu.address, "--type", short_type_name(wanted.type_name)]
    return " && ".join(shlex.join([*words, "--function", f.address]) for f, _ in bare[: wanted.max])


def class_of(type_name: str) -> str:
    """The resource class that a type is usually given: ``CUSTOM_L40S_12Q`` of ``NVIDIA L40S-12Q``."""
    return "CUSTOM_" + re.sub(r"[^A-Z0-9]+", "_", short_type_name(type_name).upper())


def _conf(ground: Ground) -> Iterator[Finding]:
    """How nova.conf hands these functions out: told once for each host."""
    used: dict[str, dict[int, DeviceSpec]] = defaultdict(dict)
    for host, _, specs, gpu in _gpus(ground):
        for function in gpu.functions:
            spec = specs.of(gpu, function.address)
            if spec is not None:
                used[host.name][id(spec)] = spec
    for name, by_id in used.items():
        host, found = ground.hosts[name], list(by_id.values())
        yield from _managed(host, found)
        yield from _migratable(host, found)
        yield from _versions(host, found)


def _managed(host: Host, specs: Sequence[DeviceSpec]) -> Iterator[Finding]:
    wrong = [s for s in specs if s.managed is not False]
    if wrong:
        yield MANAGED.found(
            f"host {host.name}",
            f"{len(wrong)} of {len(specs)} device_spec of vGPUs "
            + ('say "managed": "yes"' if wrong[0].managed else 'do not say "managed", which means yes'),
            host_says(host.name, f"nova.conf: device_spec for {_some([s.address or s.product_id for s in wrong])}"),
            host=host.name,
            command=f"vgpu-console nova-conf {shlex.quote(host.name)} --snippet",
            key="N",
        )


def _migratable(host: Host, specs: Sequence[DeviceSpec]) -> Iterator[Finding]:
    lacking = [s for s in specs if not s.live_migratable]
    classes = {s.resource_class for s in specs if s.resource_class}
    named = [a for a in aliases(host.nova_conf) or () if a.get("resource_class", "").upper() in classes]
    mute = [a for a in named if a.get("live_migratable", "").strip().lower() not in _YES]
    if lacking or mute:
        who = "device_spec" if lacking else f"alias {mute[0].get('name', '')}"
        yield NOT_MIGRATABLE.found(
            f"host {host.name}",
            f'{who} does not say "live_migratable": "yes"',
            *(
                (host_says(host.name, f"device_spec for {_some([s.address or s.product_id for s in lacking])}"),)
                if lacking
                else ()
            ),
            *((host_says(host.name, f"alias {_some([a.get('name', '') for a in mute])}"),) if mute else ()),
            host=host.name,
            command=f"vgpu-console nova-conf {shlex.quote(host.name)} --snippet",
            key="N",
        )


_YES = frozenset({"1", "t", "true", "on", "y", "yes"})


def _versions(host: Host, specs: Sequence[DeviceSpec]) -> Iterator[Finding]:
    if not any(s.live_migratable for s in specs):
        return
    has = {"libvirt": host.libvirt, "qemu": host.qemu}
    old = {name: version for name, version in has.items() if version and _version(version) < _LEAST[name]}
    if old:
        yield TOO_OLD.found(
            f"host {host.name}",
            "nova.conf says live_migratable, and this host has "
            + " and ".join(f"{name} {version}" for name, version in old.items()),
            host_says(host.name, 'device_spec says "live_migratable": "yes"'),
            (libvirt_says if "libvirt" in host.known_from else host_says)(
                host.name, f"libvirt {host.libvirt or 'unknown'}, QEMU {host.qemu or 'unknown'}"
            ),
            host=host.name,
            command=f"vgpu-console nova-conf {shlex.quote(host.name)}",
            key="N",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


CHAPTER = Chapter((TYPES_LOST, UNTYPED, NO_TYPES, NOT_IN_SPEC, MANAGED, NOT_MIGRATABLE, TOO_OLD), (_types, _conf))
