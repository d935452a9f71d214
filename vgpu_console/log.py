"""The log: a rotating file in the state folder, never the screen, and no secret in it.

Secrets are taken out where a line is written, after arguments and tracebacks have become text, so that no logger,
not even a library's, can get around it.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import stat
import sys
from io import TextIOWrapper
from pathlib import Path

from vgpu_console.config import APP, LogSettings
from vgpu_console.text import plain

MAX_BYTES = 5_000_000
BACKUPS = 3
MAX_LINE = 8_000
HIDDEN = "<hidden>"

QUIET_LOGGERS = ("asyncssh",)
"""Libraries held at WARNING, also with --debug. OpenStack's are silent altogether: see sources.cloud_session."""

_NAMES = (
    r"x-(?:auth|subject|service|storage)-token|(?:proxy-)?authorization|(?:set-)?cookie|"
    r"[\w-]*(?:password|passwd|passphrase|passcode|secret)|admin_?pass|[\w-]*(?:api|private|access)_?key|"
    r"(?:\w+[_-])?token(?:_id)?|totp"
)
_QUOTED = r"""[bu]?"(?:\\.|[^"\\\n])*(?:"|$)|[bu]?'(?:\\.|[^'\\\n])*(?:'|$)"""
_GROUP = rf"""[\[(](?:{_QUOTED}|[^\])"'\n])*(?:[\])]|$)"""
_BARE = r"(?:(?:Bearer|Basic|Digest|Negotiate)\s+)?[^\s\"']+"
_NAMED = re.compile(
    rf"""(?P<name>\b(?:{_NAMES})\b["']?\s*(?:=>|[:=])\s*)(?:{_QUOTED}|{_GROUP}|{_BARE})""",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(
    r"""(?P<name>\b(?:x-(?:auth|subject|service|storage)-token|(?:proxy-)?authorization|(?:set-)?cookie)\s*:\s*)"""
    r"""[^"'\[(\s][^"'\n]*""",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?P<name>\b[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s/@]+(?=@)", re.IGNORECASE)
_FERNET = re.compile(r"\bgAAAA[\w-]{16,}={0,2}")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def redact(text: str) -> str:
    """The text with tokens, passwords, authorization headers, private keys and passwords in URLs hidden.

    It would rather hide a word too many: the rest of a header's line goes with it.
    """
    text = _PEM.sub(HIDDEN, text)
    text = _HEADER.sub(rf"\g<name>{HIDDEN}", text)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", text)
    text = _USERINFO.sub(rf"\g<name>{HIDDEN}", text)
    return _FERNET.sub(HIDDEN, text)


class SafeFormatter(logging.Formatter):
    """One line per record (a traceback follows on lines of its own), without secrets or control characters."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The record's line; line ends inside a message are shown, so that no text can forge a record."""
        record.message = "⏎".join(record.message.splitlines())
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The whole text of a record, redacted."""
        lines = redact(super().format(record)).split("\n")
        return "\n".join(plain(line, MAX_LINE) for line in lines)


class PrivateRotatingFile(logging.handlers.RotatingFileHandler):
    """A rotating file that only its owner can read, from its first byte on."""

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
            if stat.S_ISREG(os.fstat(fd).st_mode):  # /dev/null and /dev/stderr are everybody's
                os.fchmod(fd, 0o600)
            return fd

        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=private)


def default_file() -> Path:
    """Where the log goes when no other place is named (XDG_STATE_HOME is honoured)."""
    import platformdirs

    return platformdirs.user_state_path(APP) / f"{APP}.log"


def start(settings: LogSettings) -> Path | None:
    """Sends all logging and Python warnings to the log file; returns its path.

    A file that cannot be written costs one line on stderr and never the command: None is returned and nothing is
    logged. Calling it again moves the log.
    """
    path = Path(settings.file).expanduser() if settings.file else default_file()
    stop()
    handler: logging.Handler
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = PrivateRotatingFile(path, maxBytes=MAX_BYTES, backupCount=BACKUPS)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        sys.stderr.write(f"{APP}: no log is kept: {plain(path)}: {reason}\n")
        handler = logging.NullHandler()
        written = None
    else:
        written = path
    handler.setFormatter(SafeFormatter())
    handler.set_name(APP)
    logging.raiseExceptions = False  # a full disk must not print tracebacks across the screen
    logging.lastResort = None
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("vgpu_console").setLevel(settings.level.upper())
    return written


def stop() -> None:
    """Closes the log that ``start()`` opened, if any."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if h.get_name() == APP]:
        root.removeHandler(handler)
        handler.close()


def current_file() -> Path | None:
    """The file that the log goes to now, None when none is kept."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrivateRotatingFile):
            return Path(handler.baseFilename)
    return None
