"""What the lab holds when it is up: users, projects, limits, flavors, traits, and servers on vGPUs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cloudlab.gpu_hardware import PLAIN, SRIOV
from cloudlab.rest import RestError, Session
from cloudlab.settings import PASSWORD, REGION, Settings

IMAGE = "155d900f-4e14-4e4c-a73d-069cbf4541e6"
"""An image of the in-process Glance of Nova's fixtures; the lab has no image service."""

DEFAULT_VGPUS = 4
PROJECT_VGPUS = {"ml-research": 6}

REGISTERED_LIMITS = {
    "servers": 50,
    "class:VCPU": 400,
    "class:PCPU": 0,
    "class:MEMORY_MB": 2_000_000,
    "class:DISK_GB": 10_000,
    "class:VGPU": DEFAULT_VGPUS,
    "server_metadata_items": 128,
    "server_injected_files": 5,
    "server_injected_file_content_bytes": 10_240,
    "server_injected_file_path_bytes": 255,
    "server_key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
}

TRAITS = {SRIOV.product_id: "CUSTOM_NVIDIA_A100_10C", PLAIN.product_id: "CUSTOM_NVIDIA_T4_4Q"}

FLAVORS: dict[str, tuple[int, dict[str, str]]] = {
    "a100-10c": (4096, {"resources:VGPU": "1", f"trait:{TRAITS[SRIOV.product_id]}": "required"}),
    "a100-10c.two": (
        8192,
        {
            "resources1:VGPU": "1",
            "resources2:VGPU": "1",
            f"trait1:{TRAITS[SRIOV.product_id]}": "required",
            f"trait2:{TRAITS[SRIOV.product_id]}": "required",
            "group_policy": "none",
        },
    ),
    "t4-4q": (2048, {"resources:VGPU": "1", f"trait:{TRAITS[PLAIN.product_id]}": "required"}),
    "plain": (1024, {}),
}


def identity(settings: Settings, more: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Users with their roles, the catalogue, and the unified limits. ``more`` services: name -> (type, URL)."""
    more = more or {}
    admin = Session(settings, "admin", "admin")
    roles = {row["name"]: row["id"] for row in admin("GET", "identity", "/roles")["roles"]}
    projects = {row["name"]: row["id"] for row in admin("GET", "identity", "/projects")["projects"]}
    for name in ("service", "ml-research", "vdi", "empty"):
        body = {"project": {"name": name, "domain_id": "default", "description": f"the lab's {name}"}}
        projects[name] = admin("POST", "identity", "/projects", body)["project"]["id"]

    def user(name: str, *in_projects: tuple[str, str], system: str = "") -> None:
        body = {"user": {"name": name, "domain_id": "default", "password": PASSWORD}}
        user_id = admin("POST", "identity", "/users", body)["user"]["id"]
        for project, role in in_projects:
            admin("PUT", "identity", f"/projects/{projects[project]}/users/{user_id}/roles/{roles[role]}")
        if system:
            admin("PUT", "identity", f"/system/users/{user_id}/roles/{roles[system]}")

    # oslo.limit reads limits with a system scope.
    for service in ("nova", "placement", *more):
        user(service, ("service", "admin"), ("service", "service"), system="reader")
    user("auditor", system="reader")
    user("operator", ("admin", "admin"), system="admin")
    user("project-admin", ("admin", "admin"))
    user("split-admin", ("admin", "admin"), system="reader")
    user("ml-user", ("ml-research", "member"))
    user("ml-reader", ("ml-research", "reader"))
    user("vdi-user", ("vdi", "member"))

    compute = ""
    for name, kind, url in (
        ("nova", "compute", settings.nova_url),
        ("placement", "placement", settings.placement_url),
        *((name, kind, url) for name, (kind, url) in more.items()),
    ):
        service_id = admin("POST", "identity", "/services", {"service": {"name": name, "type": kind}})["service"]["id"]
        compute = compute or service_id
        for interface in ("public", "internal", "admin"):
            endpoint = {"service_id": service_id, "interface": interface, "url": url, "region_id": REGION}
            admin("POST", "identity", "/endpoints", {"endpoint": endpoint})
    _limits(Session(settings, "admin", None), compute, projects)


def _limits(system: Session, service_id: str, projects: dict[str, str]) -> None:
    place = {"service_id": service_id, "region_id": REGION}
    rows = [{**place, "resource_name": name, "default_limit": value} for name, value in REGISTERED_LIMITS.items()]
    system("POST", "identity", "/registered_limits", {"registered_limits": rows})
    own = [
        {**place, "project_id": projects[name], "resource_name": "class:VGPU", "resource_limit": value}
        for name, value in PROJECT_VGPUS.items()
    ]
    system("POST", "identity", "/limits", {"limits": own})


def compute(settings: Settings) -> None:
    """Flavors; the traits that tell the GPUs' providers apart; and the first servers, once the hosts are there."""
    admin = Session(settings, "admin", "admin")
    for name, (ram, specs) in FLAVORS.items():
        body = {"flavor": {"name": name, "ram": ram, "vcpus": 2, "disk": 10}}
        flavor = admin("POST", "compute", "/flavors", body)["flavor"]["id"]
        if specs:
            admin("POST", "compute", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": specs})
    _set_traits(settings, admin)
    if settings.servers:
        _boot(settings, "ml-user", "ml-research", "a100-10c", ["train-1", "train-2"])
        if settings.plain_hosts:
            _boot(settings, "vdi-user", "vdi", "t4-4q", ["desk-1"])


def _set_traits(settings: Settings, admin: Session) -> None:
    for trait in TRAITS.values():
        admin("PUT", "placement", f"/traits/{trait}", version="1.39")
    for provider in admin("GET", "placement", "/resource_providers", version="1.39")["resource_providers"]:
        host, _, device = provider["name"].partition("_pci_")
        if not device:
            continue
        model = PLAIN if settings.is_plain(host) else SRIOV
        path = f"/resource_providers/{provider['uuid']}/traits"
        for _ in range(5):  # Nova may write to the same provider in between: then the generation is an old one
            now = admin("GET", "placement", path, version="1.39")
            body = {
                "traits": sorted({*now["traits"], TRAITS[model.product_id]}),
                "resource_provider_generation": now["resource_provider_generation"],
            }
            try:
                admin("PUT", "placement", path, body, version="1.39")
                break
            except RestError as error:
                if error.status != 409:
                    raise


def _boot(settings: Settings, user: str, project: str, flavor: str, names: list[str]) -> None:
    session = Session(settings, user, project)
    flavors = {row["name"]: row["id"] for row in session("GET", "compute", "/flavors")["flavors"]}
    waiting: list[str] = []
    for name in names:
        server = {"name": name, "imageRef": IMAGE, "flavorRef": flavors[flavor], "networks": "none"}
        waiting.append(session("POST", "compute", "/servers", {"server": server}, version="2.96")["server"]["id"])
    deadline = time.monotonic() + 60
    while waiting and time.monotonic() < deadline:
        row: dict[str, Any] = session("GET", "compute", f"/servers/{waiting[0]}")["server"]
        if row["status"] == "ERROR":
            raise RestError(500, f"server {row['name']} is in ERROR: {row.get('fault')}")
        if row["status"] == "ACTIVE":
            waiting.pop(0)
        else:
            time.sleep(0.1)
    if waiting:
        raise RestError(504, "the first servers are not ACTIVE after 60 s")
