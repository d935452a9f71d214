"""The embedded cloud's three services as one WSGI application."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from vgpu_console.simulator import keystone_api, nova_api, placement_api
from vgpu_console.simulator.faults import Faults, HttpFault
from vgpu_console.simulator.http_base import STATUS_WORDS, ApiError, Request, Response, Router, asked_version
from vgpu_console.simulator.nova_common import Nova
from vgpu_console.simulator.policies import require_project_scope
from vgpu_console.simulator.state import State

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_NOVA_ERRORS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    503: "serviceUnavailable",
}

_OPEN = {"/identity", "/identity/", "/identity/v3", "/identity/v3/", "/identity/v3/auth/tokens"}

PROXY_PAGE = (
    "<html>\n<head><title>{status} {words}</title></head>\n<body>\n<center><h1>{status} {words}</h1></center>\n"
    "<hr><center>nginx</center>\n</body>\n</html>\n"
)


class ConnectionRefused(Exception):
    """The service does not answer at all (a fault that was switched on)."""


class CloudApp:
    """A WSGI application; ``answer`` is the same without WSGI's ceremony."""

    def __init__(self, state: State, nova: Nova, faults: Faults, advance: Callable[[], None]) -> None:
        self.state = state
        self.faults = faults
        self.advance = advance
        self.requests = 0
        self._routers: dict[str, tuple[str, Router]] = {
            "/identity": ("identity", keystone_api.build_router()),
            "/compute": ("compute", nova_api.build_router(nova)),
            "/placement": ("placement", placement_api.build_router()),
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        headers = {
            name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        length = environ.get("CONTENT_LENGTH") or "0"
        body = environ["wsgi.input"].read(int(length)) if length.isdigit() and int(length) else b""
        base = f"{environ.get('wsgi.url_scheme', 'http')}://{headers.get('host', 'demo.invalid')}"
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        response = self.answer(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), headers, body, base)
        reply = [*response.headers.items(), ("Content-Length", str(len(response.body)))]
        start_response(f"{response.status} {STATUS_WORDS.get(response.status, 'Unknown')}", reply)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    def answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, base: str
    ) -> Response:
        """Answer one request. Raises ConnectionRefused when that is the fault of the day."""
        self.requests += 1
        self.advance()
        prefix = "/" + path[1:].partition("/")[0]
        if prefix not in self._routers:
            return Response({"error": {"code": 404, "message": "Not Found", "title": "Not Found"}}, 404)
        service, router = self._routers[prefix]
        fault = self.faults.take_http(service, path)
        if fault is not None and fault.delay_s:
            self.faults.sleep(fault.delay_s)
            self.advance()
        if fault is not None and fault.kind == "refused":
            raise ConnectionRefused(service)
        if fault is not None and fault.kind == "html":
            page = PROXY_PAGE.format(status=fault.status, words=STATUS_WORDS.get(fault.status, "Error"))
            return Response(page.encode(), fault.status, {"Content-Type": "text/html"})
        request = Request(self.state, method, path[len(prefix) :], query, headers, body, base)
        with self.state.lock:
            response = self._service(service, router, request, fault)
        response.headers.setdefault("x-openstack-request-id", f"req-{uuid.uuid4()}")
        return _spoil(response, fault)

    def _service(self, service: str, router: Router, request: Request, fault: HttpFault | None) -> Response:
        try:
            self._version(service, request)
            if fault is not None and fault.kind == "status":
                raise ApiError(fault.status, "The service is not able to answer now.")
            if not self._is_open(service, request):
                keystone_api.authenticate(request)
                if service == "compute":
                    require_project_scope(request)
            handler, values = router.find(request.method, request.path)
            response = handler(request, **values)
        except ApiError as error:
            response = _error(service, error, request)
        if service in ("compute", "placement") and request.version != (0, 0):
            text = f"{request.version[0]}.{request.version[1]}"
            response.headers["OpenStack-API-Version"] = f"{service} {text}"
            if service == "compute":
                response.headers["X-OpenStack-Nova-API-Version"] = text
            response.headers["Vary"] = "OpenStack-API-Version"
        return response

    def _version(self, service: str, request: Request) -> None:
        if service == "compute":
            legacy = "x-openstack-nova-api-version"
            request.version = asked_version(request.headers, service, legacy, (2, 1), self.state.compute_max)
        elif service == "placement":
            request.version = asked_version(request.headers, service, None, (1, 0), self.state.placement_max)

    def _is_open(self, service: str, request: Request) -> bool:
        """Version documents and the request for a token need no token."""
        if service == "identity":
            full = "/identity" + request.path
            return full in _OPEN and (request.method == "POST" or not full.endswith("tokens"))
        return request.path.rstrip("/") in ("", "/v2.1")


def _error(service: str, error: ApiError, request: Request) -> Response:
    message, words = str(error), STATUS_WORDS.get(error.status, "Error")
    if service == "identity":
        headers = {"WWW-Authenticate": f'Keystone uri="{request.base}/identity/v3"'} if error.status == 401 else {}
        return Response({"error": {"code": error.status, "message": message, "title": words}}, error.status, headers)
    if error.status == 401:  # keystonemiddleware answers before the service does
        headers = {"WWW-Authenticate": f'Keystone uri="{request.base}/identity"'}
        return Response(
            {"error": {"code": 401, "message": "The request you have made requires authentication.", "title": words}},
            401,
            headers,
        )
    if service == "compute":
        name = _NOVA_ERRORS.get(error.status, "computeFault")
        return Response({name: {"code": error.status, "message": message}}, error.status)
    row: dict[str, Any] = {
        "status": error.status,
        "title": words,
        "detail": f"{_PLACEMENT_WORDS.get(error.status, words)}\n\n {message}  ",
        "request_id": f"req-{uuid.uuid4()}",
    }
    if request.version >= (1, 23):
        row["code"] = error.code
    if error.status == 406:
        row["min_version"] = "1.0"
        row["max_version"] = "{}.{}".format(*request.state.placement_max)
    return Response({"errors": [row]}, error.status)


_PLACEMENT_WORDS = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    405: "The method specified is not allowed for this resource.",
    409: "There was a conflict when trying to complete your request.",
}


def _spoil(response: Response, fault: HttpFault | None) -> Response:
    if fault is None or response.status >= 400:
        return response
    if fault.kind == "truncated":
        response.body = response.body[: len(response.body) // 2]
    elif fault.kind == "null" and response.body:
        decoded = msgspec.json.decode(response.body)
        response.body = msgspec.json.encode(_nulled(decoded, frozenset(fault.null_fields)))
    return response


def _nulled(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: None if key in names else _nulled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_nulled(inner, names) for inner in value]
    return value
