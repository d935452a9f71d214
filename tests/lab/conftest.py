"""One lab cloud for the whole session: the machine has room for one, and it takes its seconds to come up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.cloud_under_test import CloudUnderTest
from tests.lab.device_console import open_device_console  # noqa: F401 - fixtures
from tests.lab.host_machine import booted_gpu_host, gpu_host  # noqa: F401 - fixtures
from tests.lab.lab import REPOSITORY, Lab
from tests.lab.lab_fleet import LabFleet
from tests.lab.quota_console import QuotaConsole


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The emulated host's tests run beside the cloud's: each has its own machine, and neither fills two cores."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            host = "booted_gpu_host" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("host" if host else "cloud"))
    # one after the other: the driver is loaded anew where the framework changes
    items.sort(key=lambda item: item.get_closest_marker("vendor_framework") is not None)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of its own. LAB_KEEP=1 uses the one that is up and leaves it up, while tests are being written."""
    made = Lab(REPOSITORY / ".lab" / "test-cloud", int(os.environ.get("LAB_TEST_PORT_BASE", "21000")))
    keep = os.environ.get("LAB_KEEP") == "1"
    if not (keep and _answers(made)):
        made.up("--migration-seconds", "6")
    yield made
    if not keep:
        made.down()


@pytest.fixture(autouse=True)
def _pointed_at_lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """clouds.yaml of the lab for whoever looks for one, no other OS_* variable; afterwards every knob in its place.

    A test that has a lab host and no cloud brings no cloud up.
    """
    if "gpu_host" in request.fixturenames and "lab" not in request.fixturenames:
        yield
        return
    lab: Lab = request.getfixturevalue("lab")
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds_yaml))
    yield
    for service in lab.control("/faults"):
        lab.fault(service)
    lab.control("/migration", {"seconds": 6.0, "mode": "ok", "raise": False})


@pytest.fixture(scope="session")
def cloud(lab: Lab) -> CloudUnderTest:
    """The real services, for the contract that the simulator is held to."""
    return CloudUnderTest(
        requests.Session,
        f"http://127.0.0.1:{lab.port_base}/v3",
        "labpw",
        lambda: time.sleep(0.2),
        lambda seconds: lab.control("/migration", {"seconds": seconds}),
    )


@pytest.fixture(scope="session")
def sdk(lab: Lab) -> Any:
    """openstacksdk as the lab's administrator: the other opinion of what is true."""
    return lab.connect("lab-admin")


@pytest.fixture(scope="session")
def sdk_system(lab: Lab) -> Any:
    """openstacksdk with the system's scope: what may write limits."""
    return lab.connect("lab-system")


@pytest.fixture
def open_fleet(lab: Lab) -> Iterator[Callable[..., LabFleet]]:
    """Makes consoles on the lab and closes them."""
    made: list[LabFleet] = []

    def make(cloud: str = "lab-admin", **options: Any) -> LabFleet:
        made.append(LabFleet(lab, cloud, **options))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(open_fleet: Callable[..., LabFleet]) -> LabFleet:
    """A console with the administrator's credential, on the OpenStack services only."""
    return open_fleet(hosts=False)


@pytest.fixture
def open_console(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., QuotaConsole]]:
    """Makes consoles that may change limits, and closes them."""
    made: list[QuotaConsole] = []

    def make(cloud: str = "lab-admin", **options: Any) -> QuotaConsole:
        made.append(QuotaConsole(lab, tmp_path, cloud, **options))
        return made[-1]

    yield make
    for console in made:
        console.close()


@pytest.fixture
def limits_restored(sdk_system: Any) -> Iterator[None]:
    """Registered limits and limits as they were, whatever a test does to them."""
    identity = sdk_system.identity

    def registered() -> dict[tuple[Any, ...], Any]:
        return {(r.service_id, r.region_id, r.resource_name, r.default_limit): r for r in identity.registered_limits()}

    def own() -> dict[tuple[Any, ...], Any]:
        return {
            (o.project_id, o.domain_id, o.service_id, o.region_id, o.resource_name, o.resource_limit): o
            for o in identity.limits()
        }

    defaults, limits = registered(), own()
    yield
    wrong = {key[:3] for key in registered().keys() ^ defaults.keys()}
    for key, limit in own().items():
        if key not in limits or key[2:5] in wrong:
            identity.delete_limit(limit.id)
    for key, limit in registered().items():
        if key not in defaults:
            identity.delete_registered_limit(limit.id)
    for key in defaults.keys() - registered().keys():
        service, region, resource, value = key
        identity.create_registered_limit(
            service_id=service, region_id=region, resource_name=resource, default_limit=value
        )
    for key in limits.keys() - own().keys():
        names = ("project_id", "domain_id", "service_id", "region_id", "resource_name", "resource_limit")
        values = {name: value for name, value in zip(names, key, strict=True) if value is not None}
        identity.create_limit(**values)


@pytest.fixture
def quota_options(lab: Lab) -> Iterator[Callable[..., None]]:
    """Turns [quota] of nova.conf and of Nova; back as it was afterwards."""
    before = lab.control("/quota")
    yield lambda **values: lab.control("/quota", values)
    strategy, listed = "unified_limits_resource_strategy", "unified_limits_resource_list"
    lab.control("/quota", {"driver": before["driver"], strategy: before[strategy], listed: before[listed]})


def _answers(lab: Lab) -> bool:
    try:
        return bool(lab.hosts())
    except OSError:
        return False
