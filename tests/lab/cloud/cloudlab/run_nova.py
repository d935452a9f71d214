"""Nova in one process: conductor, scheduler, API, and one nova-compute per host, talking over oslo.messaging's fake://."""

from __future__ import annotations

import os

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"

from nova import monkey_patch

monkey_patch.patch(backend="threading")

from cloudlab import per_host

per_host.install()

# ruff: noqa: E402
import contextlib
import sqlite3
import sys
import threading
import time
import uuid
from typing import Any

import nova.conf
import waitress
from nova import config, context, objects, service
from nova.api.openstack import wsgi_app
from nova.db import migration
from nova.db.main import api as main_db
from nova.objects import host_mapping
from oslo_log import log
from paste import deploy

from cloudlab import nova_fixtures
from cloudlab.computes import Computes
from cloudlab.control import Control
from cloudlab.faults import behind_faults
from cloudlab.settings import Settings, load
from cloudlab.sqlite_writers import serialise_writers

CONF = nova.conf.CONF


def main(settings: Settings) -> None:
    """Bring everything up, say so with a file named ``ready``, and stay. Its services start when their user exists."""
    serialise_writers()
    config.parse_args(["nova", "--config-file", str(settings.path("nova/nova.conf"))])
    log.setup(CONF, "nova")
    nova.conf.devices.register_dynamic_opts(CONF)
    objects.register_all()
    objects.Service.enable_min_version_cache()
    _make_databases(settings)
    nova_fixtures.install(settings)
    while not settings.path("identity-ready").exists():
        time.sleep(0.05)
    running = _start_control_plane(settings)
    computes = Computes()
    computes.start_all(settings.host_names)
    host_mapping.discover_hosts(context.get_admin_context())
    _serve(Control(settings, computes), settings.control_port)
    settings.path("nova/ready").touch()
    threading.Event().wait()
    del running


def _make_databases(settings: Settings) -> None:
    """Tables of the API and of cell1; cell0 has cell1's tables, so it is copied."""
    migration.db_sync(database="api")
    migration.db_sync(database="main")
    main_db.get_engine().dispose()
    cell0 = settings.path("nova/nova_cell0.db")
    with (
        contextlib.closing(sqlite3.connect(settings.path("nova/nova_cell1.db"))) as source,
        contextlib.closing(sqlite3.connect(cell0)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=WAL")
    admin = context.get_admin_context()
    cells = (
        ("cell0", objects.CellMapping.CELL0_UUID, "none:///", f"sqlite:///{cell0}?timeout=60"),
        ("cell1", str(uuid.uuid5(uuid.NAMESPACE_DNS, "cell1")), CONF.transport_url, CONF.database.connection),
    )
    for name, cell, transport, database in cells:
        mapping = objects.CellMapping(context=admin, uuid=cell, name=name)
        mapping.transport_url, mapping.database_connection = transport, database
        mapping.create()


def _start_control_plane(settings: Settings) -> list[Any]:
    services = []
    for kind in ("conductor", "scheduler"):
        made = service.Service.create(host="controller", binary=f"nova-{kind}", topic=kind)
        made.start()
        services.append(made)
    wsgi_app._setup_service(CONF.host, "osapi_compute")
    app = deploy.loadapp(f"config:{CONF.wsgi.api_paste_config}", name="osapi_compute")
    _serve(behind_faults(app, "compute", settings), settings.nova_port, threads=32)
    return services


def _serve(app: Any, port: int, threads: int = 4) -> None:
    options = {"host": "127.0.0.1", "port": port, "threads": threads, "ident": None}
    threading.Thread(target=waitress.serve, args=(app,), kwargs=options, daemon=True).start()


main(load(sys.argv[1]))
