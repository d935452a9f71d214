"""A bound on how long a call into a C library is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], name: str) -> T:
    """What the call gives or raises; TimeoutError when it has not come back in time.

    The call goes on in a daemon thread of that name, so that one that hangs holds up neither its caller nor the end
    of the program.
    """
    done = threading.Event()
    result: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(call())
        except BaseException as error:
            failure.append(error)
        done.set()

    threading.Thread(target=work, name=name, daemon=True).start()
    if not done.wait(seconds):
        raise TimeoutError(f"{name} did not come back within {seconds:g} s")
    if failure:
        raise failure[0]
    return result[0]
