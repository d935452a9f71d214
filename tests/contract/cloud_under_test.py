"""One way to hold any cloud that the contract is checked on: the simulator, or the real services of the lab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import requests

T = TypeVar("T")

IMAGE = "155d900f-4e14-4e4c-a73d-069cbf4541e6"
PLACEMENT = "1.39"
COMPUTE = "2.96"


class Reply(NamedTuple):
    """What a service answered."""

    status: int
    body: Any  # decoded JSON; None when there is none
    headers: requests.structures.CaseInsensitiveDict[str]


class Client:
    """A user of the cloud with a token of one scope, speaking plain HTTP: nothing between the test and the service."""

    def __init__(self, http: requests.Session, auth_url: str, user: str, password: str, project: str | None) -> None:
        self._http = http
        self.auth_url = auth_url
        domain = {"id": "default"}
        scope = {"project": {"name": project, "domain": domain}} if project else {"system": {"all": True}}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        }
        body: dict[str, Any] = {"auth": {"identity": identity, "scope": scope}}
        self.login = _reply(http.post(f"{auth_url}/auth/tokens", json=body, timeout=60))
        self.token = self.login.headers.get("X-Subject-Token", "")
        self.urls: dict[str, str] = {}
        if self.login.status == 201:
            for service in self.login.body["token"]["catalog"]:
                for endpoint in service["endpoints"]:
                    if endpoint["interface"] == "public":
                        self.urls[service["type"]] = endpoint["url"].rstrip("/")
        if "identity" in self.urls:  # the catalogue may name Keystone's root or its v3
            self.urls["identity"] = self.urls["identity"].removesuffix("/v3") + "/v3"

    def __call__(
        self,
        method: str,
        service: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: Any = None,
        version: str | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request to a service of the catalogue; an empty ``token`` sends none."""
        sent = {"Accept": "application/json", **(headers or {})}
        sent_token = self.token if token is None else token
        if sent_token:
            sent["X-Auth-Token"] = sent_token
        if version:
            sent["OpenStack-API-Version"] = f"{service} {version}"
        url = self.urls[service] + path
        return _reply(self._http.request(method, url, params=params, json=json, headers=sent, timeout=60))

    def get(self, service: str, path: str, version: str | None = None, **params: str) -> Any:
        """The body of a GET that must succeed."""
        reply = self("GET", service, path, params=params, version=version)
        assert reply.status == 200, (path, reply.status, reply.body)
        return reply.body


class CloudUnderTest:
    """A cloud with the lab's projects, users, flavors and hosts."""

    def __init__(
        self,
        make: Callable[[], requests.Session],
        auth_url: str,
        password: str,
        wait: Callable[[], None],
        migration_seconds: Callable[[float], None],
    ) -> None:
        self._make = make
        self.auth_url = auth_url
        self._password = password
        self._wait = wait
        self.set_migration_seconds = migration_seconds
        self._clients: dict[tuple[str, str | None], Client] = {}

    def sign_in(self, user: str, project: str | None, password: str | None = None) -> Client:
        """A client with a new token."""
        return Client(self._make(), self.auth_url, user, password or self._password, project)

    def _kept(self, user: str, project: str | None) -> Client:
        key = (user, project)
        if key not in self._clients:
            self._clients[key] = self.sign_in(user, project)
        return self._clients[key]

    @property
    def admin(self) -> Client:
        """The administrator, in the project admin."""
        return self._kept("admin", "admin")

    @property
    def system(self) -> Client:
        """The administrator, with the system's scope."""
        return self._kept("admin", None)

    @property
    def auditor(self) -> Client:
        """A reader of the system."""
        return self._kept("auditor", None)

    @property
    def member(self) -> Client:
        """A member of the project ml-research."""
        return self._kept("ml-user", "ml-research")

    def until(self, ready: Callable[[], T], what: str, turns: int = 300) -> T:
        """Let time pass until a value is true-ish, and give it back."""
        for _ in range(turns):
            value = ready()
            if value:
                return value
            self._wait()
        raise AssertionError(f"never: {what}")

    def pass_time(self) -> None:
        """Let a little time pass."""
        self._wait()

    # -- what most tests need ------------------------------------------------------------------------------------

    def project_id(self, name: str) -> str:
        """A project's id."""
        rows = self.admin.get("identity", "/projects", name=name)["projects"]
        return str(rows[0]["id"])

    def flavor_id(self, name: str) -> str:
        """A flavor's id."""
        rows = self.member.get("compute", "/flavors", COMPUTE)["flavors"]
        return next(str(row["id"]) for row in rows if row["name"] == name)

    def create(self, name: str, flavor: str = "a100-10c", client: Client | None = None) -> Reply:
        """Ask for a server."""
        server = {"name": name, "imageRef": IMAGE, "flavorRef": self.flavor_id(flavor), "networks": "none"}
        return (client or self.member)("POST", "compute", "/servers", json={"server": server}, version=COMPUTE)

    def boot(self, name: str, flavor: str = "a100-10c") -> dict[str, Any]:
        """A server that is ACTIVE, as the administrator sees it."""
        reply = self.create(name, flavor)
        assert reply.status == 202, reply.body
        server_id = reply.body["server"]["id"]

        def active() -> dict[str, Any] | None:
            row: dict[str, Any] = self.server(server_id)
            assert row["status"] != "ERROR", row.get("fault")
            return row if row["status"] == "ACTIVE" and row["OS-EXT-STS:task_state"] is None else None

        found = self.until(active, f"{name} is ACTIVE")
        assert found is not None
        return found

    def server(self, server_id: str) -> dict[str, Any]:
        """A server as the administrator sees it."""
        return dict(self.admin.get("compute", f"/servers/{server_id}", COMPUTE)["server"])

    def delete(self, server_id: str) -> None:
        """Delete a server and wait until it and its allocations are gone."""
        reply = self.admin("DELETE", "compute", f"/servers/{server_id}", version=COMPUTE)
        assert reply.status in (204, 404)
        path = f"/servers/{server_id}"
        self.until(lambda: self.admin("GET", "compute", path, version=COMPUTE).status == 404, "the server is gone")
        path = f"/allocations/{server_id}"
        self.until(lambda: not self.admin.get("placement", path, PLACEMENT)["allocations"], "its allocations are gone")

    def providers(self) -> dict[str, dict[str, Any]]:
        """All resource providers by name."""
        rows = self.admin.get("placement", "/resource_providers", PLACEMENT)["resource_providers"]
        return {row["name"]: row for row in rows}


def has(record: dict[str, Any], **fields: type | tuple[type, ...]) -> None:
    """Every named field is there and of its type (a tuple: one of them; ``type(None)`` where null is an answer).

    A name with ``__`` in it stands for Nova's extension fields: ``OS_EXT_STS__vm_state`` is ``OS-EXT-STS:vm_state``.
    """
    for name, kinds in fields.items():
        prefix, found, rest = name.partition("__")
        key = f"{prefix.replace('_', '-')}:{rest}" if found else name
        assert key in record, f"no {key} in {sorted(record)}"
        value = record[key]
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)
        right = isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
        assert right, f"{key} is {value!r}, not {wanted}"


NONE = type(None)
TEXT = (str, NONE)


def _reply(response: requests.Response) -> Reply:
    body = None
    if response.content and "json" in response.headers.get("Content-Type", ""):
        body = response.json()
    return Reply(response.status_code, body, response.headers)
