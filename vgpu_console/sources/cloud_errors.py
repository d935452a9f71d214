"""From what HTTP, keystoneauth and Python raise to one plain line for an operator.

No line holds a token, a password or the userinfo of a URL: lines are made of the host and port that was talked to and
of words chosen here; text from a server is taken only where it helps, through :func:`server_says`.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import keystoneauth1.exceptions as ksa
import requests.exceptions
import urllib3.exceptions

from vgpu_console.model.source import ErrorKind
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.tolerant import decode_object
from vgpu_console.text import plain

NAMES = {"compute": "nova", "placement": "placement", "identity": "keystone", "limits": "keystone"}
"""Service type -> the project's name, which is what operators say."""

ROLES = {
    "compute": "the admin role in a project",
    "placement": "the admin or service role in a project",
    "identity": "the admin role, or reader on the system",
    "limits": "the admin role, or reader on the system",
}
"""What a credential needs by the services' default policies to read what this console reads."""


WRITERS = {
    "compute": "the admin role in a project",
    "placement": "the admin or service role in a project",
    "identity": "the admin role",
    "limits": "the admin role",
}
"""What a credential needs by the services' default policies to change what this console changes."""

_BY_POLICY = ("You are not authorized", "Policy doesn't allow")
"""How oslo.policy's refusals begin; any other 403 is the service's own rule, and says which."""


class HttpStatusError(SourceError):
    """A service answered with an HTTP status that is no success."""

    def __init__(self, kind: ErrorKind, message: str, status: int) -> None:
        super().__init__(kind, message)
        self.status = status


class Where(NamedTuple):
    """What was being talked to when it went wrong."""

    service: str  # service type, "compute"
    netloc: str = ""  # "10.0.0.1:8774", without userinfo
    method: str = "GET"
    path: str = ""
    timeout_s: float = 0.0

    def __str__(self) -> str:
        name = NAMES.get(self.service, self.service)
        return f"{name} at {self.netloc}" if self.netloc else name


def netloc_of(url: object) -> str:
    """Host and port of a URL without its userinfo; empty when there is none."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return ""
    return plain(parts.netloc.rpartition("@")[2], 255)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception and everything it came from, outermost first."""
    seen: set[int] = set()
    queue: list[Any] = [exc]
    while queue:
        one = queue.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        queue += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]


