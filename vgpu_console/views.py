"""The read views of the command line: what each shows of a Snapshot, which rows a filter keeps, why a view is empty.

The names of the data columns, and their order, are a promise to scripts: they only ever grow at the end. Columns of the
table only carry what a person wants to see instead of an id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from vgpu_console import view_filters
from vgpu_console.model.snapshot import (
    Host,
    MediatedDevice,
    Migration,
    PhysicalGpu,
    ProjectQuota,
    Provider,
    Snapshot,
    VgpuServer,
)
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.view_filters import Filters

NOT_APPLICABLE = "–"
"""Shown where there is nothing to know, as against ``?`` where it is not known."""

OPENSTACK: frozenset[SourceKind] = frozenset({"keystone", "placement", "nova"})
EVERYTHING: frozenset[SourceKind] = OPENSTACK | {"libvirt", "ssh"}
DEVICES: frozenset[SourceKind] = EVERYTHING - {"keystone"}


class Column(NamedTuple):
    """A column: its promised name, its value in data formats, and how the table words it.

    ``show`` is for the table and Markdown only; it returns None where the plain value says it. ``data`` False keeps the
    column out of data formats, ``table`` False out of the table. Columns of the highest ``priority`` leave a table
    first when a terminal is too narrow; those of 0 stay.
    """

    name: str
    get: Callable[[Any], Any]
    right: bool = False
    show: Callable[[Any], str | None] | None = None
    data: bool = True
    table: bool = True
    priority: int = 0


class View(NamedTuple):
    """A view: its columns, its rows, the kinds of sources it cannot do without, and why it may be empty."""

    name: str
    noun: str
    columns: tuple[Column, ...]
    rows: Callable[[Snapshot, Filters], list[Any]]
    needs: frozenset[SourceKind]
    empty: Callable[[Snapshot], str]
    use_only: bool = False  # limits and who uses what are all it shows: a narrower, faster reading will do

    def fields(self) -> tuple[str, ...]:
        """The promised names, in order."""
        return tuple(c.name for c in self.columns if c.data)


def records(view: View, rows: Iterable[Any]) -> list[dict[str, Any]]:
    """The rows under their promised names; unknown is None."""
    columns = [(c.name, c.get) for c in view.columns if c.data]
    return [{name: get(row) for name, get in columns} for row in rows]


def relevant_errors(view: View, snapshot: Snapshot, filters: Filters) -> tuple[SourceStatus, ...]:
    """The failed sources that this view may miss something of: kinds it needs, hosts it was asked for."""
    return tuple(
        status
        for status in snapshot.errors
        if status.kind in view.needs and not (status.host and filters.hosts and status.host not in filters.hosts)
    )


# --- values -----------------------------------------------------------------------------------------------------------


def _get(name: str) -> Callable[[Any], Any]:
    """The field of that name; an empty text is as unknown as None."""

    def get(row: Any) -> Any:
        value = getattr(row, name)
        return None if value == "" else value

    return get


def column(
    name: str,
    priority: int = 0,
    *,
    right: bool = False,
    show: Callable[[Any], str | None] | None = None,
    table: bool = True,
) -> Column:
    """The column of the row's own field of that name; an empty text is unknown."""
    return Column(name, _get(name), right, show, table=table, priority=priority)


def _number(
    name: str, priority: int = 0, show: Callable[[Any], str | None] | None = None, table: bool = True
) -> Column:
    return column(name, priority, right=True, show=show, table=table)


def _table_only(name: str, get: Callable[[Any], str | None], priority: int = 0, *, right: bool = False) -> Column:
    return Column(name, get, right, data=False, priority=priority)


def _of(part: int | None, whole: int | None) -> str | None:
    """ "3/4"; None when neither is known."""
    if part is None and whole is None:
        return None
    return "/".join("?" if number is None else str(number) for number in (part, whole))


def _vfs(gpu: PhysicalGpu) -> str | None:
    return NOT_APPLICABLE if gpu.sriov is False else None


