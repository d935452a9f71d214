"""The log: where it is, who can read it, and that no secret and no control character gets into it."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console import log
from vgpu_console.config import LogSettings
from vgpu_console.log import HIDDEN, redact

OURS = logging.getLogger("vgpu_console.test")


@pytest.fixture(autouse=True)
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves Python's logging as it was."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    names = ["", "vgpu_console", *log.QUIET_LOGGERS]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    log.stop()
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def started(tmp_path: Path, level: str = "info") -> Path:
    path = log.start(LogSettings(file=str(tmp_path / "new" / "console.log"), level=level))  # type: ignore[arg-type]
    assert path is not None
    return path


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_log_is_in_the_state_folder_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = log.start(LogSettings())
    OURS.info("hello")

    assert path == tmp_path / "home" / ".local" / "state" / "vgpu-console" / "vgpu-console.log"
    assert path == log.current_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "INFO    vgpu_console.test: hello" in written(path)


def test_a_log_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    path = tmp_path / "new" / "console.log"
    path.write_text("before\n")
    path.chmod(0o644)
    started(tmp_path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert written(path).startswith("before\n")


def test_what_is_no_file_keeps_its_mode(tmp_path: Path) -> None:
    """``--log-file /dev/null`` as root must not take /dev/null away from everybody else."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log.start(LogSettings(file=str(pipe)))
    OURS.warning("said")
    assert stat.S_IMODE(pipe.stat().st_mode) == 0o666
    assert b"said" in os.read(reader, 10_000)
    os.close(reader)


def test_a_full_log_is_rotated_and_stays_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 2_000)
    path = started(tmp_path)
    for n in range(200):
        OURS.info("line %d", n)

    files = sorted(p.name for p in path.parent.iterdir())
    assert files == ["console.log", "console.log.1", "console.log.2", "console.log.3"]
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    assert "line 199" in written(path)


