"""``vgpu-console doctor``: options and help. What it does is loaded later."""

from __future__ import annotations

from pathlib import Path

import click

from vgpu_console.cli_options import FORMATS, examples, given_of, global_options, output_option


@click.command(
    "doctor",
    short_help="What is wrong with the fleet, why, and what mends it.",
    epilog=examples(
        """  vgpu-console doctor
  vgpu-console doctor --only vfs-off
  vgpu-console doctor --host gpu-04 --fail-on warn          for a nightly check
  vgpu-console doctor -o json | jq -r '.findings[] | select(.severity == "fail") | .command'
  vgpu-console doctor -o json | jq '.unknown[] | {source, hosts, reason, access}'
  vgpu-console doctor --list
  vgpu-console doctor --bundle support.tar.gz"""
    ),
)
@output_option(FORMATS)
@click.option("--only", multiple=True, metavar="ID", help="Only this diagnosis, with evidence and command; repeatable.")
@click.option("--host", multiple=True, metavar="NAME", help="Only what concerns this host; repeatable.")
@click.option(
    "--fail-on", type=click.Choice(("warn", "fail")), help="Exit 1 when a finding is as severe as that, or more."
)
@click.option("--list", "list_", is_flag=True, help="Every diagnosis that there is, with why it matters; asks nobody.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a support bundle: what was read, names and addresses replaced, secrets never in.",
)
@global_options(hidden=True)
@click.pass_context
def doctor(
    ctx: click.Context,
    output: str,
    only: tuple[str, ...],
    host: tuple[str, ...],
    fail_on: str | None,
    list_: bool,
    bundle: Path | None,
) -> int:
    """Hold hosts, Placement, Nova and Keystone against each other: what is wrong, why it matters, what mends it.

    Unknown is not ok: what could not be looked at is told with the access that would show it. JSON is an object with
    "findings" and, of what could not be looked at, "unknown".

    \b
    Exit codes:
      0  also when there are findings
      1  with --fail-on, when there is such a one
      3  no connection
      5  a source did not answer
    """
    from vgpu_console import cli_doctor_read

    if list_:
        if only or host or fail_on or bundle:
            raise click.UsageError("--list stands alone: it reads no fleet", ctx)
        return cli_doctor_read.show_list(given_of(ctx), output)
    return cli_doctor_read.show_doctor(given_of(ctx), output, only, host, fail_on, bundle)