def _host_vfs(host: Host) -> str | None:
    plain_cards = host.gpus is not None and all(gpu.sriov is False for gpu in host.gpus)
    return NOT_APPLICABLE if plain_cards and not host.vfs_total else None


def _host_vfs_of_all(host: Host) -> str | None:
    return _host_vfs(host) or _of(host.vfs_enabled, host.vfs_total)


def _host_state(host: Host) -> str | None:
    return f"{host.service_state or '?'}, disabled" if host.service_status == "disabled" else host.service_state


def _if_used(name: str) -> Callable[[Any], str | None]:
    """A device that is known to be free has no server: nothing to know there."""
    return lambda m: NOT_APPLICABLE if getattr(m, name) is None and m.used is False else None


def _project(row: Any) -> str | None:
    return None if row.project else row.project_id or None


def _mdev_project(mdev: MediatedDevice) -> str | None:
    return _project(mdev) or _if_used("project")(mdev)


def _mdev_server(mdev: MediatedDevice) -> str | None:
    return None if mdev.server else mdev.server_id or mdev.domain or _if_used("server")(mdev)


def _vfio_has_none(name: str) -> Callable[[MediatedDevice], str | None]:
    return lambda m: NOT_APPLICABLE if getattr(m, name) is None and m.mechanism == "vendor-vfio" else None


def _limit(quota: ProjectQuota) -> str | None:
    if quota.limit == -1:
        return "unlimited"
    return NOT_APPLICABLE if quota.limit is None and quota.origin == "missing" else None


def _default(quota: ProjectQuota) -> str | None:
    if quota.default == -1:
        return "unlimited"
    return NOT_APPLICABLE if quota.default is None and quota.origin == "missing" else None


def _limit_id(quota: ProjectQuota) -> str | None:
    """Only a limit of the project's own has an id here."""
    return NOT_APPLICABLE if quota.limit_id is None and quota.origin in ("default", "missing") else None


def _free(quota: ProjectQuota) -> str | None:
    return NOT_APPLICABLE if quota.free is None and (quota.limit == -1 or quota.origin == "missing") else None


def _origin(quota: ProjectQuota) -> str | None:
    return f"missing: {quota.missing_means or 'unknown'}" if quota.origin == "missing" else None


def _progress(migration: Migration) -> str | None:
    if migration.progress is not None:
        return f"{migration.progress} %"
    return None if migration.running else NOT_APPLICABLE


def _downtime(migration: Migration) -> str | None:
    return NOT_APPLICABLE if migration.downtime_ms is None and migration.running else None


def _server_host(server: VgpuServer) -> str | None:
    nowhere = server.host is None and server.status in ("SHELVED_OFFLOADED", "BUILD", "ERROR")
    return NOT_APPLICABLE if nowhere else None


def _type_names(gpu: PhysicalGpu) -> list[str]:
    """From the smallest on: libvirt lists them in an order of its own, another one at each start."""
    return [t.type_name or t.type_id for t in sorted(gpu.types, key=lambda t: (t.framebuffer_mib or 0, t.type_id))]


def _inventories(provider: Provider) -> dict[str, dict[str, Any]] | None:
    if provider.inventories is None:
        return None
    out = {}
    for inventory in provider.inventories:
        fields = msgspec.to_builtins(inventory)
        out[fields.pop("resource_class")] = fields
    return out


def _used(provider: Provider) -> dict[str, int] | None:
    if provider.allocations is None:
        return None
    used = {i.resource_class: 0 for i in provider.inventories or ()}
    for allocation in provider.allocations:
        for name, amount in allocation.resources.items():
            used[name] = used.get(name, 0) + amount
    return used


def _show_inventories(provider: Provider) -> str | None:
    if provider.inventories is None:
        return None
    words = (
        f"{i.resource_class} {i.total}" + (f" ({i.reserved} reserved)" if i.reserved else "")
        for i in provider.inventories
    )
    return ", ".join(words) or NOT_APPLICABLE


