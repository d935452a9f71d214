"""Serves the embedded cloud on a loopback port, for ``openstack`` and any other client of the real APIs."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from vgpu_console.simulator.builder import ADMIN
from vgpu_console.simulator.cloud import DemoCloud
from vgpu_console.simulator.state import REGION
from vgpu_console.simulator.wsgi import ConnectionRefused


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking the resolver for this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or a fault that refuses connections, is not worth a traceback."""


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the terminal belongs to the console."""

    def address_string(self) -> str:
        """The address, never a name."""
        return str(self.client_address[0])


class ServedDemo:
    """A served cloud: its URL, the clouds.yaml that was written, and its end."""

    def __init__(self, server: WSGIServer, url: str, clouds_yaml: Path) -> None:
        self.url = url
        self.clouds_yaml = clouds_yaml
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, name="demo-cloud", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving. The clouds.yaml stays."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self) -> None:
        """Serve until ``close`` or the process's end."""
        while self._thread.is_alive():
            self._thread.join(0.5)


def serve_demo(cloud: DemoCloud, folder: Path, port: int = 0) -> ServedDemo:
    """Serve on 127.0.0.1 (port 0: any free one) and write ``clouds.yaml`` into the folder.

    Its entries are ``demo`` (an administrator's project) and ``demo-system`` (the system's scope, for limits), and one
    per further user of the scenario. Raises OSError when the port is taken or the folder cannot be written.
    """

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            return cloud.wsgi(environ, start_response)
        except ConnectionRefused:
            raise ConnectionAbortedError("refused by a fault that is switched on") from None

    server = make_server("127.0.0.1", port, app, server_class=_Server, handler_class=_Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        path = _write_clouds(cloud, url, folder)
    except OSError:
        server.server_close()
        raise
    return ServedDemo(server, url, path)


def _write_clouds(cloud: DemoCloud, url: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, Any]] = {"demo": cloud.auth(url), "demo-system": cloud.auth(url, system=True)}
    for user in cloud.state.users.values():
        if user.name == ADMIN:
            continue
        for kind, scope_id in user.roles:
            if kind == "project":
                project = cloud.state.projects[scope_id].name
                entries.setdefault(f"demo-{user.name}", cloud.auth(url, user=user.name, project=project))
    lines = ["# Written by vgpu-console demo --serve; the cloud it names lives as long as that command.", "clouds:"]
    for name, auth in entries.items():
        lines += [f"  {name}:", f"    region_name: {REGION}", "    auth_type: password", "    auth:"]
        lines += [f"      {key}: {_quoted(value)}" for key, value in auth.items()]
    path = folder / "clouds.yaml"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def _quoted(value: str) -> str:
    """A YAML string in double quotes; JSON's quoting is a part of YAML's."""
    import msgspec

    return msgspec.json.encode(value).decode()
