"""Answers for a network service: there are no networks and no ports. Nova asks for them even of servers without any."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudlab.settings import load

COLLECTIONS = ("ports", "networks", "subnets", "extensions", "floatingips", "security-groups")


class Nothing(BaseHTTPRequestHandler):
    """Every collection is empty."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """An empty list under the collection's name; 404 for anything else."""
        name = self.path.partition("?")[0].removesuffix(".json").rstrip("/").rpartition("/")[2]
        known = name in COLLECTIONS or name == ""
        body = json.dumps({name.replace("-", "_"): []} if known else {}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer((load(sys.argv[1]).address, int(sys.argv[2])), Nothing).serve_forever()
