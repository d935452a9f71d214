"""The configuration files that an operator would write: of Keystone, Placement and Nova, and a clouds.yaml."""

from __future__ import annotations

import configparser
import sqlite3
from collections.abc import Callable, Mapping

from cloudlab.gpu_hardware import PLAIN, SRIOV, gpu_address
from cloudlab.settings import PASSWORD, REGION, Settings, lab_venv

Option = str | int | bool
Sections = dict[str, dict[str, Option]]


def write_all(settings: Settings, change: Callable[[Sections], None] = lambda nova: None) -> None:
    """Write every file below the lab's home, and make the empty databases. ``change`` may alter nova.conf before."""
    for folder in ("keystone", "placement", "nova/state", "nova/instances", "nova/lock", "log"):
        settings.path(folder).mkdir(parents=True, exist_ok=True)
    write_ini(settings, "keystone/keystone.conf", _keystone(settings))
    write_ini(settings, "placement/placement.conf", _placement(settings))
    sections = nova(settings)
    change(sections)
    write_ini(settings, "nova/nova.conf", sections)
    settings.path("clouds.yaml").write_text(_clouds(settings))


def change_nova(settings: Settings, section: str, values: Mapping[str, Option]) -> None:
    """Change options of nova.conf, as an operator would with an editor; Nova does not look by itself."""
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(settings.path("nova/nova.conf"))
    for key, value in values.items():
        parser.set(section, key, _text(value))
    with settings.path("nova/nova.conf").open("w") as file:
        parser.write(file)


def database_url(settings: Settings, name: str) -> str:
    """An SQLite URL. Write-ahead logging lets readers go on beside the one writer."""
    file = settings.path(name)
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return f"sqlite:///{file}?timeout=60"


def write_ini(settings: Settings, name: str, sections: Sections) -> None:
    """Write a configuration file below the lab's home."""
    settings.path(name).write_text(ini(sections))


def ini(sections: Sections) -> str:
    """Sections as the text of a configuration file."""
    lines: list[str] = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_text(value)}" for key, value in options.items()]
        lines.append("")
    return "\n".join(lines)


