"""What a libvirt error means, by libvirt's own numbers (virterror.h), without libvirt-python at hand."""

from __future__ import annotations

from vgpu_console.model.source import ErrorKind
from vgpu_console.sources.base import SourceError
from vgpu_console.text import plain

GONE = frozenset({42, 53})  # NO_DOMAIN, NO_NODE_DEVICE
UNSUPPORTED = frozenset({3, 8, 74, 84})  # NO_SUPPORT, INVALID_ARG (a flag), ARGUMENT_ and OPERATION_UNSUPPORTED
_AUTH = frozenset({45, 79, 94})  # AUTH_FAILED, AUTH_CANCELLED, AUTH_UNAVAILABLE
_FORBIDDEN = frozenset({29, 88})  # OPERATION_DENIED, ACCESS_DENIED

_AUTH_WORDS = ("permission denied", "host key verification failed", "authentication failed", "authentication denied")
_LOST_WORDS = (
    "socket is closed",
    "connection closed",
    "connection reset",
    "keepalive timeout",
    "end of file",
    "broken pipe",
    "unable to connect",
    "connection refused",
    "no route to host",
    "could not resolve",
    "cannot recv data",
    "cannot write data",
    "network is unreachable",
    "name or service not known",
)


def code_of(error: BaseException) -> int | None:
    """libvirt's number of an error; None for errors of another origin."""
    try:
        code = error.get_error_code()  # type: ignore[attr-defined]
    except Exception:
        return None
    return code if isinstance(code, int) else None


def words_of(error: BaseException) -> str:
    """libvirt's words, as one plain line."""
    try:
        text = error.get_error_message()  # type: ignore[attr-defined]
    except Exception:
        text = None
    return plain(" ".join(str(text or error or type(error).__name__).split()), 240)


def is_lost(error: BaseException) -> bool:
    """Whether the words are those of a connection that broke, and not of one object that could not be read."""
    return any(w in words_of(error).lower() for w in _LOST_WORDS)


def explain(error: Exception) -> SourceError:
    """Any exception of a connection as a SourceError with its kind and one plain line."""
    if isinstance(error, SourceError):
        return error
    code, words = code_of(error), words_of(error)
    if isinstance(error, TimeoutError):
        return SourceError("timeout", words)
    if isinstance(error, OSError):
        return SourceError("unreachable", plain(error.strerror or words, 240))
    return SourceError(_kind(code, words.lower()), f"libvirt: {words}")


def _kind(code: int | None, words: str) -> ErrorKind:
    if code in _AUTH or any(w in words for w in _AUTH_WORDS):
        return "auth"
    if code in _FORBIDDEN:
        return "forbidden"
    if "timed out" in words and "keepalive" not in words:
        return "timeout"
    if code == 38 or any(w in words for w in _LOST_WORDS):  # SYSTEM_ERROR: a call to the operating system failed
        return "unreachable"
    return "protocol"
