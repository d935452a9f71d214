"""Nova in one process: conductor, scheduler, API, and one nova-compute per host, talking over oslo.messaging's fake://."""

from __future__ import annotations

import os

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"

from nova import monkey_patch

monkey_patch.patch(backend="threading")

from cloudlab import per_host

per_host.install()

# what is imported from here on finds its state per host
# ruff: noqa: E402
import sys
import threading
import time

from nova import context
from nova.objects import host_mapping

from cloudlab import nova_control, nova_fixtures
from cloudlab.computes import Computes
from cloudlab.control import Control
from cloudlab.settings import Settings, load
from cloudlab.sqlite_writers import serialise_writers


def main(settings: Settings) -> None:
    """Bring everything up, say so with a file named ``ready``, and stay. Its services start when their user exists."""
    serialise_writers()
    nova_control.configure(settings)
    nova_control.make_databases(settings)
    nova_fixtures.install(settings)
    while not settings.path("identity-ready").exists():
        time.sleep(0.05)
    running = nova_control.start_services(settings)
    computes = Computes()
    computes.start_all(settings.host_names)
    host_mapping.discover_hosts(context.get_admin_context())
    nova_control.serve(Control(settings, computes), settings.control_port)
    settings.path("nova/ready").touch()
    threading.Event().wait()
    del running


main(load(sys.argv[1]))
