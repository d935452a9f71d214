"""Nova's JSON as facts: services, hypervisors, servers, flavors, migrations."""

from __future__ import annotations

from typing import Any

import msgspec

from vgpu_console.model.nova import Aggregate, ComputeService, Flavor, Hypervisor, MigrationFacts, Server
from vgpu_console.sources.tolerant import BadRecord, flag, ident, integer, mapping, text, text_map
from vgpu_console.text import plain


def read_service(record: dict[str, Any]) -> ComputeService:
    """A row of ``GET /os-services``. Raises BadRecord."""
    host = text(record, "host")
    if not host:
        raise BadRecord("no host")
    return ComputeService(
        id=ident(record, "id"),
        host=host,
        state=text(record, "state"),
        status=text(record, "status"),
        disabled_reason=text(record, "disabled_reason"),
        zone=text(record, "zone"),
        updated_at=text(record, "updated_at"),
        forced_down=flag(record, "forced_down"),
    )


def read_hypervisor(record: dict[str, Any]) -> Hypervisor:
    """A row of ``GET /os-hypervisors/detail``. Raises BadRecord."""
    name = text(record, "hypervisor_hostname")
    if not name:
        raise BadRecord("no hypervisor_hostname")
    return Hypervisor(
        id=ident(record, "id"),
        name=name,
        service_host=text(mapping(record, "service"), "host") or "",
        state=text(record, "state"),
        status=text(record, "status"),
        type=text(record, "hypervisor_type"),
        version=integer(record, "hypervisor_version"),
        host_ip=text(record, "host_ip"),
    )


def read_server(record: dict[str, Any], known: dict[str, Server]) -> Server:
    """A row of ``GET /servers/detail``; ``known`` are the servers of the reading before. Raises BadRecord."""
    server_id = ident(record, "id")
    status = text(record, "status")
    if "name" not in record and status == "UNKNOWN" and server_id in known:
        # its cell is down: since 2.69 Nova then sends little more than the id
        return msgspec.structs.replace(known[server_id], status=status)
    flavor = mapping(record, "flavor")
    return Server(
        id=server_id,
        name=text(record, "name") or "",
        project_id=text(record, "tenant_id") or "",
        user_id=text(record, "user_id") or "",
        host=text(record, "OS-EXT-SRV-ATTR:host"),
        hypervisor=text(record, "OS-EXT-SRV-ATTR:hypervisor_hostname"),
        instance_name=text(record, "OS-EXT-SRV-ATTR:instance_name"),
        status=status,
        vm_state=text(record, "OS-EXT-STS:vm_state"),
        task_state=text(record, "OS-EXT-STS:task_state"),
        power_state=integer(record, "OS-EXT-STS:power_state"),
        flavor=text(flavor, "original_name"),
        ram_mib=integer(flavor, "ram"),
        vcpus=integer(flavor, "vcpus"),
        extra_specs=text_map(flavor, "extra_specs"),
        created=text(record, "created"),
        updated=text(record, "updated"),
        locked=flag(record, "locked"),
        fault=text(mapping(record, "fault"), "message", 500),
        pinned_zone=(text(record, "pinned_availability_zone") or "") if "pinned_availability_zone" in record else None,
        fault_at=text(mapping(record, "fault"), "created"),
    )


def read_aggregate(record: dict[str, Any]) -> Aggregate:
    """A row of ``GET /os-aggregates``. Raises BadRecord."""
    hosts = record.get("hosts")
    return Aggregate(
        id=ident(record, "uuid") if "uuid" in record else str(integer(record, "id")),
        name=text(record, "name") or "",
        zone=text(record, "availability_zone"),
        hosts=tuple(plain(h, 255) for h in hosts if isinstance(h, str)) if isinstance(hosts, list) else (),
        metadata=text_map(record, "metadata") or {},
    )


def read_flavor(record: dict[str, Any]) -> Flavor:
    """A row of ``GET /flavors/detail``. Raises BadRecord."""
    return Flavor(
        id=ident(record, "id"),
        name=text(record, "name") or "",
        ram_mib=integer(record, "ram"),
        vcpus=integer(record, "vcpus"),
        disk_gib=integer(record, "disk"),
        extra_specs=text_map(record, "extra_specs"),
    )


def read_migration(record: dict[str, Any]) -> MigrationFacts:
    """A row of ``GET /os-migrations``. Raises BadRecord."""
    number = integer(record, "id")
    if number is None:
        raise BadRecord("no id")
    return MigrationFacts(
        id=number,
        uuid=ident(record, "uuid"),
        server_id=ident(record, "instance_uuid"),
        source=text(record, "source_compute"),
        destination=text(record, "dest_compute"),
        status=text(record, "status"),
        migration_type=text(record, "migration_type"),
        created_at=text(record, "created_at"),
        updated_at=text(record, "updated_at"),
        project_id=text(record, "project_id"),
    )