def _show_used(provider: Provider) -> str | None:
    used = _used(provider)
    return None if used is None else ", ".join(f"{name} {n}" for name, n in used.items()) or NOT_APPLICABLE


def _show_device(provider: Provider) -> str | None:
    return NOT_APPLICABLE if provider.device is None and provider.parent_uuid is None else None


def _show_gpu(provider: Provider) -> str | None:
    return NOT_APPLICABLE if provider.gpu is None and provider.parent_uuid is None else None


def _show_parent(provider: Provider) -> str | None:
    return NOT_APPLICABLE if provider.parent_uuid is None else None


# --- why a view is empty ----------------------------------------------------------------------------------------------


def _hosts_without(snapshot: Snapshot) -> str:
    """The first reason in the chain from the cloud to a device: no host, hosts unread, no GPU in them."""
    if not snapshot.hosts:
        return "no compute host is known: Nova lists no hypervisor, and the configuration names none under [hosts]"
    unknown = [h.name for h in snapshot.hosts if h.gpus is None]
    if len(unknown) == len(snapshot.hosts):
        return f"the GPUs of all {len(unknown)} hosts are unknown: neither libvirt nor SSH has answered"
    if not any(h.gpus for h in snapshot.hosts):
        rest = f"; those of {len(unknown)} more are unknown" if unknown else ""
        return f"none of the {len(snapshot.hosts) - len(unknown)} hosts that answered has a GPU for vGPUs{rest}"
    return ""


def _no_types(snapshot: Snapshot) -> str:
    return _hosts_without(snapshot) or (
        "no GPU offers a vGPU type: is NVIDIA's vGPU host driver loaded, and are the virtual functions enabled "
        "(sriov-manage -e)?"
    )


def _no_mdevs(snapshot: Snapshot) -> str:
    return _hosts_without(snapshot) or "none has been created: Nova creates one when a server first needs it"


def _no_servers(snapshot: Snapshot) -> str:
    return "no server has a flavor with resources:VGPU, or holds a vGPU"


def _no_quota(snapshot: Snapshot) -> str:
    return "Keystone has no registered or project limit for a vGPU resource, and no project uses one"


def _no_migrations(snapshot: Snapshot) -> str:
    return "Nova lists no live migration"


def _no_providers(snapshot: Snapshot) -> str:
    return (
        "no resource provider has an inventory of vGPUs: does nova.conf name a type under [devices] "
        "enabled_mdev_types, and has nova-compute been restarted since?"
    )


# --- the views --------------------------------------------------------------------------------------------------------

_HOSTS = View(
    "hosts",
    "hosts",
    (
        column("name"),
        column("service_state", table=False),
        column("service_status", table=False),
        _table_only("state", _host_state),
        Column("gpus", lambda h: None if h.gpus is None else len(h.gpus), right=True),
        _number("vfs_enabled", show=_host_vfs, table=False),
        _number("vfs_total", show=_host_vfs, table=False),
        _table_only("vfs", _host_vfs_of_all, 1, right=True),
        _number("mdevs_created", 4),
        _number("mdevs_used", table=False),
        _number("mdevs_max", table=False),
        _table_only("used/max", lambda h: _of(h.mdevs_used, h.mdevs_max), right=True),
        column("driver", 1),
        column("kernel", 3),
        column("libvirt", 5),
        column("qemu", 6),
        Column("findings", lambda h: len(h.findings), right=True),
    ),
    view_filters.hosts,
    EVERYTHING,
    _hosts_without,
)

_GPUS = View(
    "gpus",
    "GPUs",
    (
        column("host"),
        column("address"),
        column("model"),
        column("mechanism", 1),
        _number("vfs_enabled", show=_vfs, table=False),
        _number("vfs_total", show=_vfs, table=False),
        _table_only("vfs", lambda g: _vfs(g) or _of(g.vfs_enabled, g.vfs_total), right=True),
        Column("types", _type_names),
    ),
    view_filters.gpus,
    DEVICES,
    _hosts_without,
)

