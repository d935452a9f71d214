"""Glance: its tables, then its API under waitress."""

from __future__ import annotations

import os
import sys

import waitress
from cloudlab.settings import Settings, load
from cloudlab.sqlite_writers import serialise_writers


def main(settings: Settings, port: int) -> int:
    """Make the tables in a child process, because Glance reads its configuration once per process; then serve."""
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(settings.path("glance"))
    child = os.fork()
    if not child:
        from glance.cmd import manage

        sys.argv = ["glance-manage", "--config-file", str(settings.path("glance/glance-api.conf")), "db_sync"]
        os._exit(manage.main() or 0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        return 1
    serialise_writers()
    from glance.common import wsgi_app

    sys.argv = ["glance-api"]
    waitress.serve(wsgi_app.init_app(), host=settings.address, port=port, threads=16, ident=None)
    return 0


sys.exit(main(load(sys.argv[1]), int(sys.argv[2])))
