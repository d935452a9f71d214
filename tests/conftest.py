"""What every test gets: Python's logging as it was before, whatever the test's console did to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from vgpu_console import log


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that run inside the tests' process open a log and set levels; the next test must not see it."""
    yield
    log.stop()
    logging.getLogger("vgpu_console").setLevel(logging.NOTSET)
