"""An open file descriptor that is closed once, also at the end of a ``with``."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self


class OpenFile:
    """What has ``_fd`` open; -1 afterwards. Nothing is left to be saved when it is closed."""

    _fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
