"""The console's command on a fleet that is already read: ``python -m tests.cli.canned_console CASE ARGUMENTS…``.

Only the reading of the fleet is replaced; arguments, settings, output and exit codes are the product's own.
"""

from __future__ import annotations

import signal
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import msgspec

from tests.builders import NOW, an_id, server, small_fleet, status
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.runtime import scenario_names
from vgpu_console.sources.base import Refused, SourceError

Reader = Callable[..., Snapshot]


def runtime_module(reader: Reader) -> types.ModuleType:
    """A module that stands where the commands look for the reading of the fleet."""
    module: Any = types.ModuleType("vgpu_console.runtime")
    module.read_once = reader
    module.scenario_names = scenario_names
    return module  # type: ignore[no-any-return]


def whole(*_: Any) -> Snapshot:
    """Every source has answered."""
    return small_fleet(broken=False)


def partial(*_: Any) -> Snapshot:
    """One host is silent."""
    return small_fleet()


def empty(*_: Any) -> Snapshot:
    """A cloud that has answered and has nothing."""
    return Snapshot(taken_at=NOW, sources=(status("nova"), status("placement"), status("keystone")))


def dark(*_: Any) -> Snapshot:
    """No OpenStack service has answered: the credential was refused."""
    refused = "the credential was not accepted (HTTP 401)"
    failed = tuple(
        msgspec.structs.replace(status(kind, error=refused), fetched_at=None, error_kind="auth")
        for kind in ("nova", "placement", "keystone")
    )
    return Snapshot(taken_at=NOW, sources=failed)


def unknown_cloud(*_: Any) -> Snapshot:
    """No connection can even be tried."""
    raise SourceError("unavailable", "cloud prodd is not in clouds.yaml; there are: prod, lab")


def refused(*_: Any) -> Snapshot:
    """The read-only wall was touched."""
    raise Refused("read-only: PUT is not sent")


def broken(*_: Any) -> Snapshot:
    """A fault of the console itself, with a secret in its text."""
    raise RuntimeError("unexpected; password=hunter2")


def interrupted(*_: Any) -> Snapshot:
    """Ctrl-C while the fleet is read."""
    signal.raise_signal(signal.SIGINT)
    time.sleep(30)
    raise AssertionError("the interrupt did not arrive")


def large(*_: Any) -> Snapshot:
    """More rows than a pipe holds."""
    servers = tuple(server(f"vm-{n}", "vdi", "gpu-01") for n in range(5_000))
    return msgspec.structs.replace(small_fleet(broken=False), servers=servers)


def progressing(
    _settings: Any, _demo: Any, _want: Any, _deadline: float, progress: Callable[[int, int], None], *_: Any
) -> Snapshot:
    """Tells its progress on the way."""
    progress(3, 15)
    return small_fleet(broken=False)


CASES: dict[str, Reader] = {
    f.__name__: f
    for f in (whole, partial, empty, dark, unknown_cloud, refused, broken, interrupted, large, progressing)
}

SILENT_SERVER = an_id("server", "vm-infer-1")


if __name__ == "__main__":
    sys.modules["vgpu_console.runtime"] = runtime_module(CASES[sys.argv.pop(1)])
    from vgpu_console.__main__ import main

    main()
