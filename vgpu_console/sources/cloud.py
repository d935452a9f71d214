"""The connection to one OpenStack cloud: authenticated reads with negotiated microversions, through a wall.

Requests are plain GETs rather than openstacksdk's resource objects: they take any field a service may leave out, and
cost a fraction of the time. Two scopes of one credential are kept, because Nova and Placement take project-scoped
tokens only, while limits of all projects were, before Keystone 29 (2026.1), shown to system-scoped tokens only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from keystoneauth1.access import AccessInfo
from keystoneauth1.exceptions import EmptyCatalog, EndpointNotFound
from keystoneauth1.identity import BaseIdentityPlugin

from vgpu_console.model.facts import CloudIdentity
from vgpu_console.sources import cloud_errors
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud_auth import CloudSpec, Credential, open_credential
from vgpu_console.sources.cloud_errors import NAMES, HttpStatusError, Where
from vgpu_console.sources.cloud_session import Gate, LoggedHttp, WallSession, counting, guard_plugin, quiet_libraries
from vgpu_console.sources.tolerant import decode_object, mapping
from vgpu_console.text import plain

__all__ = ["Answer", "CloudConnection", "CloudSpec", "HttpStatusError", "LimitsView", "counting"]

_SILENT_MAX = {"compute": "2.87", "placement": "1.36"}
"""What to speak to a service whose version document a proxy hides: every release that is still supported knows it."""


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


class _Endpoint(NamedTuple):
    url: str
    max_microversion: str | None


class _Scope:
    """One credential with its session and the endpoints it sees. Safe for several threads."""

    def __init__(
        self,
        credential: Credential,
        *,
        http: LoggedHttp,
        gate: Gate,
        read_only: bool,
        timeout_s: float,
        discovered: dict[str, Any],
    ) -> None:
        self.credential = credential
        self._gate = gate
        configured = credential.setting("api_timeout")
        self.timeout_s = float(configured) if isinstance(configured, int | float) and configured else timeout_s
        verify = credential.setting("verify")
        guard_plugin(credential.plugin, gate)
        self.session = WallSession(
            http=http,
            gate=gate,
            read_only=read_only,
            auth=credential.plugin,
            verify=True if verify is None else verify,
            cert=credential.setting("cert"),
            timeout=self.timeout_s,
            app_name="vgpu-console",
            discovery_cache=discovered,
        )
        self._lock = threading.Lock()
        self._endpoints: dict[str, _Endpoint] = {}

    def guarded(self, service: str, call: Callable[[], Any]) -> Any:
        """Run a call into keystoneauth; whatever it raises becomes a SourceError."""
        self._gate.last = None
        try:
            return call()
        except SourceError:
            raise
        except Exception as exc:  # keystoneauth and its plugins let any exception through on a malformed token
            raise cloud_errors.from_exception(exc, self.where(service, login=True), self.secrets) from exc

    def where(self, service: str, login: bool = False) -> Where:
        """What this thread last talked to."""
        last = self._gate.last
        if last is None:
            return Where(service, cloud_errors.netloc_of(self.credential.auth_url) if login else "")
        token = last.method == "POST" or "/auth/" in last.path
        return last._replace(service="identity" if token else service, timeout_s=self.timeout_s)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no message may hold."""
        return self.credential.secrets

    def access(self) -> AccessInfo | None:
        """The token's data; None for auth types that have no token (none, http_basic, admin_token)."""
        plugin = self.credential.plugin
        if not isinstance(plugin, BaseIdentityPlugin):
            return None
        access: AccessInfo = self.guarded("identity", lambda: plugin.get_access(self.session))
        return access

    def kind(self) -> str:
        """The scope of the token: "system", "project", "domain", "" when it has none."""
        access = self.access()
        if access is None:
            return ""
        if access.system_scoped:
            return "system"
        if access.project_scoped:
            return "project"
        return "domain" if access.domain_scoped else ""

    def endpoint(self, service: str) -> _Endpoint:
        """Address and newest microversion of a service, found once."""
        with self._lock:
            known = self._endpoints.get(service)
        if known is not None:
            return known
        url = self._catalogue_url(service)
        found = _Endpoint(_keystone_v3(url), None) if service == "identity" else self._discover(service, url)
        with self._lock:
            self._endpoints[service] = found
        return found

    def _catalogue_url(self, service: str) -> str:
        credential = self.credential
        override = credential.endpoint_override(service)
        if override:
            access = self.access() if "%(" in override else None
            return override.replace("%(project_id)s", (access.project_id if access else None) or "")
        interface = credential.setting("interface", service) or "public"
        where = {
            "service_type": credential.setting("service_type", service) or service,
            "interface": interface,
            "region_name": credential.setting("region_name", service) or credential.region or None,
            "service_name": credential.setting("service_name", service),
        }
        access = self.access()
        if access is None:
            url = self.guarded(service, lambda: credential.plugin.get_endpoint(self.session, **where))
        else:
            try:
                url = access.service_catalog.url_for(**where) if access.has_service_catalog() else None
            except (EndpointNotFound, EmptyCatalog):
                url = None
            if not url and service == "identity":
                url = credential.auth_url  # domain-scoped and unscoped tokens may come without a catalogue
            if not url:
                raise SourceError("unavailable", _no_endpoint(access, service, where))
        if not url:
            raise SourceError("unavailable", f"no address is known for {NAMES.get(service, service)}")
        return str(url)

    def _discover(self, service: str, catalogue_url: str) -> _Endpoint:
        """The version document decides what may be spoken; the address stays the catalogue's.

        Links in that document often name an inner host when a proxy stands before the service, so they are not used.
        """
        url = catalogue_url.rstrip("/")
        document = url
        if service == "compute":
            parts = urlsplit(url)
            base, found, _rest = parts.path.partition("/v2")
            if not found:
                url = url + "/v2.1"
            elif "/v2.1" not in parts.path:  # the long gone v2 API, with a project in its path
                url = urlunsplit(parts._replace(path=base + "/v2.1"))
            document = urlunsplit(parts._replace(path=base + "/v2.1"))
        response = self.send(service, "GET", document + "/", authenticated=None)
        if response.status_code in (401, 403) or response.status_code >= 500:
            raise self.status_error(service, response)
        try:
            newest = _newest(decode_object(response.content))
        except ValueError:
            newest = None
        return _Endpoint(url, newest)

    def send(self, service: str, method: str, url: str, **kwargs: Any) -> requests.Response:
        """One exchange; any status comes back. Raises SourceError."""
        response: requests.Response = self.guarded(
            service, lambda: self.session.request(url, method, raise_exc=False, log=False, **kwargs)
        )
        return response

    def status_error(self, service: str, response: requests.Response) -> HttpStatusError:
        """The error for an answer that is no success."""
        scope = self.kind() if response.status_code == 403 else ""
        url = urlsplit(str(response.request.url))
        path = url.path.removeprefix(urlsplit(self._endpoints[service].url).path) if service in self._endpoints else ""
        where = Where(
            service, cloud_errors.netloc_of(url.geturl()), response.request.method or "", plain(path or url.path, 120)
        )
        content_type = response.headers.get("Content-Type", "")
        return cloud_errors.from_status(
            where, response.status_code, response.content, content_type, scope=scope, secrets=self.secrets
        )


