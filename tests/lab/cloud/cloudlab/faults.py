"""A knob in front of each API: answers come late, or not at all, or are not what the service would say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from cloudlab.settings import Settings

MODES = ("ok", "500", "503", "html", "truncated", "hang")
"""``html`` is a proxy's error page with status 200; ``truncated`` ends in the middle of the JSON."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Faults:
    """The knobs' positions, in a file, because each API runs in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.path("faults.json")
        self._lock = threading.Lock()
        self._read_at = 0
        self._values: dict[str, dict[str, Any]] = {}

    def of(self, service: str) -> dict[str, Any]:
        """A service's faults: ``mode``, ``seconds`` (delay of each answer), ``path`` (only paths that hold it)."""
        return self.all().get(service, {})

    def all(self) -> dict[str, dict[str, Any]]:
        """Every service's faults; the file is read again only when it changed."""
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        with self._lock:
            if changed != self._read_at:
                self._values, self._read_at = json.loads(self._file.read_text()), changed
            return self._values

    def set(self, service: str, **values: Any) -> dict[str, dict[str, Any]]:
        """Replace a service's faults; without any it is well again."""
        mode = values.get("mode", "ok")
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
        everything = dict(self.all())
        everything[service] = values
        waiting = self._file.with_suffix(".new")
        waiting.write_text(json.dumps(everything))
        waiting.replace(self._file)
        return everything


def behind_faults(app: Wsgi, service: str, settings: Settings) -> Wsgi:
    """The application as clients see it while the service's knobs are set; each request is written to a file."""
    faults = Faults(settings)
    requests = settings.path("log", f"{service}.requests").open("a", buffering=1)

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        words = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_USER_AGENT", ""))
        requests.write("\t".join(words) + "\n")
        fault = faults.of(service)
        if not fault or fault.get("path", "") not in environ.get("PATH_INFO", ""):
            return app(environ, start_response)
        time.sleep(float(fault.get("seconds", 0)))
        mode = fault.get("mode", "ok")
        if mode == "ok":
            return app(environ, start_response)
        if mode == "hang":
            while faults.of(service).get("mode") == "hang":
                time.sleep(0.2)
            mode = "503"
        answers = {
            "html": ("200 OK", "text/html", _PAGE),
            "truncated": ("200 OK", "application/json", b'{"servers": [{"id": "2f0c'),
            "500": (
                "500 Internal Server Error",
                "application/json",
                b'{"computeFault": {"code": 500, "message": "x"}}',
            ),
            "503": ("503 Service Unavailable", "text/html", b"<html><body>503 Service Unavailable</body></html>"),
        }
        status, kind, body = answers[mode]
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    return guarded
