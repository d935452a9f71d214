"""Has Nova's own code read a nova.conf, count a host's vGPUs by it, and keep its tree of providers.

Run by Nova's Python. A line of JSON in, a line out, each answered by a process of its own: Nova's options are global.
In: ``conf``, the file's text; ``devices``, what libvirt would list: name -> type -> availableInstances; ``mdevs``,
[[parent, type], …]; ``providers``, names of those that Placement has; ``functions``, PCI addresses of virtual functions
with their physical function and ids.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"

import nova.conf
from nova.compute import provider_tree
from nova.conf import devices as devices_conf
from nova.pci import request, whitelist
from nova.virt.libvirt import driver

NODE = "gpu-01"


def counting_driver(asked: dict) -> driver.LibvirtDriver:
    """Nova's driver without a libvirt: only the two calls that list devices are answered from the input."""
    made = driver.LibvirtDriver.__new__(driver.LibvirtDriver)
    made.pgpu_type_default = None
    made.pgpu_type_mapping = {}
    made.mdev_class_mapping = driver.collections.defaultdict(lambda: "VGPU")
    made.mdev_classes = set()
    made.mdev_type_max_mapping = {}
    made.virtual_mdevs = set()
    made._get_mdev_capable_devices = lambda types=None: [
        {"dev_id": name, "types": {t: {"availableInstances": n} for t, n in offered.items() if not types or t in types}}
        for name, offered in asked["devices"].items()
    ]
    made._get_mediated_devices = lambda types=None: [
        {"parent": parent, "type": kind} for parent, kind in asked["mdevs"] if not types or kind in types
    ]
    made.supported_vgpu_types = made._get_supported_vgpu_types()
    return made


def answer(asked: dict) -> dict:
    """What Nova makes of it."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(asked["conf"])
        file.flush()
        nova.conf.CONF([], project="nova", default_config_files=[file.name], default_config_dirs=[])
    conf = nova.conf.CONF
    made = counting_driver(asked)
    devices_conf.register_dynamic_opts(conf)
    inventories = made._get_gpu_inventories()
    tree = provider_tree.ProviderTree()
    root = str(uuid.uuid4())
    tree.new_root(NODE, root)
    for name in asked["providers"]:
        tree.new_child(name, root)
    made._ensure_pgpu_providers(inventories, tree, NODE)
    specs = whitelist.Whitelist(conf.pci.device_spec).specs
    matched = {}
    for function in asked["functions"]:
        spec = next((s for s in specs if s.match(dict(function))), None)
        matched[function["address"]] = None if spec is None else spec.get_tags()
    groups = {t: getattr(conf, f"mdev_{t}") for t in conf.devices.enabled_mdev_types}
    return {
        "supported": made.supported_vgpu_types,
        "types": dict(made.pgpu_type_mapping),
        "classes": dict(made.mdev_class_mapping),
        "caps": {t: group.max_instances for t, group in groups.items()},
        "inventories": {name: row["total"] for name, row in inventories.items()},
        "providers": sorted(name for name in (tree.data(u).name for u in tree.get_provider_uuids()) if name != NODE),
        "specs": matched,
        "aliases": {name: spec for name, (_, spec) in request.get_alias_from_config().items()},
        "report_in_placement": conf.pci.report_in_placement,
    }


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                said = answer(json.loads(line))
            except Exception as error:  # the asker shows it
                said = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(said), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
