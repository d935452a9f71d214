"""Placement's own WSGI application under waitress; it makes its tables when it starts."""

from __future__ import annotations

import os
import sys

import waitress
from placement import wsgi

from cloudlab.faults import behind_faults
from cloudlab.settings import Settings, load
from cloudlab.sqlite_writers import serialise_writers


def main(settings: Settings) -> None:
    """Serve until the process is ended."""
    serialise_writers()
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = str(settings.path("placement"))
    sys.argv = sys.argv[:1]  # the application would read the command line
    app = behind_faults(wsgi.init_application(), "placement", settings)
    waitress.serve(app, host=settings.address, port=settings.placement_port, threads=16, ident=None)


main(load(sys.argv[1]))
