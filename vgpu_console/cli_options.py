"""What commands' options have in common: the global ones, formats, those of changes, numbers that begin with "-"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from vgpu_console.cli_plan import Way

FORMATS = ("table", "json", "ndjson", "csv", "md")
PLAN_FORMATS = ("table", "json")
GIVEN = "vgpu_console.given"
"""The key in ``ctx.meta`` of what the global options were given: name -> (value, as it was written)."""

_F = TypeVar("_F", bound=Callable[..., Any])


def remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keeps what a global option was given, wherever it stood, for the command's own settings."""
    if value is not None and value is not False and param.name:
        ctx.meta.setdefault(GIVEN, {})[param.name] = (value, param.opts[0])


def given_of(ctx: click.Context) -> dict[str, tuple[Any, str]]:
    """What the global options were given, before the command and after it."""
    given: dict[str, tuple[Any, str]] = ctx.meta.get(GIVEN, {})
    return given


class _Option(NamedTuple):
    names: tuple[str, ...]
    help: str
    metavar: str | None = None  # None: a flag


_GLOBAL = (
    _Option(("--demo",), "Run on the embedded cloud instead of a real one."),
    _Option(("--scenario",), "The embedded cloud's scenario: a name, a file, or a number of hosts.", "NAME|N"),
    _Option(("--os-cloud",), "The cloud's name in clouds.yaml.  [env: OS_CLOUD]", "NAME"),
    _Option(("--limits-cloud",), "A second entry of clouds.yaml, for unified limits (system scope).", "NAME"),
    _Option(("--region",), "The region.", "NAME"),
    _Option(("--read-only",), "Refuse every change where it would leave this program."),
    _Option(("--config",), "The configuration file.  [env: VGPU_CONSOLE_CONFIG]", "FILE"),
    _Option(("--deadline",), "How long one reading of the fleet may take.", "SECONDS"),
    _Option(("--log-file",), "Where the log goes.", "FILE"),
    _Option(("--debug",), "Log more."),
    _Option(("--no-color",), "No colours.  [env: NO_COLOR]"),
)


def global_options(hidden: bool, *, leave_out: tuple[str, ...] = (), show: tuple[str, ...] = ()) -> Callable[[_F], _F]:
    """The global options; hidden ones let them stand after the command too without filling each command's help.

    ``show`` are those that matter so much to a command that its help names them all the same.
    """

    def decorate(function: _F) -> _F:
        for option in reversed(_GLOBAL):
            if option.names[0] in leave_out:
                continue
            function = click.option(
                *option.names,
                help=option.help,
                metavar=option.metavar,
                is_flag=option.metavar is None,
                hidden=hidden and option.names[0] not in show,
                expose_value=False,
                callback=remember,
            )(function)
        return function

    return decorate


def output_option(formats: tuple[str, ...]) -> Callable[[_F], _F]:
    """``-o``, with the first format as the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to write it.",
    )


def examples(text: str) -> str:
    """An epilog with examples, kept line by line."""
    return f"\b\nExamples:\n{text}"


class OrderedGroup(click.Group):
    """Lists its subcommands in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)


# --- commands that change something -----------------------------------------------------------------------------------

CHANGING = """
    Shown before it is done: before and after, what it means, the checks, the commands of {tools} that do
    the same, and how it is undone. On a terminal you are asked; anywhere else nothing is done without --yes. What is
    there is read again right before and right after, and every step goes into the journal.

    A check that warns, or could not be looked at, is accepted by answering yes, or with --accept.{more}

    \b
    Exit codes:
      0  done; with --dry-run: nothing forbids it
      1  failed
      2  bad input: nothing was sent
      3  no connection
      4  refused, or changed by somebody else since it was planned
      5  some of several were not done"""
"""What the help of every such command says; with ``tools`` and ``more`` filled in."""


def changing(*show: str) -> Callable[[_F], _F]:
    """The options of every command that changes something; ``show`` are global ones that its help names too."""

    def decorate(function: _F) -> _F:
        for option in _plan_options(show):
            function = option(function)
        return function

    return decorate


def _plan_options(show: tuple[str, ...]) -> tuple[Callable[[_F], _F], ...]:
    return (
        global_options(hidden=True, show=("--read-only", *show)),
        output_option(PLAN_FORMATS),
        click.option(
            "--expect",
            multiple=True,
            metavar="HASH",
            help="Refuse when the plan has another hash than a dry run showed; once per plan.",
        ),
        click.option("--accept", multiple=True, metavar="CHECK", help="Accept what this check says; repeatable."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Show the plan and change nothing."),
    )


def way_of(dry_run: bool, yes: bool, accept: tuple[str, ...], expect: tuple[str, ...], output: str) -> Way:
    """What the options of :func:`changing` were given, under their own names."""
    from vgpu_console.cli_plan import Way

    return Way(dry_run=dry_run, yes=yes, accept=frozenset(accept), expect=expect, form=output)


# --- numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"-[0-9]")
_MINUS = "\u2212"
"""Stands for the ASCII minus of a number while click sorts options from arguments."""


class NumberCommand(click.Command):
    """A command one of whose arguments may be a negative number: ``-1`` is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """click's own, with numbers hidden from its search for options; see :func:`typed`."""
        return super().parse_args(ctx, [_MINUS + a[1:] if _NUMBER.match(a) else a for a in args])


def typed(text: str) -> str:
    """An argument of a NumberCommand as it was typed."""
    return "-" + text[1:] if text.startswith(_MINUS) else text
