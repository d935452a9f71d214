"""The lab's own knobs over HTTP, on loopback and without authentication: what is true below Nova, and what goes wrong.

GET  /hosts                             hosts with their GPUs, devices and domains
GET  /hosts/H/nodedevs                  every node device: name, capability, state and XML
GET  /hosts/H/domains                   every domain: name, uuid, state and XML
POST /hosts/H/stop | start              the host's nova-compute dies, comes back
POST /hosts/H/update                    Nova reports its resources now, not at the next period
POST /hosts/H/mdevs                     {"parent", "type", "uuid"?, "defined"?}: a device behind Nova's back
POST /hosts/H/mdevs/UUID/ACTION         start, define, destroy or undefine it
GET  /migration, POST /migration        {"seconds", "mode": ok|fail|hang, "raise"}
GET  /faults, POST /faults              {"service", "mode", "seconds", "path"}; see faults.py
POST /tokens                            {"seconds"}: life of the tokens given out from now on
GET  /quota, POST /quota                {"driver", "unified_limits_resource_strategy", "unified_limits_resource_list"}:
                                        [quota] of nova.conf, and Nova as it would be after a restart
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import nova.conf

from cloudlab import gpu_libvirt
from cloudlab.computes import Computes
from cloudlab.config_files import change_nova
from cloudlab.faults import Faults
from cloudlab.gpu_hardware import GpuHost
from cloudlab.gpu_xml import function_xml, mdev_xml
from cloudlab.settings import Settings

CONF = nova.conf.CONF
Handler = Callable[..., Any]

_QUOTA_OPTIONS = ("driver", "unified_limits_resource_strategy", "unified_limits_resource_list")


class Control:
    """The WSGI application of the control port."""

    def __init__(self, settings: Settings, computes: Computes) -> None:
        self._settings = settings
        self._faults = Faults(settings)
        self._computes = computes
        host = r"/hosts/(?P<host>[^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            ("GET", re.compile(r"/hosts"), self._hosts),
            ("GET", re.compile(host + "/nodedevs"), self._nodedevs),
            ("GET", re.compile(host + "/domains"), self._domains),
            ("POST", re.compile(host + "/stop"), self._stop),
            ("POST", re.compile(host + "/start"), self._start),
            ("POST", re.compile(host + "/update"), self._update),
            ("POST", re.compile(host + "/mdevs"), self._make_mdev),
            ("POST", re.compile(host + r"/mdevs/(?P<uuid>[^/]+)/(?P<action>\w+)"), self._mdev_action),
            ("GET", re.compile("/migration"), self._migration),
            ("POST", re.compile("/migration"), self._migration),
            ("GET", re.compile("/faults"), self._faults.all),
            ("POST", re.compile("/faults"), self._faults.set),
            ("POST", re.compile("/tokens"), self._tokens),
            ("GET", re.compile("/quota"), self._quota),
            ("POST", re.compile("/quota"), self._quota),
        ]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request: 404 for an unknown path or host, 409 with the reason when it cannot be done."""
        status, answer = self._answer(environ)
        body = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, Any]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = json.loads(environ["wsgi.input"].read(length)) if length else {}
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(environ["PATH_INFO"])
            if not match or method != environ["REQUEST_METHOD"]:
                continue
            if match.groupdict().get("host") not in (None, *gpu_libvirt.connections):
                return "404 Not Found", {"error": "no such host"}
            try:
                return "200 OK", handler(**match.groupdict(), **body)
            except Exception as error:
                return "409 Conflict", {"error": str(error), "kind": type(error).__name__}
        return "404 Not Found", {"error": "no such knob"}

    def _hosts(self) -> dict[str, Any]:
        return {name: self._summary(name) for name in sorted(gpu_libvirt.connections)}

    def _summary(self, name: str) -> dict[str, Any]:
        connection = gpu_libvirt.connections[name]
        host = connection.gpu_host
        return {
            "up": self._computes.is_up(name),
            "gpus": [
                {
                    "address": function.address,
                    "product_id": function.model.product_id,
                    "product": function.model.product,
                    "marketing_name": function.model.marketing_name,
                    "numa_node": function.numa_node,
                    "virtual_functions": function.virtual_functions,
                    "total_vfs": function.model.total_vfs,
                    "enabled_type": function.model.enabled_type,
                }
                for function in host.functions.values()
                if not function.is_virtual
            ],
            "mdevs": [_mdev_row(host, uuid) for uuid in list(host.mdevs)],
            "domains": sorted(connection._vms),
            "types": self._types(host),
        }

    @staticmethod
    def _types(host: GpuHost) -> list[dict[str, Any]]:
        """Each type on each function that offers it, as the driver's sysfs files have it."""
        return [
            {
                "address": function.address,
                "id": kind.id,
                "name": kind.name,
                "framebuffer_mib": kind.framebuffer_mib,
                "max_instances": kind.max_instances,
                "available": host.available(function, kind),
            }
            for function in host.functions.values()
            if function.carries_mdevs
            for kind in function.model.types
        ]

    def _nodedevs(self, host: str) -> list[dict[str, Any]]:
        gpus = gpu_libvirt.connections[host].gpu_host
        pci = [
            {"name": one.name, "capability": "pci", "mdev_types": one.carries_mdevs, "xml": function_xml(gpus, one)}
            for one in gpus.functions.values()
        ]
        mdevs = [
            {**_mdev_row(gpus, mdev.uuid), "name": mdev.name, "capability": "mdev", "xml": mdev_xml(gpus, mdev)}
            for mdev in list(gpus.mdevs.values())
        ]
        return pci + mdevs

    def _domains(self, host: str) -> list[dict[str, Any]]:
        return [
            {
                "name": domain.name(),
                "uuid": domain.UUIDString(),
                "active": bool(domain.isActive()),
                "xml": domain.XMLDesc(0),
            }
            for domain in gpu_libvirt.connections[host].listAllDomains()
        ]

    def _stop(self, host: str) -> dict[str, Any]:
        self._computes.stop(host)
        return self._summary(host)

    def _start(self, host: str) -> dict[str, Any]:
        self._computes.start(host)
        return self._summary(host)

    def _update(self, host: str) -> dict[str, Any]:
        self._computes.update(host)
        return self._summary(host)

    def _make_mdev(
        self, host: str, parent: str, type: str, uuid: str | None = None, defined: bool = False
    ) -> dict[str, Any]:
        gpus = gpu_libvirt.connections[host].gpu_host
        make = gpus.define if defined else gpus.create
        return _mdev_row(gpus, make(parent, type, uuid).uuid)

    def _mdev_action(self, host: str, uuid: str, action: str) -> dict[str, Any]:
        gpus = gpu_libvirt.connections[host].gpu_host
        if action == "define":
            gpus.define(gpus.mdevs[uuid].parent, gpus.mdevs[uuid].type_id, uuid)
        else:
            actions = {"start": gpus.start, "destroy": gpus.destroy, "undefine": gpus.undefine}
            actions[action](uuid)
        return _mdev_row(gpus, uuid)

    @staticmethod
    def _migration(**values: Any) -> dict[str, Any]:
        unknown = set(values) - set(gpu_libvirt.migration)
        if unknown or values.get("mode", "ok") not in ("ok", "fail", "hang"):
            raise ValueError(f"not a migration knob: {values}")
        gpu_libvirt.migration.update(values)
        return gpu_libvirt.migration

    def _tokens(self, seconds: int | None = None) -> dict[str, Any]:
        return self._faults.set("tokens", **({} if seconds is None else {"seconds": seconds}))

    def _quota(self, **values: str) -> dict[str, str]:
        """Both drivers are Nova's own; it asks its configuration at each request which of them to use."""
        unknown = set(values) - set(_QUOTA_OPTIONS)
        if unknown:
            raise ValueError(f"not an option of [quota] that can be turned here: {unknown}")
        change_nova(self._settings, "quota", values)
        for name, value in values.items():
            CONF.set_override(name, value.split(",") if name.endswith("_list") else value, "quota")
        now = {name: CONF.quota[name] for name in _QUOTA_OPTIONS}
        return {name: ",".join(value) if isinstance(value, list) else value for name, value in now.items()}


def _mdev_row(host: GpuHost, uuid: str) -> dict[str, Any]:
    mdev = host.mdevs.get(uuid)
    if mdev is None:
        return {"uuid": uuid, "gone": True}
    return {
        "uuid": mdev.uuid,
        "type": mdev.type_id,
        "parent": mdev.parent,
        "active": mdev.active,
        "persistent": mdev.persistent,
        "autostart": mdev.autostart,
    }
