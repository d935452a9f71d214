"""What the parts of the embedded Nova share: its inner workings, paging, times in queries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from vgpu_console.simulator.compute import Compute
from vgpu_console.simulator.http_base import ApiError, Request
from vgpu_console.simulator.migrating import Migrations
from vgpu_console.simulator.resizing import Resizes

MAX_PAGE = 1000
"""[api] max_limit: the most rows of one page."""


class Nova(msgspec.Struct, eq=False):
    """The workings behind the API."""

    compute: Compute
    migrations: Migrations
    resizes: Resizes


def moment(request: Request, name: str) -> float | None:
    """A query parameter that is a time, in seconds since the epoch. Raises ApiError 400."""
    text = request.one(name)
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise ApiError(400, f"Invalid input for query parameters {name}. Value: {text}.") from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def page_links(request: Request, marker: str) -> list[dict[str, Any]]:
    """The link to the next page: the same query with a new marker."""
    query = {name: values for name, values in request.query.items() if name != "marker"}
    query["marker"] = [marker]
    return [{"rel": "next", "href": f"{request.base}/compute{request.path}?{urlencode(query, doseq=True)}"}]
