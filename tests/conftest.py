"""What every test gets: Python's logging as it was before, whatever the test's console did to it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from vgpu_console import log


def pytest_configure() -> None:
    """A suite started in the background of a shell inherits an ignored SIGINT, which its commands would inherit too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that run inside the tests' process open a log and set levels; the next test must not see it."""
    yield
    log.stop()
    logging.getLogger("vgpu_console").setLevel(logging.NOTSET)
