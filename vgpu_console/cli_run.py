"""Running a read command: settings, log, one reading of the fleet, and what is said about its gaps.

Only what a command needs is imported, when it needs it: this module is loaded with the help text too.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from vgpu_console.cli_output import Layout
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.model.snapshot import Snapshot
    from vgpu_console.model.source import SourceKind, SourceStatus
    from vgpu_console.views import View

NAME = "vgpu-console"

OK, FAILED, USAGE, NO_CONNECTION, REFUSED, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

LOG = logging.getLogger("vgpu_console.cli")


def say(*lines: str) -> None:
    """Words for a person: one line each on stderr, where nobody looks for data."""
    from vgpu_console.text import plain

    for line in lines:
        click.echo(plain(line, 4_000), err=True)


def forget_typed() -> None:
    """Drops what was typed before a question stood there: nobody can have answered what was not yet shown."""
    import termios

    try:
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (OSError, ValueError, termios.error):  # no terminal
        return


def hush() -> None:
    """After stdout could not be written: let what is still buffered fall without another complaint at exit."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):  # not a real file: nothing is flushed at exit
        return


def ending(error: Exception) -> int:
    """Says why a command ended with an error, in one line, and returns the exit code that goes with it."""
    from vgpu_console.config import ConfigError
    from vgpu_console.sources.base import Refused, SourceError

    if isinstance(error, ConfigError):
        say(*(f"{NAME}: {line}" for line in str(error).splitlines()))
        return USAGE
    if isinstance(error, Refused):
        say(f"{NAME}: refused: {error}")
        return REFUSED
    if isinstance(error, SourceError):
        LOG.warning("no connection: %s", error)
        say(f"{NAME}: no connection: {error}")
        return NO_CONNECTION
    LOG.error("the command failed", exc_info=error)
    try:
        sys.stdout.flush()
    except OSError:
        hush()
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        say(f"{NAME}: {place}{error.strerror or type(error).__name__}")
        return FAILED
    say(f"{NAME}: failed: {type(error).__name__}: {_first_line(error)}{_see_log()}")
    return FAILED


def _first_line(error: Exception) -> str:
    from vgpu_console.log import redact

    lines = redact(str(error)).splitlines()
    return lines[0] if lines else "no reason given"


def _see_log() -> str:
    from vgpu_console.log import current_file

    path = current_file()
    return f" (the log has the details: {path})" if path else ""


def settings_of(given: Mapping[str, tuple[Any, str]]) -> Settings:
    """The settings with what the command line gave: option name -> (value, as it was written). Raises ConfigError."""
    from vgpu_console.config import load

    names = {"os_cloud": "cloud", "log_file": "log.file"}
    ours = ("os_cloud", "limits_cloud", "region", "read_only", "log_file", "deadline", "no_color")
    arguments = {names.get(name, name): given[name] for name in ours if name in given}
    if "debug" in given:
        arguments["log.level"] = ("debug", "--debug")
    config = given.get("config")
    return load(arguments, config_file=config[0] if config else None)


def demo_of(given: Mapping[str, tuple[Any, str]]) -> DemoChoice | None:
    """The embedded cloud that the options ask for, None for a real one. Raises click.UsageError on an unknown one."""
    if "demo" not in given and "scenario" not in given:
        return None
    from vgpu_console.config import DemoChoice

    name = given["scenario"][0] if "scenario" in given else None
    if name is None:
        return DemoChoice()
    if name.isdecimal():
        if not 1 <= int(name) <= 100_000:
            raise click.UsageError(f"--scenario {name}: a fleet has 1 to 100000 hosts")
        return DemoChoice(int(name))
    from vgpu_console.runtime import scenario_names

    known = scenario_names()
    if name not in known and os.path.isfile(name):
        return DemoChoice(os.path.abspath(name))
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1, 0.5)
        named = ", ".join(one for one in known if not one.startswith("ill-"))
        others = f"there are: {named}, ill-ID for a diagnosis of the doctor, a file, or a number of hosts"
        hint = f"did you mean {near[0]}?" if near else others
        raise click.UsageError(f"--scenario {name}: no such scenario; {hint}")
    return DemoChoice(name)


