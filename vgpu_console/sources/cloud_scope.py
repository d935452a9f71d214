"""One credential at work: its session, its token, and the addresses and microversions of the services it sees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from keystoneauth1.access import AccessInfo
from keystoneauth1.exceptions import EmptyCatalog, EndpointNotFound
from keystoneauth1.identity import BaseIdentityPlugin

from vgpu_console.sources import cloud_errors
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud_auth import Credential
from vgpu_console.sources.cloud_errors import NAMES, HttpStatusError, Where
from vgpu_console.sources.cloud_session import Gate, LoggedHttp, WallSession, guard_plugin
from vgpu_console.sources.tolerant import decode_object, mapping
from vgpu_console.text import plain

_SILENT_MAX = {"compute": "2.87", "placement": "1.36"}
"""What to speak to a service whose version document a proxy hides: every release that is still supported knows it."""


class Endpoint(NamedTuple):
    """Where a service is, and the newest microversion it speaks; None where it does not say."""

    url: str
    max_microversion: str | None


class Scope:
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
        self._endpoints: dict[str, Endpoint] = {}
        self._addresses: dict[str, str] = {}  # what was last tried, also where no version document was read

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
        access: AccessInfo = self.guarded("identity", lambda: _sound(plugin, plugin.get_access(self.session)))
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

    def endpoint(self, service: str) -> Endpoint:
        """Address and newest microversion of a service, found once."""
        with self._lock:
            known = self._endpoints.get(service)
        if known is not None:
            return known
        url = self.address(service)
        found = Endpoint(url, None) if service == "identity" else Endpoint(url, self._newest_at(service, url))
        with self._lock:
            self._endpoints[service] = found
        return found

    def address(self, service: str) -> str:
        """Where a service is, by the catalogue alone: nothing is asked of the service itself."""
        with self._lock:
            known = self._endpoints.get(service)
        if known is not None:
            return known.url
        url = self._catalogue_url(service)
        if service == "identity":
            url = _keystone_v3(url)
        elif service == "compute":
            url = _nova_v21(url)
        else:
            url = url.rstrip("/")
        with self._lock:
            self._addresses[service] = url
        return url

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
            url = self.guarded(service, lambda: _from_catalogue(access, where))
            if not url and service == "identity":
                url = credential.auth_url  # domain-scoped and unscoped tokens may come without a catalogue
            if not url:
                raise SourceError("unavailable", _no_endpoint(access, service, where))
        if not url:
            raise SourceError("unavailable", f"no address is known for {NAMES.get(service, service)}")
        return str(url)

    def _newest_at(self, service: str, url: str) -> str | None:
        """The version document decides what may be spoken; the address stays the catalogue's.

        Links in that document often name an inner host when a proxy stands before the service, so they are not used.
        """
        document = url
        if service == "compute":
            parts = urlsplit(url)
            document = urlunsplit(parts._replace(path=parts.path.partition("/v2")[0] + "/v2.1"))
        response = self.send(service, "GET", document + "/", authenticated=None)
        if response.status_code in (401, 403) or response.status_code >= 500:
            raise self.status_error(service, response)
        try:
            return _newest(decode_object(response.content))
        except ValueError:
            return None

    def send(self, service: str, method: str, url: str, **kwargs: Any) -> requests.Response:
        """One exchange; any status comes back. Raises SourceError."""

        def once() -> requests.Response:
            sent: requests.Response = self.session.request(url, method, raise_exc=False, log=False, **kwargs)
            return sent

        response: requests.Response = self.guarded(service, once)
        if response.status_code == 401 and kwargs.get("authenticated", True):
            # of several threads whose token is refused at once, keystoneauth lets one renew it and try again
            access = self.access()
            if access is not None and access.auth_token != response.request.headers.get("X-Auth-Token"):
                response = self.guarded(service, once)
        return response

    def status_error(self, service: str, response: requests.Response) -> HttpStatusError:
        """The error for an answer that is no success."""
        scope = self.kind() if response.status_code == 403 else ""
        url = urlsplit(str(response.request.url))
        known = self._addresses.get(service)
        path = url.path.removeprefix(urlsplit(known).path) if known is not None else ""
        where = Where(
            service, cloud_errors.netloc_of(url.geturl()), response.request.method or "", plain(path or url.path, 120)
        )
        content_type = response.headers.get("Content-Type", "")
        return cloud_errors.from_status(
            where, response.status_code, response.content, content_type, scope=scope, secrets=self.secrets
        )


_READ_OF_A_TOKEN = (
    "username",
    "role_names",
    "project_id",
    "project_name",
    "domain_id",
    "domain_name",
    "system_scoped",
    "project_scoped",
    "domain_scoped",
    "expires",
)


def _sound(plugin: BaseIdentityPlugin, access: AccessInfo) -> AccessInfo:
    """``access`` after touching all that is read of it; what is malformed raises here, and is not kept as a log-in."""
    try:
        for name in _READ_OF_A_TOKEN:
            getattr(access, name)
        if not access.auth_token or not isinstance(access.has_service_catalog(), bool):
            raise ValueError("no token")
    except Exception:
        plugin.invalidate()
        raise
    return access


def _from_catalogue(access: AccessInfo, where: dict[str, Any]) -> str | None:
    try:
        return access.service_catalog.url_for(**where) if access.has_service_catalog() else None
    except (EndpointNotFound, EmptyCatalog):
        return None


def _keystone_v3(url: str) -> str:
    url = url.rstrip("/")
    if url.endswith("/v3"):
        return url
    return url.removesuffix("/v2.0") + "/v3"


def _nova_v21(url: str) -> str:
    """Nova's address with its version, also where the catalogue has none or that of the long gone v2 API."""
    url = url.rstrip("/")
    parts = urlsplit(url)
    base, found, _rest = parts.path.partition("/v2")
    if not found:
        return url + "/v2.1"
    return url if "/v2.1" in parts.path else urlunsplit(parts._replace(path=base + "/v2.1"))


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


def at_most(service: str, wanted: str, endpoint: Endpoint) -> str:
    """``wanted``, or the newest microversion of the endpoint where that is less."""
    newest = endpoint.max_microversion or _SILENT_MAX.get(service, wanted)
    return wanted if _order(wanted) <= _order(newest) else newest
