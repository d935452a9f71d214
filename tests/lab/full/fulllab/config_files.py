"""Configuration of Glance, of Nova's control plane where it differs from the lab cloud's, and of nova-compute."""

from __future__ import annotations

import json
from pathlib import Path

from cloudlab import config_files as cloud
from cloudlab.config_files import Option, Sections
from cloudlab.settings import REGION

from fulllab.settings import Settings, home

TYPE_ID = "nvidia-471"
"""A100-10C: four on each GPU, so that a GPU with four virtual functions has no more than it can carry."""

_DOWN_TIME_S = 30
"""Emulated hosts report late now and then."""

_SHARED = ("placement", "service_user", "neutron", "cinder", "key_manager", "keystone_authtoken")
"""Sections of nova.conf that every service of a cloud has alike."""


def write(settings: Settings, glance_venv: Path) -> None:
    """Write every file of the control plane."""
    cloud.write_all(settings.cloud, lambda nova: _control(settings, nova))
    # Servers without a disk of their own are for administrators otherwise.
    settings.cloud.path("nova/policy.yaml").write_text('"os_compute_api:servers:create:zero_disk_flavor": ""\n')
    for folder in ("images", "staging", "tasks"):
        settings.cloud.path("glance", folder).mkdir(parents=True)
    cloud.write_ini(settings.cloud, "glance/glance-api.conf", _glance(settings, glance_venv))


def compute(settings: Settings, host: str) -> str:
    """A host's nova.conf, with what ``lab set`` changed."""
    shared = cloud.nova(settings.cloud)
    helper = "/opt/nova/bin/privsep-helper --config-file /etc/nova/nova.conf"
    address = settings.host_address(host)
    nova: Sections = {
        "DEFAULT": {
            "host": host,
            "my_ip": address,
            "state_path": "/var/lib/nova",
            "log_file": "/var/log/nova/nova-compute.log",
            "use_stderr": False,
            "debug": settings.debug,
            "transport_url": settings.transport_url,
            "compute_driver": "libvirt.LibvirtDriver",
            "reserved_host_memory_mb": 256,
            "resume_guests_state_on_host_boot": False,
            "vif_plugging_timeout": 0,
            "vif_plugging_is_fatal": False,
            "graceful_shutdown_timeout": 2,
            "manager_shutdown_timeout": 1,
            "heal_instance_info_cache_interval": -1,
            "max_concurrent_live_migrations": 1,
            "report_interval": 5,
            "service_down_time": _DOWN_TIME_S,
            "update_resources_interval": 15,
            "periodic_fuzzy_delay": 3,
        },
        "oslo_concurrency": {"lock_path": "/run/nova"},
        "libvirt": {
            **shared["libvirt"],
            "virt_type": "qemu",
            "hw_machine_type": "x86_64=pc",
            "images_type": "raw",
            "live_migration_inbound_addr": address,
        },
        "devices": {"enabled_mdev_types": TYPE_ID},
        "vnc": {"enabled": False},
        "glance": {"api_servers": settings.glance_url},
        "oslo_messaging_notifications": {"driver": "noop"},
        **{
            name: {"helper_command": helper}
            for name in ("nova_sys_admin", "privsep_osbrick", "vif_plug_ovs_privileged")
        },
        **{name: shared[name] for name in _SHARED},
    }
    for key, value in changes(host).items():
        section, _, option = key.partition(".")
        nova.setdefault(section, {})[option] = value
    return cloud.ini(nova)


def changes(host: str) -> dict[str, str]:
    """What ``lab set`` changed of a host's nova.conf: section.option -> value."""
    file = _changes_file(host)
    return dict(json.loads(file.read_text())) if file.exists() else {}


def change(host: str, values: dict[str, str]) -> None:
    """Remember changes; an empty value takes one back."""
    kept = {**changes(host), **values}
    _changes_file(host).write_text(json.dumps({key: value for key, value in kept.items() if value}))


def _changes_file(host: str) -> Path:
    return home() / f"{host}.changes.json"


def _control(settings: Settings, nova: Sections) -> None:
    nova["DEFAULT"].update(
        {"transport_url": settings.transport_url, "service_down_time": _DOWN_TIME_S, "report_interval": 5}
    )
    nova["scheduler"]["discover_hosts_in_cells_interval"] = 3
    nova["glance"] = {"api_servers": settings.glance_url}
    nova["oslo_policy"] = {"policy_file": str(settings.cloud.path("nova/policy.yaml"))}
    del nova["devices"]


def _glance(settings: Settings, venv: Path) -> Sections:
    def folder(name: str) -> dict[str, Option]:
        return {"filesystem_store_datadir": str(settings.cloud.path("glance", name))}

    return {
        "DEFAULT": {
            "use_stderr": False,
            "log_file": str(settings.cloud.path("log/glance.log")),
            "enabled_backends": "files:file",
            "enabled_import_methods": "[]",
            "worker_self_reference_url": settings.glance_url,
        },
        "glance_store": {"default_backend": "files"},
        "files": folder("images"),
        "os_glance_staging_store": folder("staging"),
        "os_glance_tasks_store": folder("tasks"),
        "database": cloud.database(settings.cloud, "glance/glance.db"),
        "oslo_messaging_notifications": {"driver": "noop"},
        "paste_deploy": {"flavor": "keystone", "config_file": str(venv / "etc/glance/glance-api-paste.ini")},
        "keystone_authtoken": {**cloud.token_check(settings.cloud, "glance"), "region_name": REGION},
    }
