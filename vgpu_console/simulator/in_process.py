"""Mounts the embedded cloud in a requests session, so that clients of HTTP reach it without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.models import PreparedRequest
from requests.structures import CaseInsensitiveDict

from vgpu_console.simulator.http_base import STATUS_WORDS
from vgpu_console.simulator.wsgi import CloudApp, ConnectionRefused


class CloudAdapter(BaseAdapter):
    """A transport adapter that calls the application directly."""

    def __init__(self, app: CloudApp) -> None:
        super().__init__()
        self.app = app

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a prepared request. Raises requests' ConnectionError as a refused connection does."""
        url = urlsplit(request.url or "")
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else bytes(body)  # type: ignore[arg-type]
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        base = f"{url.scheme}://{url.netloc}"
        try:
            answer = self.app.answer(request.method or "GET", unquote(url.path), url.query, headers, raw, base)
        except ConnectionRefused as refused:
            raise requests.exceptions.ConnectionError(
                f"HTTPConnectionPool(host='{url.hostname}', port={url.port or 80}): Max retries exceeded with url: "
                f"{url.path} (Caused by NewConnectionError('[Errno 111] Connection refused'))",
                request=request,
            ) from refused
        response = requests.Response()
        response.status_code = answer.status
        response.reason = STATUS_WORDS.get(answer.status, "")
        response.headers = CaseInsensitiveDict(answer.headers)
        response.headers["Content-Length"] = str(len(answer.body))
        response.headers.setdefault("Date", formatdate(self.app.state.now, usegmt=True))
        response.url = request.url or ""
        response.request = request
        response.encoding = "utf-8"
        response.raw = BytesIO(answer.body)
        response._content = b"" if request.method == "HEAD" else answer.body
        response._content_consumed = True
        return response

    def close(self) -> None:
        """Nothing is held open."""


def session(app: CloudApp, base: str) -> requests.Session:
    """A session that reaches the application below ``base``, and nothing else without the network."""
    made = requests.Session()
    made.mount(base, CloudAdapter(app))
    return made
