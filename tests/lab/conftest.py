"""One lab cloud for the whole session: the machine has room for one, and it takes its seconds to come up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.contract.cloud_under_test import CloudUnderTest
from tests.lab.lab import REPOSITORY, Lab
from tests.lab.lab_fleet import LabFleet


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
def _pointed_at_lab(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """clouds.yaml of the lab for whoever looks for one, no other OS_* variable; afterwards every knob in its place."""
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


def _answers(lab: Lab) -> bool:
    try:
        return bool(lab.hosts())
    except OSError:
        return False
