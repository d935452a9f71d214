"""One writer at a time per SQLite file.

oslo.db begins every transaction as a reader; when it then writes after another thread's commit, SQLite refuses at once
with "database is locked", and no time-out helps. Writing transactions therefore queue before they begin.
"""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from oslo_db.sqlalchemy import enginefacade


def serialise_writers() -> None:
    """Make every ``enginefacade.writer`` scope of this process hold its database's lock."""
    facade = enginefacade._TransactionContextManager
    scope_of = facade._transaction_scope
    locks: dict[str, Any] = collections.defaultdict(threading.RLock)
    making_lock = threading.Lock()

    @contextlib.contextmanager
    def transaction_scope(self: Any, context: Any) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            if self._mode is enginefacade._WRITER:
                with making_lock:
                    lock = locks[str(self.reader.get_engine().url)]
                stack.enter_context(lock)
            yield stack.enter_context(scope_of(self, context))

    facade._transaction_scope = transaction_scope
