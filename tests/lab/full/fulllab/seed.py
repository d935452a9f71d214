"""What the lab holds when it is up: the lab cloud's users and limits, images whose guest dirties memory, flavors."""

from __future__ import annotations

import urllib.request

from cloudlab import seed as cloud
from cloudlab.rest import Session

from fulllab.settings import Settings

RAM_MIB = 96
"""The guest's program, a working set that begins at 16 MiB, and little else to move."""

FLAVORS: dict[str, dict[str, str]] = {
    "a100-10c": {"resources:VGPU": "1"},
    "a100-10c.two": {"resources1:VGPU": "1", "resources2:VGPU": "1", "group_policy": "none"},
    "plain": {},
}

IMAGES = {"slow": "ws=32 rate=5", "fast": "ws=48 rate=0"}
"""Name -> the guest's command line: MiB that it writes round and round, and MiB a second (0: as fast as it can)."""


def identity(settings: Settings) -> None:
    """Users, catalogue and limits, with the services that the lab cloud does not have."""
    cloud.identity(
        settings.cloud,
        {"glance": ("image", settings.glance_url), "neutron": ("network", settings.neutron_url)},
    )


def images(settings: Settings, guest: bytes) -> None:
    """The guest's program as a kernel, and a blank disk for each command line: QEMU starts it without a boot loader."""
    admin = Session(settings.cloud, "admin", "admin", image=settings.glance_url)
    kernel = _image(settings, admin, {"name": "guest", "disk_format": "aki", "container_format": "aki"}, guest)
    for name, line in IMAGES.items():
        body = {"name": name, "disk_format": "raw", "container_format": "bare"}
        _image(settings, admin, {**body, "kernel_id": kernel, "os_command_line": line}, bytes(1 << 20))


def flavors(settings: Settings) -> None:
    """Flavors of one and two vGPUs and of none. The disk is as large as the image."""
    admin = Session(settings.cloud, "admin", "admin")
    for name, specs in FLAVORS.items():
        body = {"flavor": {"name": name, "ram": RAM_MIB, "vcpus": 1, "disk": 0}}
        made = admin("POST", "compute", "/flavors", body)["flavor"]["id"]
        if specs:
            admin("POST", "compute", f"/flavors/{made}/os-extra_specs", {"extra_specs": specs})


def _image(settings: Settings, admin: Session, body: dict[str, str], data: bytes) -> str:
    made = str(admin("POST", "image", "/v2/images", {**body, "visibility": "public"})["id"])
    request = urllib.request.Request(f"{settings.glance_url}/v2/images/{made}/file", data=data, method="PUT")
    request.add_header("X-Auth-Token", admin.token)
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=60):
        return made
