"""One condition that was looked at before something is done, with its evidence."""

from __future__ import annotations

from typing import Literal

import msgspec

CheckStatus = Literal["pass", "warn", "fail", "unknown"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """``fail`` forbids, ``warn`` and ``unknown`` must be accepted by the operator; ``unknown`` is not ``pass``."""

    id: str
    status: CheckStatus
    evidence: str
    source: str = ""
    age_s: float | None = None
