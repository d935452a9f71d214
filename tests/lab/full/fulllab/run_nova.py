"""Nova's conductor, scheduler and API, for computes that are reached over RabbitMQ."""

from __future__ import annotations

import os

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"

from nova import monkey_patch

monkey_patch.patch(backend="threading")

# what is imported from here on finds Nova patched
# ruff: noqa: E402
import sys
import threading

from cloudlab import nova_control
from cloudlab.settings import Settings, load
from cloudlab.sqlite_writers import serialise_writers


def main(settings: Settings) -> None:
    """Serve until the process is ended. The scheduler signs in when it starts, so the users must be there."""
    serialise_writers()
    nova_control.configure(settings)
    nova_control.make_databases(settings)
    running = nova_control.start_services(settings)
    settings.path("nova/ready").touch()
    threading.Event().wait()
    del running


main(load(sys.argv[1]))