def _text(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def database(settings: Settings, name: str) -> dict[str, Option]:
    """The options of a database section; the empty database is made."""
    return {
        "connection": database_url(settings, name),
        "sqlite_synchronous": False,
        "max_pool_size": 50,
        "max_overflow": 100,
    }


def credential(settings: Settings, user: str, **scope: str) -> dict[str, Option]:
    """How a service signs in; in the services' project, where no other scope is named."""
    scope = scope or {"project_name": "service", "project_domain_id": "default"}
    return {
        "auth_type": "password",
        "auth_url": settings.keystone_url,
        "username": user,
        "password": PASSWORD,
        "user_domain_id": "default",
        **scope,
    }


def token_check(settings: Settings, user: str) -> dict[str, Option]:
    """The middleware's section. Its cache is short, so that a revoked token is refused within seconds."""
    return {
        "www_authenticate_uri": settings.keystone_url,
        "service_token_roles": "service",
        "service_token_roles_required": True,
        "interface": "internal",
        "region_name": REGION,
        "token_cache_time": 3,
        **credential(settings, user),
    }


def _keystone(settings: Settings) -> Sections:
    return {
        "DEFAULT": {
            "use_stderr": False,
            "log_file": str(settings.path("log/keystone.log")),
            "public_endpoint": settings.keystone_url.removesuffix("/v3"),
        },
        "database": database(settings, "keystone/keystone.db"),
        "token": {"provider": "fernet", "expiration": settings.token_seconds},
        "fernet_tokens": {"key_repository": str(settings.path("keystone/fernet"))},
        "fernet_receipts": {"key_repository": str(settings.path("keystone/fernet"))},
        "credential": {"key_repository": str(settings.path("keystone/credential"))},
        "identity": {"password_hash_rounds": 4},
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
    }


def _placement(settings: Settings) -> Sections:
    return {
        "DEFAULT": {"use_stderr": False, "log_file": str(settings.path("log/placement.log"))},
        "api": {"auth_strategy": "keystone"},
        "placement_database": {**database(settings, "placement/placement.db"), "sync_on_startup": True},
        "keystone_authtoken": token_check(settings, "placement"),
    }


def nova(settings: Settings) -> Sections:
    """Nova's configuration, of all its services; its databases are made."""
    service = {**credential(settings, "nova"), "region_name": REGION}
    return {
        "DEFAULT": {
            "host": "controller",
            "my_ip": settings.address,
            "state_path": str(settings.path("nova/state")),
            "instances_path": str(settings.path("nova/instances")),
            "log_file": str(settings.path("log/nova.log")),
            "use_stderr": False,
            "debug": settings.debug,
            "transport_url": "fake:///",
            "compute_driver": "libvirt.LibvirtDriver",
            "resume_guests_state_on_host_boot": False,
            "vif_plugging_timeout": 0,
            "vif_plugging_is_fatal": False,
            "graceful_shutdown_timeout": 2,
            "manager_shutdown_timeout": 1,
            # The pools belong to the process, hence to all hosts of the lab together.
            "max_concurrent_live_migrations": 64,
            "max_concurrent_builds": 64,
            "default_thread_pool_size": 64,
            "executor_thread_pool_size": 64,
            # A host that stops is "down" soon, and its inventories follow its devices soon.
            "report_interval": 3,
            "service_down_time": 10,
            "update_resources_interval": 20,
            "periodic_fuzzy_delay": 3,
        },
        "api": {"auth_strategy": "keystone", "response_validation": "ignore"},
        "api_database": database(settings, "nova/nova_api.db"),
        "database": database(settings, "nova/nova_cell1.db"),
        "wsgi": {"api_paste_config": str(lab_venv() / "etc/nova/api-paste.ini")},
        "oslo_concurrency": {"lock_path": str(settings.path("nova/lock"))},
        "oslo_messaging_notifications": {"driver": "noop"},
        "scheduler": {"max_placement_results": 1000},
        "filter_scheduler": {
            "enabled_filters": "ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter",
            "build_failure_weight_multiplier": 0,
        },
        "libvirt": {
            "virt_type": "kvm",
            "cpu_mode": "none",
            "images_type": "default",
            # The default of 5 s would show a short migration once or twice.
            "live_migration_monitor_interval": 1,
            "live_migration_permit_post_copy": False,
            "live_migration_permit_auto_converge": False,
            # What Nova's documentation asks of hosts with NVIDIA vGPUs.
            "live_migration_downtime": 500000,
            "live_migration_downtime_steps": 3,
            "live_migration_downtime_delay": 3,
            "live_migration_completion_timeout": 0,
        },
        **_devices(settings),
        "key_manager": {"backend": "nova.keymgr.conf_key_mgr.ConfKeyManager"},
        "quota": {
            "driver": "nova.quota.UnifiedLimitsDriver",
            "unified_limits_resource_strategy": "require",
            "unified_limits_resource_list": "servers,class:VGPU",
        },
        "oslo_limit": {
            **credential(settings, "nova", system_scope="all"),
            "endpoint_service_type": "compute",
            "endpoint_service_name": "nova",
            "endpoint_region_name": REGION,
            "endpoint_interface": "public",
        },
        "placement": service,
        "service_user": {**service, "send_service_user_token": True},
        "neutron": service,
        "cinder": service,
        "glance": {"api_servers": "http://127.0.0.1:1"},
        "keystone_authtoken": token_check(settings, "nova"),
    }


def _devices(settings: Settings) -> Sections:
    """The vGPU types: one for every GPU that is not named, one for the plain GPUs by their addresses."""
    sections: Sections = {"devices": {"enabled_mdev_types": SRIOV.enabled_type}}
    if settings.plain_hosts:
        sections["devices"]["enabled_mdev_types"] = f"{SRIOV.enabled_type},{PLAIN.enabled_type}"
        addresses = ",".join(gpu_address(PLAIN, number) for number in range(settings.gpus))
        sections[f"mdev_{PLAIN.enabled_type}"] = {"device_addresses": addresses}
    return sections


def _clouds(settings: Settings) -> str:
    """Every credential under its own name. ``lab-wrong`` has a password that is not accepted."""
    domain = {"project_domain_id": "default"}
    system = {"system_scope": "all"}
    clouds: dict[str, Mapping[str, str]] = {
        "lab-admin": {"username": "admin", "project_name": "admin", **domain},
        "lab-system": {"username": "admin", **system},
        "lab-auditor": {"username": "auditor", **system},
        "lab-operator": {"username": "operator", "project_name": "admin", **domain},
        "lab-project-admin": {"username": "project-admin", "project_name": "admin", **domain},
        "lab-split": {"username": "split-admin", "project_name": "admin", **domain},
        "lab-reader": {"username": "ml-reader", "project_name": "ml-research", **domain},
        "lab-member": {"username": "ml-user", "project_name": "ml-research", **domain},
        "lab-vdi": {"username": "vdi-user", "project_name": "vdi", **domain},
        "lab-wrong": {"username": "admin", "project_name": "admin", **domain, "password": "not-the-password"},
    }
    lines = ["clouds:"]
    for name, auth in clouds.items():
        lines += [f"  {name}:", f"    region_name: {REGION}", "    auth_type: password", "    auth:"]
        values = {"auth_url": settings.keystone_url, "user_domain_id": "default", "password": PASSWORD, **auth}
        lines += [f"      {key}: {value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
