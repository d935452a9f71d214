"""A small client for the lab's own needs: tokens and JSON over HTTP with nothing but the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from cloudlab.settings import PASSWORD, Settings


class RestError(Exception):
    """A service refused; holds its status and its words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


def call(method: str, url: str, body: object = None, **headers: str) -> tuple[Any, dict[str, str]]:
    """One request; the decoded answer (None when empty) and its headers. Raises RestError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return (json.loads(text) if text else None), dict(answer.headers)
    except urllib.error.HTTPError as error:
        raise RestError(error.code, error.read().decode(errors="replace")) from error


class Session:
    """A user of the lab with a token, and the services' URLs."""

    def __init__(self, settings: Settings, user: str, project: str | None, **urls: str) -> None:
        """Sign in; without a project the scope is the system. ``urls`` are those of services beside the three."""
        domain = {"id": "default"}
        scope: dict[str, Any] = {"system": {"all": True}}
        if project is not None:
            scope = {"project": {"name": project, "domain": domain}}
        password = {"user": {"name": user, "domain": domain, "password": PASSWORD}}
        body = {"auth": {"identity": {"methods": ["password"], "password": password}, "scope": scope}}
        _, headers = call("POST", f"{settings.keystone_url}/auth/tokens", body)
        self.token = headers["X-Subject-Token"]
        self._urls = {
            "identity": settings.keystone_url,
            "compute": settings.nova_url,
            "placement": settings.placement_url,
            **urls,
        }

    def __call__(self, method: str, service: str, path: str, body: object = None, version: str = "") -> Any:
        """One request to a service, with its microversion where one is given."""
        headers = {"X_Auth_Token": self.token}
        if version:
            headers["OpenStack_API_Version"] = f"{service} {version}"
        return call(method, self._urls[service] + path, body, **headers)[0]