_TYPES = View(
    "types",
    "vGPU types",
    (
        column("host"),
        column("gpu"),
        column("type_id", 3),
        column("type_name"),
        _number("framebuffer_mib", 4),
        _number("max"),
        column("max_source", 2),
        _number("created", 1),
        _number("used"),
        _number("available"),
    ),
    view_filters.types,
    DEVICES,
    _no_types,
)

_MDEVS = View(
    "mdevs",
    "mediated devices",
    (
        column("uuid", show=_vfio_has_none("uuid")),
        column("host"),
        column("parent"),
        column("gpu", 5),
        column("type_id", 4),
        column("type_name", 1),
        column("state", 3),
        column("autostart", 6, show=_vfio_has_none("autostart")),
        column("server_id", show=_if_used("server_id"), table=False),
        column("server", show=_mdev_server),
        column("project_id", show=_if_used("project_id"), table=False),
        column("project", 2, show=_mdev_project),
    ),
    view_filters.mdevs,
    EVERYTHING,
    _no_mdevs,
)

_SERVERS = View(
    "servers",
    "servers with vGPUs",
    (
        column("id", 1),
        column("name"),
        column("project_id", table=False),
        column("project", show=_project),
        column("host", show=_server_host),
        column("status"),
        _number("vgpus"),
    ),
    view_filters.servers,
    OPENSTACK,
    _no_servers,
)

_QUOTA = View(
    "quota",
    "vGPU quotas",
    (
        column("project_id", table=False),
        column("project", show=_project),
        column("resource"),
        _number("limit", show=_limit),
        column("origin", show=_origin),
        _number("used"),
        column("limit_id", show=_limit_id, table=False),
        _number("default", 2, show=_default),
        _number("used_by_instances", table=False),
        _number("used_by_migrations", table=False),
        _number("leaked", 1),
        _number("free", show=_free),
    ),
    view_filters.quota,
    OPENSTACK,
    _no_quota,
    use_only=True,
)

_MIGRATIONS = View(
    "migrations",
    "migrations",
    (
        column("uuid", 1),
        column("server_id", table=False),
        _table_only("server", lambda m: m.server or m.server_id),
        column("source"),
        column("destination"),
        column("status"),
        _number("progress", show=_progress),
        _number("downtime_ms", 2, show=_downtime),
    ),
    view_filters.migrations,
    frozenset({"keystone", "nova"}),
    _no_migrations,
)

_PROVIDERS = View(
    "providers",
    "resource providers",
    (
        column("uuid"),
        column("name", 1),
        column("host"),
        column("device", show=_show_device),
        column("gpu", 4, show=_show_gpu),
        _number("generation", 3),
        Column("inventories", _inventories, show=_show_inventories),
        Column("used", _used, show=_show_used),
        column("traits", 2),
        column("parent_uuid", show=_show_parent, table=False),
    ),
    view_filters.providers,
    DEVICES,
    _no_providers,
)

VIEWS: dict[str, View] = {v.name: v for v in (_HOSTS, _GPUS, _TYPES, _MDEVS, _SERVERS, _QUOTA, _MIGRATIONS, _PROVIDERS)}
"""Every view by its name, in the order of the help."""


def empty_reason(view: View, snapshot: Snapshot, filters: Filters) -> str:
    """Why a view has no rows, as one line: nobody could say, the filter kept none, or the fleet has none and why."""
    failed = relevant_errors(view, snapshot, filters)
    if failed:
        return f"{view.noun}: unknown, for want of an answer from {', '.join(status.key for status in failed[:5])}"
    if filters and (unfiltered := view.rows(snapshot, Filters())):
        return f"no {view.noun}: none of {len(unfiltered)} matches the filter"
    return f"no {view.noun}: {view.empty(snapshot)}"