class Progress:
    """One line on a terminal that says how far a reading is; nothing anywhere else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._on = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def __call__(self, answered: int, known: int) -> None:
        """Shows how many of the sources that are known so far have answered."""
        self._show(f"reading the fleet: {answered} of {known} sources have answered")

    def start(self) -> None:
        """Shows that something is going on before the first source is known."""
        self._show("connecting …")

    def tell(self, text: str) -> None:
        """Shows what is being done."""
        from vgpu_console.text import plain

        self._show(plain(text, shutil.get_terminal_size().columns - 1))

    def clear(self) -> None:
        """Takes the line away."""
        self._show("")

    def _show(self, text: str) -> None:
        if self._on:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


def read_fleet(
    settings: Settings, demo: DemoChoice | None, want: frozenset[SourceKind], *, use_only: bool = False
) -> Snapshot:
    """Opens the log and reads the wanted sources once, with ``use_only`` no more of them than the quota view needs.

    Raises SourceError when no connection can be tried.
    """
    from vgpu_console import log

    log.start(settings.log)
    progress = Progress(sys.stderr)
    progress.start()
    try:
        from vgpu_console.runtime import read_once

        return read_once(settings, demo, want, settings.deadline, progress, use_only)
    finally:
        progress.clear()


def show_view(
    name: str | View,
    given: Mapping[str, tuple[Any, str]],
    form: str,
    hosts: tuple[str, ...],
    projects: tuple[str, ...],
) -> int:
    """Runs one of the views, by its name or as it is; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    from vgpu_console.cli_output import write
    from vgpu_console.view_filters import Filters, unmatched
    from vgpu_console.views import OPENSTACK, VIEWS, empty_reason, relevant_errors

    view = VIEWS[name] if isinstance(name, str) else name
    filters = Filters(hosts, projects)
    want: frozenset[SourceKind] = view.needs | ({"keystone", "nova"} if projects else frozenset())
    # what concerns a host takes the hosts, and all that is known of them
    snapshot = read_fleet(settings, demo, want, use_only=view.use_only and not hosts)
    rows = view.rows(snapshot, filters)
    if not rows and is_dark(snapshot, OPENSTACK & want):
        return no_connection(snapshot)
    left_out = write(view, rows, form, sys.stdout, layout(settings))
    sys.stdout.flush()
    if left_out:
        say(f"no room for: {', '.join(left_out)} (a wider terminal or another -o shows them)")
    failed = relevant_errors(view, snapshot, filters)
    if not rows:
        say(empty_reason(view, snapshot, filters))
    if not failed:
        say(*unmatched(snapshot, filters))
    tell_gaps([s for s in snapshot.sources if s.kind in want], failed)
    return _code(snapshot, failed, OPENSTACK & want)


def show_snapshot(given: Mapping[str, tuple[Any, str]]) -> int:
    """Writes the whole snapshot as JSON, with its failed sources under ``errors``; returns the exit code."""
    settings, demo = settings_of(given), demo_of(given)
    from vgpu_console.cli_output import snapshot_text
    from vgpu_console.views import EVERYTHING, OPENSTACK

    snapshot = read_fleet(settings, demo, EVERYTHING)
    if not snapshot.hosts and is_dark(snapshot, OPENSTACK):
        return no_connection(snapshot)
    sys.stdout.write(snapshot_text(snapshot, pretty=sys.stdout.isatty()) + "\n")
    sys.stdout.flush()
    tell_gaps(snapshot.sources, snapshot.errors)
    return _code(snapshot, snapshot.errors, OPENSTACK)


def show_config(given: Mapping[str, tuple[Any, str]], form: str) -> int:
    """Writes every setting with where it came from; returns the exit code."""
    from vgpu_console import config, log
    from vgpu_console.cli_output import json_text, write_table

    settings = settings_of(given)
    listing = settings.listing()
    if form == "json":
        sys.stdout.write(json_text(listing, pretty=True) + "\n")
    else:
        rows = [[s.key, _setting_text(s.value), s.origin, s.detail] for s in listing]
        names = ["setting", "value", "origin", "where"]
        write_table(names, rows, [False] * 4, sys.stdout, layout(settings), [0, 0, 0, 1])
    sys.stdout.flush()
    where = settings.file or f"none at {config.default_file()}"
    say(f"configuration file: {where}", f"log file: {settings.log.file or log.default_file()}")
    return OK


def _setting_text(value: Any) -> str:
    from vgpu_console.text import plain

    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return plain(", ".join(value)) or "none"
    return f"{value:g}" if isinstance(value, float) else plain(value)


def layout(settings: Settings) -> Layout:
    """How tables are laid out on this stdout: in the terminal's width and colours, or plain where it is none."""
    from vgpu_console.cli_output import Layout

    if not sys.stdout.isatty():
        return Layout()
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return Layout(shutil.get_terminal_size().columns, not (settings.no_color or dumb))


def tell_gaps(sources: Iterable[SourceStatus], failed: Iterable[SourceStatus]) -> None:
    """What the data leaves out: failed sources under ``errors:``, the limits of good answers under ``notes:``."""
    notes = [f"  {s.key}: {note}" for s in sources if s.error is None for note in s.notes]
    if notes:
        say("notes:", *notes)
    errors = [f"  {s.key}: {s.error}" for s in failed]
    if errors:
        say("errors:", *errors)


def is_dark(snapshot: Snapshot, kinds: frozenset[SourceKind]) -> bool:
    """True when none of the OpenStack services that were asked has answered."""
    asked = [s for s in snapshot.sources if s.kind in kinds]
    return bool(asked) and all(s.error is not None for s in asked)


def no_connection(snapshot: Snapshot) -> int:
    """One clear line: the reasons are told once each, a refused credential before the rest that follows from it."""
    order = {"auth": 0, "unavailable": 1, "unreachable": 2}
    failed = sorted((s for s in snapshot.errors if not s.host), key=lambda s: order.get(s.error_kind or "", 3))
    reasons = dict.fromkeys(s.error or "" for s in failed)
    say(f"{NAME}: no connection: {'; '.join(reasons)}")
    return NO_CONNECTION


def _code(snapshot: Snapshot, failed: tuple[SourceStatus, ...], openstack: frozenset[SourceKind]) -> int:
    if is_dark(snapshot, openstack):
        return NO_CONNECTION
    return PARTIAL if failed else OK