@pytest.mark.parametrize("place", ["file/console.log", "."])
def test_a_log_that_cannot_be_written_costs_one_line_and_nothing_else(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")

    assert log.start(LogSettings(file=str(tmp_path / place))) is None
    OURS.error("nobody hears this")

    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert words.startswith("vgpu-console: no log is kept: ")


def test_nothing_is_written_to_the_screen(tmp_path: Path) -> None:
    """In a process of its own: Python's filters of warnings belong to all threads, also to those of other tests."""
    path = tmp_path / "new" / "console.log"
    script = (
        "import logging, sys, warnings\n"
        "from vgpu_console import log\n"
        "from vgpu_console.config import LogSettings\n"
        "log.start(LogSettings(file=sys.argv[1]))\n"
        "logging.getLogger('vgpu_console.test').error('a fault')\n"
        "logging.getLogger('somebody.else').error('another fault')\n"
        "warnings.simplefilter('always')\n"
        "warnings.warn('something is old', UserWarning)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert all(words in written(path) for words in ("a fault", "another fault", "something is old"))


@pytest.mark.parametrize(
    ("level", "expected"), [("debug", "d i w e"), ("info", "i w e"), ("warning", "w e"), ("error", "e")]
)
def test_the_level_is_ours_and_libraries_stay_at_warning(level: str, expected: str, tmp_path: Path) -> None:
    path = started(tmp_path, level)
    for logger in (OURS, logging.getLogger("asyncssh")):
        logger.debug("d")
        logger.info("i")
        logger.warning("w")
        logger.error("e")

    lines = [line.split() for line in written(path).splitlines()]
    assert [line[-1] for line in lines if line[3] == "vgpu_console.test:"] == expected.split()
    assert [line[-1] for line in lines if line[3] != "vgpu_console.test:"] == ["w", "e"]


def test_no_text_can_forge_a_record_or_move_the_cursor(tmp_path: Path) -> None:
    path = started(tmp_path)
    OURS.warning("name: %s", "x\n2025-01-01 00:00:00 ERROR   forged: y\x1b[2J\r\u202e")

    text = written(path)
    assert text.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)


# --- secrets ----------------------------------------------------------------------------------------------------------

SECRETS = st.text(
    alphabet=string.ascii_letters + string.digits + "+/=_-.!$%*~,;&()[]{}", min_size=6, max_size=40
).filter(lambda s: s not in HIDDEN and any(c.isalnum() for c in s[:1]))
HEADERS = [
    "X-Auth-Token",
    "x-auth-token",
    "X-Subject-Token",
    "X-Service-Token",
    "Authorization",
    "Cookie",
    "Set-Cookie",
]
NAMES = [
    "password",
    "OS_PASSWORD",
    "admin_pass",
    "adminPass",
    "secret",
    "client_secret",
    "application_credential_secret",
]
NAMES += ["token", "auth_token", "token_id", "api_key", "passphrase", "user_password"]


@given(secret=SECRETS, name=st.sampled_from(HEADERS))
def test_headers_are_hidden_however_they_are_written(secret: str, name: str) -> None:
    for text in (
        f"{name}: {secret}",
        f'curl -g -i -X GET https://k/v3 -H "{name}: {secret}" -H "Accept: x"',
        f"-H '{name}: {{SHA256}}{secret}'",
        repr({name: secret}),
        repr({name: [secret, secret]}),
        json.dumps({"headers": {name: secret}}),
        f"{name}: Bearer {secret}",
    ):
        assert secret not in redact(text), text


@given(secret=SECRETS, name=st.sampled_from(NAMES))
def test_named_values_are_hidden_however_they_are_written(secret: str, name: str) -> None:
    for text in (
        f"{name}={secret}",
        f"{name} = {secret}",
        f"{name}: {secret}",
        f"https://k/v3?a=b&{name}={secret}",
        repr({name: secret}),
        repr({name: secret.encode()}),
        json.dumps({"auth": {"identity": {"password": {"user": {name: secret, "name": "x"}}}}}),
        f"{name}='{secret} and more words'",
    ):
        assert secret not in redact(text), text


@given(secret=st.text(alphabet=string.printable.replace("\n", "").replace("\r", ""), min_size=8))
def test_a_quoted_secret_is_hidden_whatever_is_in_it(secret: str) -> None:
    assert redact(f"x {json.dumps({'password': secret})} y").count(HIDDEN) >= 1
    assert redact("password=" + json.dumps(secret)) == f"password={HIDDEN}"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("https://admin:s3cret@cloud/v3", "s3cret"),
        ("id gAAAAABk1234567890abcdef1234567890_-x", "gAAAAABk1234567890"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----", "MIIabc"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "b3Blbn"),
    ],
)
def test_secrets_are_known_by_their_shape_too(text: str, hidden: str) -> None:
    assert hidden not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "nova failed after 5.00 s: the token request was refused (HTTP 401)",
        "qemu+ssh://root@gpu-01/system: no answer within 5 s",
        "GET /v3/projects 200 in 0.12 s, 3 requests",
        "primary key of /os-services/7: monkey=4 sort_key=name",
        "application credential app-1 is not known",
    ],
)
def test_words_without_a_secret_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(redact(text), str)


def test_redacting_a_long_line_is_quick() -> None:
    """Patterns that try again from every place would take minutes here."""
    for piece in ("password=", "x-auth-token: '", "[" * 8, '"\\', "https://", "gAAAA", "token_"):
        redact(piece * (100_000 // len(piece)))


def test_arguments_and_tracebacks_are_redacted_too(tmp_path: Path) -> None:
    path = started(tmp_path)
    OURS.warning("headers %s", {"X-Auth-Token": "gone-1"})
    logging.getLogger("keystoneauth").warning("password=%s", "gone-2")
    try:
        raise ValueError("client_secret='gone-3'")
    except ValueError:
        OURS.exception("it failed")

    text = written(path)
    assert "gone-" not in text
    assert text.count(HIDDEN) >= 3
    assert "ValueError" in text
    assert sys.exc_info() == (None, None, None)
