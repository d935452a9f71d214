"""``vgpu-console journal``: what this console changed."""

from __future__ import annotations

import click

from vgpu_console.cli_options import FORMATS, examples, given_of, global_options, output_option


@click.command(
    short_help="What this console changed, and what it left unfinished.",
    epilog=examples(
        """  vgpu-console journal
  vgpu-console journal --last 5
  vgpu-console journal 3f9c                      one change whole: plan, checks, what was accepted, inverse
  vgpu-console journal --unfinished
  vgpu-console journal -o json | jq '.[] | select(.action == "quota.set") | {at, user, title}'"""
    ),
)
@click.argument("run", required=False, metavar="[RUN]")
@output_option(FORMATS)
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last so many.")
@click.option("--unfinished", is_flag=True, help="Only those that never ended.")
@global_options(hidden=True)
@click.pass_context
def journal(ctx: click.Context, run: str | None, output: str, last: int | None, unfinished: bool) -> int:
    """Every change that was begun: when, by whom, from where, of what, and how it ended. Oldest first.

    With RUN, the id of a change or its beginning, that change whole, as table or json. A change without a result is
    under way now, or its console was killed: look at its target.

    The journal is a file of JSON lines in the state folder, only ever appended to; [journal] syslog sends each line to
    the system's log as well.
    """
    from vgpu_console.cli_journal_read import show_journal, show_run

    if run is None:
        return show_journal(given_of(ctx), output, last, unfinished)
    if output not in ("table", "json"):
        raise click.UsageError("one change whole is written as table or json", ctx)
    return show_run(given_of(ctx), output, run)
