"""What every command's options have in common: the global ones, formats, examples, and numbers that begin with "-"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

FORMATS = ("table", "json", "ndjson", "csv", "md")
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
