"""Nova's databases, conductor, scheduler and API: what every lab runs of it in one process, whatever its computes are.

To be imported after Nova's own patching, with its configuration read by ``configure`` before anything else is called.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from typing import Any

import nova.conf
import waitress
from nova import config, context, objects, service
from nova.api.openstack import wsgi_app
from nova.db import migration
from nova.db.main import api as main_db
from oslo_log import log
from paste import deploy

from cloudlab.faults import behind_faults
from cloudlab.settings import Settings

CONF = nova.conf.CONF


def configure(settings: Settings) -> None:
    """Read the lab's nova.conf and make Nova's objects known."""
    config.parse_args(["nova", "--config-file", str(settings.path("nova/nova.conf"))])
    log.setup(CONF, "nova")
    nova.conf.devices.register_dynamic_opts(CONF)
    objects.register_all()
    objects.Service.enable_min_version_cache()


def make_databases(settings: Settings) -> None:
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


def start_services(settings: Settings) -> list[Any]:
    """Start conductor, scheduler and API; the services must be kept, or they end."""
    services = []
    for kind in ("conductor", "scheduler"):
        made = service.Service.create(host="controller", binary=f"nova-{kind}", topic=kind)
        made.start()
        services.append(made)
    wsgi_app._setup_service(CONF.host, "osapi_compute")
    app = deploy.loadapp(f"config:{CONF.wsgi.api_paste_config}", name="osapi_compute")
    serve(behind_faults(app, "compute", settings), settings.nova_port, threads=32, address=settings.address)
    return services


def serve(app: Any, port: int, threads: int = 4, address: str = "127.0.0.1") -> None:
    """Serve an application in a thread of its own."""
    options = {"host": address, "port": port, "threads": threads, "ident": None}
    threading.Thread(target=waitress.serve, args=(app,), kwargs=options, daemon=True).start()
