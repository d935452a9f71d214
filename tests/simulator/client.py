"""A small client of the embedded cloud's APIs: raw answers, so that tests see statuses, headers and shapes."""

from __future__ import annotations

from typing import Any

import requests

from vgpu_console.simulator import BASE_URL, DemoCloud


class FakeClock:
    """A clock that moves when a test says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


class Api:
    """One user with one scope."""

    def __init__(
        self, cloud: DemoCloud, *, user: str = "admin", project: str | None = "admin", system: bool = False
    ) -> None:
        self.cloud = cloud
        self.http = cloud.http()
        scope: Any = "unscoped"
        if system:
            scope = {"system": {"all": True}}
        elif project is not None:
            scope = {"project": {"name": project, "domain": {"id": "default"}}}
        who = {"name": user, "domain": {"id": "default"}, "password": "demo"}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
        answer = self.http.post(f"{BASE_URL}/identity/v3/auth/tokens", json=body)
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]
        self.headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}

    def call(
        self, method: str, service: str, path: str, version: str | None = None, body: Any = None
    ) -> requests.Response:
        roots = {"identity": "/identity/v3", "compute": "/compute/v2.1", "placement": "/placement"}
        headers = dict(self.headers)
        if version is not None:
            headers["OpenStack-API-Version"] = f"{service} {version}"
        return self.http.request(method, BASE_URL + roots[service] + path, headers=headers, json=body)

    def get(self, service: str, path: str, version: str | None = None) -> Any:
        answer = self.call("GET", service, path, version)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def server(self, name: str) -> dict[str, Any]:
        """A server by its name."""
        found = [
            s for s in self.get("compute", "/servers/detail?all_tenants=1", "2.96")["servers"] if s["name"] == name
        ]
        assert len(found) == 1
        return dict(found[0])

    def migrations(self, server_id: str) -> list[dict[str, Any]]:
        """A server's migrations, newest first."""
        return list(self.get("compute", f"/os-migrations?instance_uuid={server_id}", "2.80")["migrations"])
