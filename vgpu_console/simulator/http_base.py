"""The embedded cloud's HTTP parts that all three services share: requests, answers, errors, routes, microversions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from vgpu_console.simulator.state import State, Token

Version = tuple[int, int]

STATUS_WORDS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    300: "Multiple Choices",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class ApiError(Exception):
    """An answer that is an error; each service gives it its own shape. ``code`` is Placement's."""

    def __init__(self, status: int, message: str, code: str = "placement.undefined_code") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Request:
    """One HTTP request to a service, below that service's root path."""

    __slots__ = ("base", "body", "headers", "method", "path", "query", "state", "token", "version")

    def __init__(
        self, state: State, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, base: str
    ) -> None:
        self.state = state
        self.method = method
        self.path = path
        self.query = parse_qs(query, keep_blank_values=True) if query else {}
        self.headers = headers  # lower-case names
        self.body = body
        self.base = base  # "http://demo.invalid"
        self.token: Token | None = None
        self.version: Version = (0, 0)

    def one(self, name: str) -> str | None:
        """A query parameter's last value."""
        values = self.query.get(name)
        return values[-1] if values else None

    def flag(self, name: str) -> bool:
        """A boolean query parameter, as oslo reads it."""
        return (self.one(name) or "").lower() in ("1", "true", "yes", "on", "t", "y")

    def number(self, name: str) -> int | None:
        """An integer query parameter. Raises ApiError."""
        value = self.one(name)
        if value is None:
            return None
        if not value.isdigit():
            raise ApiError(400, f"{name} param must be an integer")
        return int(value)

    def json(self) -> dict[str, Any]:
        """The body as an object. Raises ApiError."""
        try:
            decoded = msgspec.json.decode(self.body or b"null")
        except msgspec.DecodeError as error:
            raise ApiError(400, f"Malformed JSON: {error}") from error
        if not isinstance(decoded, dict):
            raise ApiError(400, "The request body must be a JSON object.")
        return decoded

    def who(self) -> Token:
        """The token; every route but a few open ones has one. Raises ApiError 401."""
        if self.token is None:
            raise ApiError(401, "The request you have made requires authentication.")
        return self.token

    def roles(self) -> tuple[str, ...]:
        """The token's roles."""
        return self.token.roles if self.token else ()


class Response:
    """An answer: a status, a body of JSON (or ready bytes), headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.headers = dict(headers or {})
        if self.body:
            self.headers.setdefault("Content-Type", "application/json")


Handler = Callable[..., Response]


class Router:
    """Finds the handler of a method and path; ``{name}`` in a route matches one path segment."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, route: str, handler: Handler) -> None:
        """Add a route."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route)
        self._routes.append((method, re.compile(pattern + "/?"), handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and the values in the path. Raises ApiError 404 or 405."""
        known = False
        wanted = "GET" if method == "HEAD" else method
        for route_method, pattern, handler in self._routes:
            if match := pattern.fullmatch(path):
                if route_method == wanted:
                    return handler, match.groupdict()
                known = True
        raise (
            ApiError(405, f"The method {method} is not allowed for this resource.")
            if known
            else ApiError(404, "The resource could not be found.")
        )


def asked_version(
    headers: Mapping[str, str], service: str, legacy: str | None, lowest: Version, highest: Version
) -> Version:
    """The microversion a request asks for. Raises ApiError 406 for one that is not spoken here."""
    text: str | None = None
    for part in headers.get("openstack-api-version", "").split(","):
        words = part.split()
        if len(words) == 2 and words[0].lower() == service:
            text = words[1]
    if text is None and legacy is not None:
        text = headers.get(legacy)
    if text is None:
        return lowest
    if text == "latest":
        return highest
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ApiError(400, f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.")
    version = int(match[1]), int(match[2])
    if not lowest <= version <= highest:
        low, high = (f"{v[0]}.{v[1]}" for v in (lowest, highest))
        raise ApiError(406, f"Version {text} is not supported by the API. Minimum is {low} and maximum is {high}.")
    return version
