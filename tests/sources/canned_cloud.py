"""A cloud of canned answers behind a requests adapter, for answers that no sane cloud gives and for counting requests.

It stands where the network would be; everything above it is the console's own code.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter

from vgpu_console.sources.cloud import CloudConnection, CloudSpec

HOST = "http://cloud.test"
PASSWORD = "s3cret-pa55word"
DATE = "Sun, 22 Nov 2026 18:00:00 GMT"


class Reply(NamedTuple):
    """What the cloud answers."""

    status: int = 200
    body: Any = None  # bytes as they are, anything else as JSON
    headers: Mapping[str, str] = MappingProxyType({})


class Asked(NamedTuple):
    """One request as it left the console."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


Route = Callable[[Asked], Reply] | Reply


class CannedCloud(BaseAdapter):
    """Answers by (method, path); knows how to log in. ``asked`` holds every request in order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.routes: dict[tuple[str, str], Route] = {}
        self.tokens = 0
        self.valid: set[str] = set()
        self.system = True  # whether the user has a role on the system
        self.roles = ["admin"]
        self.compute_version: Reply = Reply(
            200, {"version": {"id": "v2.1", "version": "2.104", "min_version": "2.1", "links": []}}
        )
        self.placement_version: Reply = Reply(
            200, {"versions": [{"id": "v1.0", "max_version": "1.39", "min_version": "1.0", "links": []}]}
        )
        self.services: tuple[str, ...] = ("compute", "placement", "identity")
        self._lock = threading.Lock()

    # -- the seam ----------------------------------------------------------------------------------------------------

    def send(self, request: requests.PreparedRequest, *_args: Any, **_kwargs: Any) -> requests.Response:
        url = urlsplit(str(request.url))
        body = request.body or b""
        asked = Asked(
            str(request.method),
            url.path.rstrip("/") or "/",
            parse_qs(url.query),
            {k.lower(): v if isinstance(v, str) else v.decode() for k, v in request.headers.items()},
            body.encode() if isinstance(body, str) else bytes(body),  # type: ignore[arg-type]
        )
        with self._lock:
            self.asked.append(asked)
            reply = self._answer(asked)
        response = requests.Response()
        response.status_code = reply.status
        response.request = request
        response.url = str(request.url)
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        response.headers.update({"Content-Type": "application/json", "Date": DATE} | dict(reply.headers))
        response.raw = io.BytesIO(content)
        return response

    def close(self) -> None:
        pass

    def _answer(self, asked: Asked) -> Reply:
        route = self.routes.get((asked.method, asked.path))
        if route is not None:
            return route(asked) if callable(route) else route
        if asked.path == "/identity/v3" and asked.method == "GET":
            link = [{"rel": "self", "href": f"{HOST}/identity/v3/"}]
            return Reply(200, {"version": {"id": "v3.14", "status": "stable", "links": link, "media-types": []}})
        if (asked.method, asked.path) == ("POST", "/identity/v3/auth/tokens"):
            return self._login(asked)
        if asked.path == "/compute/v2.1":
            return self.compute_version
        if asked.path == "/placement":
            return self.placement_version
        return Reply(404, {"error": {"message": "no such thing"}})

    def _login(self, asked: Asked) -> Reply:
        auth = json.loads(asked.body)["auth"]
        system = "system" in auth.get("scope", {})
        good = auth["identity"].get("password", {}).get("user", {}).get("password") == PASSWORD
        if "password" not in auth["identity"]["methods"]:
            good = True
        if not good or (system and not self.system):
            return Reply(401, {"error": {"code": 401, "message": "The request you have made requires authentication."}})
        self.tokens += 1
        token = f"gAAAAAB{self.tokens:032d}"
        self.valid.add(token)
        catalogue = [
            {
                "type": service,
                "name": service,
                "id": service,
                "endpoints": [
                    {"id": f"{service}-1", "interface": "public", "region": "RegionOne", "region_id": "RegionOne",
                     "url": HOST + path}
                ],
            }
            for service, path in (("compute", "/compute/v2.1"), ("placement", "/placement"), ("identity", "/identity"))
            if service in self.services
        ]  # fmt: skip
        scope = (
            {"system": {"all": True}}
            if system
            else {"project": {"id": "p-admin", "name": "admin", "domain": {"id": "default", "name": "Default"}}}
        )
        body = {
            "token": {
                "methods": ["password"],
                "user": {"id": "u-1", "name": "alice", "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": r, "name": r} for r in self.roles],
                "catalog": catalogue,
                "issued_at": "2026-11-22T18:00:00.000000Z",
                "expires_at": "2999-11-22T19:00:00.000000Z",
                **scope,
            }
        }
        return Reply(201, body, {"X-Subject-Token": token})

    # -- for tests ---------------------------------------------------------------------------------------------------

    def get(self, path: str, route: Route) -> None:
        """Set the answer to GET ``path``."""
        self.routes["GET", path] = route

    def needs_token(self, route: Route) -> Route:
        """``route``, for requests with a token that is still good; 401 otherwise."""

        def checked(asked: Asked) -> Reply:
            if asked.headers.get("x-auth-token") not in self.valid:
                return Reply(401, {"error": {"message": "expired"}})
            return route(asked) if callable(route) else route

        return checked

    def paths(self, since: int = 0) -> list[str]:
        """What was asked for, without log-in and version documents."""
        own = ("/identity/v3", "/identity/v3/auth/tokens", "/compute/v2.1", "/placement")
        return [a.path for a in self.asked[since:] if a.path not in own]

    def session(self) -> requests.Session:
        """A requests session that reaches this cloud for every URL."""
        session = requests.Session()
        session.mount("http://", self)
        session.mount("https://", self)
        return session

    def connection(self, *, read_only: bool = True, timeout_s: float = 5.0, **auth: Any) -> CloudConnection:
        """A connection of the console's to this cloud."""
        return CloudConnection(spec(**auth), read_only=read_only, timeout_s=timeout_s, http=self.session())


def spec(auth_type: str = "password", url: str = f"{HOST}/identity/v3", **auth: Any) -> CloudSpec:
    """A specification that needs no files."""
    whole = {
        "auth_url": url,
        "username": "alice",
        "password": PASSWORD,
        "user_domain_id": "default",
        "project_name": "admin",
        "project_domain_id": "default",
    } | auth
    if auth_type != "password":
        whole = {"auth_url": url} | auth
    if "system_scope" in auth:
        whole = {k: v for k, v in whole.items() if not k.startswith("project")}
    return CloudSpec(cloud="canned", overrides={"auth_type": auth_type, "auth": whole}, load_files=False)