def transport_reason(exc: BaseException, timeout_s: float = 0.0) -> tuple[ErrorKind, str] | None:
    """Why no answer came, read from the innermost cause; None when the trouble was not in the transport."""
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "unreachable", f"its certificate is not accepted: {plain(cause.verify_message, 200)}"
    for cause in causes:
        if isinstance(cause, urllib3.exceptions.ProxyError | requests.exceptions.ProxyError):
            return "unreachable", "the HTTP proxy of this machine's environment did not pass the request on"
        if isinstance(cause, socket.gaierror | urllib3.exceptions.NameResolutionError):
            return "unreachable", "its name is not known to DNS"
        if isinstance(cause, ssl.SSLError):
            reason = plain(cause.reason or "", 100).replace("_", " ").lower()
            hint = " (is it http:// and not https://?)" if "wrong version" in reason or "record layer" in reason else ""
            return "unreachable", f"TLS failed: {reason or 'no reason given'}{hint}"
        if isinstance(cause, ConnectionRefusedError):
            return "unreachable", "connection refused"
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
            return "unreachable", "no route to it"
    for cause in causes:
        if isinstance(
            cause, TimeoutError | requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | ksa.ConnectTimeout
        ):
            return "timeout", f"no answer within {timeout_s:g} s" if timeout_s else "no answer in time"
    for cause in causes:
        if isinstance(cause, requests.exceptions.SSLError | ksa.SSLError):
            return "unreachable", "TLS failed"
        if isinstance(cause, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
            return "protocol", "the answer broke off in the middle"
        if isinstance(cause, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
            return "unavailable", "its URL is not valid"
        if isinstance(cause, requests.exceptions.InvalidSchema):
            return "unavailable", "its URL is neither http:// nor https://"
        if isinstance(cause, requests.exceptions.TooManyRedirects):
            return "protocol", "it redirects in a circle"
        if isinstance(cause, requests.exceptions.InvalidHeader):
            return "unavailable", "a value of the credential cannot be sent as an HTTP header"
    for cause in causes:
        if isinstance(cause, ConnectionError | urllib3.exceptions.ProtocolError):
            return "unreachable", "it closed the connection in the middle"
    for cause in causes:
        if isinstance(cause, ksa.ConnectionError | requests.exceptions.RequestException):
            return "unreachable", "no connection"
    return None


def from_exception(exc: Exception, where: Where, secrets: Iterable[str] = ()) -> SourceError:
    """The SourceError for whatever a request or a log-in raised."""
    if isinstance(exc, SourceError):
        return exc
    if isinstance(exc, ksa.EndpointNotFound):
        return SourceError("unavailable", f"the cloud's catalogue has no endpoint for {where.service}")
    if isinstance(exc, ksa.MissingAuthMethods):
        return SourceError("auth", f"{where} asks for a further factor: use auth_type v3multifactor in clouds.yaml")
    if isinstance(exc, ksa.HttpError):
        return _from_login(exc, where, secrets)
    if isinstance(exc, ksa.InvalidResponse):
        return SourceError("protocol", f"{where} answered the log-in with something that is no token")
    transport = transport_reason(exc, where.timeout_s)
    if transport is not None:
        return SourceError(transport[0], f"{where}: {transport[1]}")
    if isinstance(exc, ksa.DiscoveryFailure):
        return SourceError("protocol", f"{where} does not answer as Keystone does: check auth_url")
    if isinstance(exc, ksa.AuthorizationFailure | ksa.AuthPluginException):
        return SourceError("auth", f"{where}: log-in failed: {_clean(str(exc), secrets)}")
    return SourceError("protocol", f"{where} answered something that cannot be understood ({type(exc).__name__})")


def _from_login(exc: Any, where: Where, secrets: Iterable[str]) -> SourceError:
    """An HTTP error that keystoneauth itself raised: the token request, or what leads to it."""
    status = int(exc.http_status or 0)
    if status in (401, 403):
        said = _clean(str(exc.message or ""), secrets) if isinstance(exc, ksa.HttpError) else ""
        stock = not said or "requires authentication" in said or said.startswith(("Unauthorized", "HTTP", "Forbidden"))
        why = "wrong user, password or scope, or no role there" if stock else said
        return HttpStatusError("auth", f"{where} did not accept the credential: {why}", status)
    if status == 404:
        return HttpStatusError("protocol", f"{where} has no token service at that path: check auth_url (HTTP 404)", 404)
    if status == 400:
        hint = "the form of the credential is not accepted: is each value in clouds.yaml text, numbers in quotes?"
        return HttpStatusError("auth", f"{where}: {hint} (HTTP 400)", 400)
    return HttpStatusError(_kind_of(status), f"{where} could not issue a token: HTTP {status}", status)


def _kind_of(status: int) -> ErrorKind:
    if status == 401:
        return "auth"
    if status == 403:
        return "forbidden"
    if status in (408, 504):
        return "timeout"
    return "unreachable" if status in (429, 502, 503) else "protocol"


def from_status(
    where: Where,
    status: int,
    content: bytes,
    content_type: str,
    *,
    scope: str = "",
    secrets: Iterable[str] = (),
) -> HttpStatusError:
    """The SourceError for an answer that is no success. ``scope`` is the scope kind of the token that was sent."""
    said = server_says(content, content_type, secrets)
    tail = f": {said}" if said else ""
    kind = _kind_of(status)
    asked = f"{where.method} {where.path}"
    reads = where.method in ("GET", "HEAD", "")
    if status == 401:
        line = f"{where} did not accept the token, also not a new one (HTTP 401)"
    elif status == 403 and scope == "system" and where.service in ("compute", "placement"):
        name = NAMES[where.service]
        line = f"{name} does not take a system-scoped token: give a cloud that names a project (HTTP 403)"
    elif status == 403 and not reads and said and not said.startswith(_BY_POLICY):
        line = f"{where} refused {asked} (HTTP 403){tail}"
    elif status == 403:
        needed = ROLES if reads else WRITERS
        line = f"{where} refused {asked}: it needs {needed.get(where.service, 'a higher role')} (HTTP 403)"
    elif status == 404:
        line = f"{where} has no {where.path} (HTTP 404)"
    elif status == 406:
        line = f"{where} does not speak the microversion that was asked for (HTTP 406)"
    elif status == 429:
        line = f"{where} asks to be asked less often (HTTP 429)"
    else:
        line = f"{where} failed at {asked}: HTTP {status}{tail}"
    return HttpStatusError(kind, line, status)


_TITLE = re.compile(r"<title[^>]*>(.{1,200}?)</title", re.IGNORECASE | re.DOTALL)


def is_html(content: bytes, content_type: str) -> bool:
    """Whether an answer is a web page, as proxies and load balancers send."""
    return "html" in content_type.lower() or content[:200].lstrip().lower().startswith((b"<!doctype", b"<html"))


def server_says(content: bytes, content_type: str, secrets: Iterable[str] = (), limit: int = 200) -> str:
    """The message in an error body: OpenStack's JSON shapes, or the title of a proxy's page. Empty if there is none."""
    if is_html(content, content_type):
        found = _TITLE.search(content[:4096].decode("utf-8", "replace"))
        return f"a web page ‘{_clean(found.group(1).strip(), secrets, 80)}’" if found else "a web page"
    try:
        body = decode_object(content)
    except ValueError:
        return ""
    candidates: list[Any] = [body, *body.values()]
    errors = body.get("errors")
    if isinstance(errors, list):
        candidates += errors
    for one in candidates:
        if isinstance(one, dict):
            for key in ("message", "detail", "title"):
                if isinstance(one.get(key), str):
                    return _clean(one[key], secrets, limit)
    return ""


_USERINFO = re.compile(r"//[^/@\s]+@")
_TOKEN = re.compile(r"gAAAA[\w=-]{20,}|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*")  # fernet and JWS tokens


def _clean(message: str, secrets: Iterable[str], limit: int = 200) -> str:
    for secret in secrets:
        if secret:
            message = message.replace(secret, "***")
    message = _TOKEN.sub("***", _USERINFO.sub("//", message))
    return plain(" ".join(message.split()), limit)