def _keystone_v3(url: str) -> str:
    url = url.rstrip("/")
    if url.endswith("/v3"):
        return url
    return url.removesuffix("/v2.0") + "/v3"


def _newest(document: dict[str, Any]) -> str | None:
    """The newest microversion in a version document: of v2.1 for Nova, of v1.0 for Placement."""
    versions = document.get("versions")
    candidates = [mapping(document, "version"), *(versions if isinstance(versions, list) else [])]
    newest = None
    for one in candidates:
        if isinstance(one, dict):
            value = one.get("max_version") or one.get("version")
            if isinstance(value, str) and _order(value) > _order(newest or "0.0"):
                newest = value
    return newest


def _order(microversion: str) -> tuple[int, int]:
    major, _, minor = microversion.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


def _no_endpoint(access: AccessInfo, service: str, where: dict[str, Any]) -> str:
    catalogue = access.service_catalog.catalog if access.has_service_catalog() else []
    region = f" in region '{plain(where['region_name'], 80)}'" if where["region_name"] else ""
    line = f"the catalogue has no {plain(where['interface'], 40)} endpoint for {service}{region}"
    entries = [e for e in catalogue if isinstance(e, dict) and e.get("type") == where["service_type"]]
    there = {
        f"{endpoint.get('region') or endpoint.get('region_id')} ({endpoint.get('interface')})"
        for entry in entries
        for endpoint in entry.get("endpoints") or []
        if isinstance(endpoint, dict)
    }
    if there:
        return f"{line}; there are: {plain(', '.join(sorted(there)), 200)}"
    types = sorted({str(e.get("type")) for e in catalogue if isinstance(e, dict)})
    return f"{line}; it has: {plain(', '.join(types), 200) or 'nothing'}"


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
        self._main: _Scope | None = None
        self._limits: _Scope | None = None
        self._limits_note = ""

    # -- requests ----------------------------------------------------------------------------------------------------

    def get(
        self, service: str, path: str, *, params: dict[str, Any] | None = None, microversion: str | None = None
    ) -> dict[str, Any]:
        """The JSON object at ``path`` of "compute", "placement", "identity" or "limits" (Keystone, limits' scope).

        ``microversion`` is the newest one that is of use; the cloud's own maximum bounds it. Raises SourceError only.
        """
        return self.answer(service, path, params=params, microversion=microversion).object()

    def answer(
        self, service: str, path: str, *, params: dict[str, Any] | None = None, microversion: str | None = None
    ) -> Answer:
        """As :meth:`get`, not decoded: for large answers and for the Date header."""
        return self.request("GET", service, path, params=params, microversion=microversion)

    def request(
        self,
        method: str,
        service: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        microversion: str | None = None,
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
        endpoint = scope.endpoint(api)
        if microversion is not None:
            kwargs["microversion"] = _at_most(api, microversion, endpoint)
            kwargs["microversion_service_type"] = api
        response = scope.send(api, method, endpoint.url + path, **kwargs)
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
        return _at_most(service, wanted, self._scope(service).endpoint(service))

    def max_microversion(self, service: str) -> str:
        """The newest microversion of the cloud's service; empty when its version document does not say."""
        return self._scope(service).endpoint(service).max_microversion or ""

    # -- scopes ------------------------------------------------------------------------------------------------------

    def _scope(self, service: str) -> _Scope:
        with self._lock:
            if self._main is None:
                self._main = self._open(open_credential(self.spec))
            if service != "limits":
                return self._main
            if self._limits is None:
                self._limits, self._limits_note = self._find_limits_scope(self._main)
            return self._limits

    def _open(self, credential: Credential) -> _Scope:
        return _Scope(
            credential,
            http=self._http,
            gate=self._gate,
            read_only=self.read_only,
            timeout_s=self._timeout_s,
            discovered=self._discovered,
        )

    def _find_limits_scope(self, main: _Scope) -> tuple[_Scope, str]:
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
        second = _scope_words(limits.access()) if limits is not None and limits is not main else ""
        return CloudIdentity(
            cloud=main.credential.cloud,
            region=plain(main.credential.region or _only_region(access), 255),
            user=plain((access.username if access else None) or main.credential.user, 255),
            scope=_scope_words(access),
            limits_scope=second,
            read_only=self.read_only,
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


def _at_most(service: str, wanted: str, endpoint: _Endpoint) -> str:
    newest = endpoint.max_microversion or _SILENT_MAX.get(service, wanted)
    return wanted if _order(wanted) <= _order(newest) else newest


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
