"""``vgpu-console drain``: options and help. What it does is loaded later."""

from __future__ import annotations

import click

from vgpu_console.cli_options import PLAN_FORMATS, examples, given_of, global_options, output_option

NEWEST = "newest"
"""``--resume`` without an id: the only drain of this cloud that is left to do."""


REASON_LIMIT = 255
"""Characters that Nova keeps of a reason."""


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str:
    """Raises click.BadParameter for one that Nova would not take."""
    if value is not None and (not value.strip() or len(value) > REASON_LIMIT or not value.isprintable()):
        raise click.BadParameter(f"a reason has 1 to {REASON_LIMIT} characters on one line")
    return (value or "").strip()


@click.command(
    "drain",
    short_help="Live-migrate every server away from a host.",
    epilog=examples(
        """  vgpu-console drain gpu-01 --dry-run
  vgpu-console drain gpu-01 --to gpu-02 --to gpu-03 --max-parallel 2 --disable
  vgpu-console drain gpu-01 --yes --accept migrate.dirty-tracking -o json > report.json
  vgpu-console drain --status
  vgpu-console drain --resume"""
    ),
)
@click.argument("host", metavar="[HOST]", required=False)
@click.option("--to", multiple=True, metavar="HOST", help="Only to this host; repeatable.  [default: any]")
@click.option(
    "--max-parallel",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="So many at a time, and no more than Nova does at once.",
)
@click.option(
    "--stop-after-failures",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="N",
    help="Start no more once N have failed; 0: go on whatever fails.",
)
@click.option(
    "--max-downtime",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Leave servers whose guest may stand still for longer.",
)
@click.option("--disable", is_flag=True, help="Disable the host's nova-compute first, so that nothing comes there.")
@click.option("--reason", metavar="TEXT", callback=_reason, help="With --disable: why, for others to read in Nova.")
@click.option("--accept", multiple=True, metavar="CHECK", help="Accept what this check says; repeatable.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show where every server would go and change nothing.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[ID]",
    help="Go on with a drain that was left; its id where there are several.",
)
@click.option("--status", is_flag=True, help="Drains that were begun, and how far they are.")
@output_option(PLAN_FORMATS)
@global_options(hidden=True, show=("--read-only",))
@click.pass_context
def drain(
    ctx: click.Context,
    host: str | None,
    to: tuple[str, ...],
    max_parallel: int,
    stop_after_failures: int,
    max_downtime: float | None,
    disable: bool,
    reason: str,
    accept: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    resume: str | None,
    status: bool,
    output: str,
) -> int:
    """Live-migrate every server away from HOST, those with the shortest predicted downtime first.

    The plan shows where each would go so that all fit, and who cannot go and why. Each server is checked again right
    before its turn, and every step goes into the journal. What happens is told on stderr, the report at the end is on
    stdout. Ctrl+c starts no more and leaves those that run to Nova; --resume goes on.

    \b
    Exit codes:
      0    every server has left the host
      1    none has, or a failure stopped it before any
      2    no such host or drain
      3    no connection
      4    refused: read-only, not confirmed, a check to accept, run by another console
      5    some have
      130  interrupted
    """
    if sum((host is not None, resume is not None, status)) != 1:
        raise click.UsageError("name one HOST, or give --resume or --status", ctx)
    if resume is not None and (dry_run or to or disable):
        raise click.UsageError("--resume goes on as the drain was begun: not with --to, --disable or --dry-run", ctx)
    if reason and not disable:
        raise click.UsageError("--reason is of --disable", ctx)
    if status:
        from vgpu_console.cli_drain_read import show_drains

        return show_drains(given_of(ctx), output)
    from vgpu_console.cli_drain_run import Asked, begin_drain, resume_drain

    asked = Asked(
        to,
        max_parallel,
        stop_after_failures or None,
        max_downtime,
        disable,
        reason,
        frozenset(accept),
        yes,
        dry_run,
        output,
    )
    if resume is not None:
        return resume_drain(given_of(ctx), None if resume == NEWEST else resume, asked)
    return begin_drain(given_of(ctx), host or "", asked)
