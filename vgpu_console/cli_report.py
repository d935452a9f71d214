"""``vgpu-console report`` and ``diff``: options and help. What each does is loaded later."""

from __future__ import annotations

from pathlib import Path

import click

from vgpu_console.cli_options import examples, given_of, global_options, output_option
from vgpu_console.reports.formats import SECTIONS, SUFFIXES, format_of


@click.command(
    "report",
    short_help="A dated report of the fleet: Markdown, HTML, JSON, CSV, SVG.",
    epilog=examples(
        """  vgpu-console report > fleet.md
  vgpu-console report -O fleet.html                     one file, nothing is loaded from elsewhere
  vgpu-console report -O fleet.html --force             over the one of yesterday
  vgpu-console report --format json | jq .summary
  vgpu-console report --format csv --section capacity > capacity.csv
  vgpu-console --os-cloud prod report -O fleet.svg      the dashboard as the terminal shows it"""
    ),
)
@click.option("--format", "form", type=click.Choice(list(SUFFIXES)), help="The format.  [default: by FILE, else md]")
@click.option("-O", "--output-file", "path", metavar="FILE", type=click.Path(path_type=Path), help="Write to a file.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@click.option("--section", type=click.Choice(SECTIONS), help="With csv: this table alone.")
@global_options(hidden=True)
@click.pass_context
def report(ctx: click.Context, form: str | None, path: Path | None, force: bool, section: str | None) -> int:
    """The whole fleet as a document to hand over.

    \b
    Summary, capacity by type against the real maximum, hosts, projects' limits
    and use, live migrations with predicted and measured downtime, findings with
    the commands that mend them, and how old each source's answer is.

    What a source did not tell is "?" with the reason, empty in CSV and null in JSON: never 0.

    FILE is readable by its owner only, appears whole or not at all, and is never written through a symbolic link.

    \b
    Exit codes:
      0  written
      1  could not be written
      3  no connection
      5  written, and some sources did not answer
    """
    if section is not None and (form or _format_of(path)) != "csv":
        raise click.UsageError("--section needs --format csv", ctx)
    if form is None:
        form = _format_of(path) or ("md" if path is None else None)
    if form is None:
        known = " ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        raise click.UsageError(f"{path}: the format is not clear from the name ({known}): give --format", ctx)
    from vgpu_console.cli_report_run import show_report

    return show_report(given_of(ctx), form, path, force=force, section=section)


def _format_of(path: Path | None) -> str | None:
    return None if path is None else format_of(path)


@click.command(
    "diff",
    short_help="What came, went, moved and changed between two snapshots.",
    epilog=examples(
        """  vgpu-console snapshot > before.json
  vgpu-console diff before.json live
  vgpu-console diff monday.json tuesday.json -o json | jq '.changes[] | select(.what == "server")'
  vgpu-console diff night.vgpurec@02:00 night.vgpurec@06:00 -o md"""
    ),
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@output_option(("table", "json", "md"))
@global_options(hidden=True)
@click.pass_context
def diff(ctx: click.Context, before: str, after: str, output: str) -> int:
    """What came, went, moved and changed from A to B.

    A and B are files of "vgpu-console snapshot", FILE@TIME of a recording, or "live": the fleet as it is now.

    What one side could not see is told as known or unknown, never as come or gone.

    \b
    Exit codes:
      0  nothing differs
      1  something differs
      2  A or B cannot be read
      3  no connection, with "live"
      5  nothing differs, and some sources did not answer, with "live"
    """
    from vgpu_console.cli_diff_run import show_diff

    return show_diff(given_of(ctx), before, after, output)
