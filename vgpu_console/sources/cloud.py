"""The connection to one OpenStack cloud: authenticated reads with negotiated microversions, through a wall.

Requests are plain GETs rather than openstacksdk's resource objects: they take any field a service may leave out, and
cost a fraction of the time. Two scopes of one credential are kept, because Nova and Placement take project-scoped
tokens only, while limits of all projects were, before Keystone 29 (2026.1), shown to system-scoped tokens only.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import requests
from keystoneauth1.access import AccessInfo

from vgpu_console.model.facts import CloudIdentity
from vgpu_console.sources import cloud_errors
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud_auth import CloudSpec, Credential, open_credential
from vgpu_console.sources.cloud_errors import HttpStatusError, Where
from vgpu_console.sources.cloud_scope import Scope, at_most
from vgpu_console.sources.cloud_session import Gate, LoggedHttp, counting, quiet_libraries
from vgpu_console.sources.tolerant import decode_object
from vgpu_console.text import plain

__all__ = ["Answer", "CloudConnection", "CloudSpec", "HttpStatusError", "LimitsView", "counting"]


class Answer(NamedTuple):
    """A successful answer, not decoded yet."""

    content: bytes
    content_type: str
    date: str | None  # the Date header: the service's own clock
    where: Where

    def object(self) -> dict[str, Any]:
        """The JSON object in it. Raises SourceError("protocol")."""
        if cloud_errors.is_html(self.content, self.content_type):
            page = cloud_errors.server_says(self.content, self.content_type)
            raise SourceError("protocol", f"{self.where} answered {page} instead of JSON: is there a proxy in between?")
        try:
            return decode_object(self.content)
        except ValueError as exc:
            raise SourceError("protocol", f"{self.where} answered {self.where.path} with {exc}") from None


class LimitsView(NamedTuple):
    """With which eyes limits are read."""

    scope: str  # "system", "project", "domain" or "" (unknown)
    project_id: str | None  # the project of that token
    admin: bool  # that token has a role that Keystone 29 and later shows all limits to
    separate: bool  # it is another scope than the one for everything else
    note: str  # why it is not the system scope, "" where there is nothing to say


class CloudConnection:
    """Reads from (and, unless read-only, requests to) one cloud. Safe for several threads at once.

    ``http`` is the seam: a requests session whose mounted adapters answer instead of the network. Nothing is sent
    before the first call. ``timeout_s`` bounds each wait for bytes.
    """

    def __init__(
        self, spec: CloudSpec, *, read_only: bool, timeout_s: float = 30.0, http: requests.Session | None = None
    ) -> None:
        quiet_libraries()
        self.spec = spec
        self.read_only = read_only
        self._timeout_s = timeout_s
        self._gate = Gate()
        self._http = LoggedHttp(self._gate, read_only=read_only, http=http)
        self._lock = threading.RLock()
        self._discovered: dict[str, Any] = {}  # Keystone's version document, read once for both scopes
        self._main: Scope | None = None
        self._limits: Scope | None = None
        self._limits_note = ""

    # -- requests ----------------------------------------------------------------------------------------------------

    def get(
        self,
        service: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        microversion: str | None = None,
        discover: bool = True,
    ) -> dict[str, Any]:
        """The JSON object at ``path`` of "compute", "placement", "identity" or "limits" (Keystone, limits' scope).

        ``microversion`` is the newest one that is of use; the cloud's own maximum bounds it, unless ``discover`` is
        False: then it must be one that every cloud speaks, and is not asked about. Raises SourceError only.
        """
        return self.answer(service, path, params=params, microversion=microversion, discover=discover).object()

    def answer(
        self,
        service: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        microversion: str | None = None,
        discover: bool = True,
    ) -> Answer:
        """As :meth:`get`, not decoded: for large answers and for the Date header."""
        return self.request("GET", service, path, params=params, microversion=microversion, discover=discover)

    def request(
        self,
        method: str,
        service: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        microversion: str | None = None,
        discover: bool = True,
    ) -> Answer:
        """One request. Raises Refused at the wall, HttpStatusError for any status but 2xx, SourceError otherwise."""
        scope = self._scope(service)
        api = "identity" if service == "limits" else service
        if self.read_only and method not in ("GET", "HEAD"):
            scope.session.request(path, method)  # refuses, before the catalogue is asked
        kwargs: dict[str, Any] = {"headers": {"Accept": "application/json"}}
        if params:
            kwargs["params"] = params
        if json is not None:
            kwargs["json"] = json
        url = scope.endpoint(api).url if discover else scope.address(api)
        if microversion is not None:
            kwargs["microversion"] = at_most(api, microversion, scope.endpoint(api)) if discover else microversion
            kwargs["microversion_service_type"] = api
        response = scope.send(api, method, url + path, **kwargs)
        if not 200 <= response.status_code < 300:
            raise scope.status_error(api, response)
        return Answer(
            response.content,
            response.headers.get("Content-Type", ""),
            response.headers.get("Date"),
            Where(api, cloud_errors.netloc_of(response.url), method, plain(path, 120)),
        )

    def microversion(self, service: str, wanted: str) -> str:
        """The microversion that will be spoken: ``wanted``, or less where the cloud is older."""
        return at_most(service, wanted, self._scope(service).endpoint(service))

    def max_microversion(self, service: str) -> str:
        """The newest microversion of the cloud's service; empty when its version document does not say."""
        return self._scope(service).endpoint(service).max_microversion or ""

    def catalogue(self) -> list[dict[str, Any]]:
        """The service catalogue that came with the project's token, as Keystone wrote it; empty where there is none.

        It names the services and endpoints that this credential may see, disabled ones left out. Raises SourceError.
        """
        access = self._scope("identity").access()
        if access is None or not access.has_service_catalog():
            return []
        return [entry for entry in access.service_catalog.catalog or [] if isinstance(entry, dict)]

    # -- scopes ------------------------------------------------------------------------------------------------------

    def _scope(self, service: str) -> Scope:
        with self._lock:
            if self._main is None:
                self._main = self._open(open_credential(self.spec))
            if service != "limits":
                return self._main
            if self._limits is None:
                self._limits, self._limits_note = self._find_limits_scope(self._main)
            return self._limits

    def _open(self, credential: Credential) -> Scope:
        return Scope(
            credential,
            http=self._http,
            gate=self._gate,
            read_only=self.read_only,
            timeout_s=self._timeout_s,
            discovered=self._discovered,
        )

    def _find_limits_scope(self, main: Scope) -> tuple[Scope, str]:
        """The scope to read limits with, and why it is not the system's. A refusal is remembered, an outage is not."""
        if self.spec.limits_cloud:
            return self._open(open_credential(self.spec, cloud=self.spec.limits_cloud)), ""
        if main.kind() in ("system", ""):
            return main, ""
        credential = main.credential.system_scoped()
        if credential is None:
            return main, "this kind of credential cannot be given the system scope"
        scope = self._open(credential)
        try:
            scope.access()
        except SourceError as exc:
            if exc.kind not in ("auth", "forbidden"):
                raise
            return main, "the user has no role on the system"
        return scope, ""

    def limits_view(self) -> LimitsView:
        """With which scope limits are read. May log in; raises SourceError."""
        scope = self._scope("limits")
        access = scope.access()
        roles = {str(r).lower() for r in (access.role_names if access else None) or []}
        return LimitsView(
            scope=scope.kind(),
            project_id=access.project_id if access else None,
            admin=bool(roles & {"admin", "service"}),
            separate=scope is not self._main,
            note=self._limits_note,
        )

    def identity(self) -> CloudIdentity:
        """Who is looking, at which cloud, with which scope. Logs in when that has not happened; raises SourceError."""
        main = self._scope("identity")
        access = main.access()
        with self._lock:
            limits = self._limits
        separate = limits is not None and limits is not main
        limits_access = limits.access() if limits is not None and separate else access
        return CloudIdentity(
            cloud=main.credential.cloud,
            region=plain(main.credential.region or _only_region(access), 255),
            user=plain((access.username if access else None) or main.credential.user, 255),
            scope=_scope_words(access),
            limits_scope=_scope_words(limits_access) if separate else "",
            read_only=self.read_only,
            roles=_roles(access),
            limits_roles=_roles(limits_access),
        )

    # -- counting and closing ----------------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        """HTTP requests since the start or the last :meth:`reset_requests`, token and discovery included."""
        return self._http.total.count

    def reset_requests(self) -> None:
        """Start counting anew."""
        self._http.total.count = 0

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _scope_words(access: AccessInfo | None) -> str:
    if access is None:
        return ""
    if access.system_scoped:
        return "system all"
    if access.project_scoped:
        return f"{plain(access.project_name or access.project_id, 255)} (project)"
    if access.domain_scoped:
        return f"{plain(access.domain_name or access.domain_id, 255)} (domain)"
    return "unscoped"


def _roles(access: AccessInfo | None) -> tuple[str, ...]:
    """The role names in a token, sorted."""
    return tuple(sorted({plain(role, 255) for role in (access.role_names if access else None) or []}))


def _only_region(access: AccessInfo | None) -> str:
    """The region of the catalogue's compute endpoints, when there is just one."""
    if access is None or not access.has_service_catalog():
        return ""
    found = {
        str(endpoint.get("region") or endpoint.get("region_id") or "")
        for entry in access.service_catalog.catalog
        if isinstance(entry, dict) and entry.get("type") == "compute"
        for endpoint in entry.get("endpoints") or []
        if isinstance(endpoint, dict)
    }
    return found.pop() if len(found) == 1 else ""
