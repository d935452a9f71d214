"""``vgpu-console layout`` with its subcommands: options and help. What each does is loaded later."""

from __future__ import annotations

from typing import Any

import click

from vgpu_console.cli_options import (
    CHANGING,
    FORMATS,
    OrderedGroup,
    changing,
    examples,
    given_of,
    global_options,
    output_option,
    way_of,
)

_FILE = click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))


@click.group(
    "layout",
    cls=OrderedGroup,
    short_help="Which vGPUs a fleet is to have, as a file.",
    epilog=examples(
        """  vgpu-console layout show > layout.toml
  vgpu-console layout diff layout.toml
  vgpu-console layout assert layout.toml      for CI
  vgpu-console layout apply layout.toml --dry-run

\b
A file:
  version = 1
  [[gpu]]
  host = "gpu-0*"            # names may have *, ? and […]
  gpu = "0000:41:00.0"
  type = "A100-20C"
  count = 2
  persistent = true"""
    ),
)
@global_options(hidden=True)
def layout() -> None:
    """Layouts: a TOML file says which types in which number on which hosts and GPUs; "-" is the standard input."""


@layout.command(
    "show",
    short_help="The present state as such a file.",
    epilog=examples("  vgpu-console layout show > layout.toml\n  vgpu-console layout show gpu-01 gpu-02"),
)
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@click.option(
    "-o", "--output", type=click.Choice(("toml", "json")), default="toml", show_default=True, help="How to write it."
)
@global_options(hidden=True)
@click.pass_context
def show(ctx: click.Context, hosts: tuple[str, ...], output: str) -> int:
    """Write the vGPUs that are there now, on each HOST or on all, as a layout file.

    \b
    Exit codes:
      0  all of it
      2  no such host
      3  no connection
      5  a host did not answer, and is left out
    """
    from vgpu_console.cli_layout_run import show_layout

    return show_layout(given_of(ctx), hosts, output)


@layout.command(
    "diff",
    short_help="What differs from the file.",
    epilog=examples("  vgpu-console layout diff layout.toml\n  vgpu-console layout diff layout.toml -o json"),
)
@_FILE
@output_option(FORMATS)
@global_options(hidden=True)
@click.pass_context
def diff(ctx: click.Context, file: str, output: str) -> int:
    """Write what differs between FILE and what is there: missing, surplus, of another type, or not to be told.

    \b
    Exit codes:
      0  also when something differs
      2  the file cannot be used
      3  no connection
      5  a host did not answer
    """
    from vgpu_console.cli_layout_run import show_differences

    return show_differences(given_of(ctx), file, output, strict=False)


@layout.command(
    "assert",
    short_help="Exit 1 when something differs.",
    epilog=examples(
        "  vgpu-console layout assert layout.toml || alert\n  vgpu-console layout assert layout.toml -o json"
    ),
)
@_FILE
@output_option(FORMATS)
@global_options(hidden=True)
@click.pass_context
def assert_(ctx: click.Context, file: str, output: str) -> int:
    """As diff, for CI: the exit code says whether FILE and what is there agree.

    \b
    Exit codes:
      0  they agree
      1  something differs, whatever else could not be read
      2  the file cannot be used
      3  no connection
      5  nothing is known to differ, but a host that the file names did not answer
    """
    from vgpu_console.cli_layout_run import show_differences

    return show_differences(given_of(ctx), file, output, strict=True)


@layout.command(
    "apply",
    short_help="Create what is missing.",
    epilog=examples(
        """  vgpu-console layout apply layout.toml --dry-run
  vgpu-console layout apply layout.toml --yes
  vgpu-console layout apply layout.toml --prune      also removes what the file does not have, if nobody uses it"""
    ),
)
@_FILE
@click.option("--prune", is_flag=True, help="Also remove free vGPUs that the file does not have.")
@changing()
@click.pass_context
def apply(ctx: click.Context, /, file: str, prune: bool, **asked: Any) -> int:
    """Make what is there what FILE says: a plan per vGPU, and a result for each. Run again, it does nothing.

    A failure ends the work on its GPU; other GPUs go on. vGPUs that servers have are never touched.
    """
    from vgpu_console.cli_layout_run import apply_layout

    return apply_layout(given_of(ctx), file, prune, way_of(**asked))


apply.help = f"{apply.help}\n" + CHANGING.format(
    tools="virsh and mdevctl", more="\n    Only the hosts that the file names are read."
)
