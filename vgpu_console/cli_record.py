"""``record`` and ``replay``: options and help. What they do is in ``cli_record_run`` and ``cli_replay_run``."""

from __future__ import annotations

from pathlib import Path

import click

from vgpu_console.cli_options import examples, given_of, global_options


def _span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """An option's span of time in seconds."""
    if value is None:
        return None
    from vgpu_console.recording.moments import span_s

    try:
        return span_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command(
    short_help="Write what the fleet does into a file, to be replayed.",
    epilog=examples(
        "  vgpu-console record night.vgpurec --every 30s --for 8h\n"
        "  vgpu-console --os-cloud prod record incident.vgpurec     until ctrl+c\n"
        "  vgpu-console replay night.vgpurec"
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--every", default="10s", show_default=True, metavar="SPAN", callback=_span, help="From one frame to the next."
)
@click.option("--for", "span", metavar="SPAN", callback=_span, help="How long; without it, until ctrl+c or SIGTERM.")
@global_options(hidden=True)
@click.pass_context
def record(ctx: click.Context, file: Path, every: float, span: float | None) -> int:
    """Read the fleet again and again and append what it looks like to FILE.

    Each frame is on the disk before the next is made: a kill, a full disk or a power cut costs the last frame at most.
    A file that holds a recording of the same cloud is continued. FILE is readable by its owner only, and holds names
    and addresses of your cloud (but no credentials): "doctor --bundle" makes something to give away.

    Spans are written 10s, 5m, 1h30m, 8h. Nothing is changed on the cloud or its hosts.
    """
    if every < 1:
        raise click.BadParameter("a frame a second is the most", ctx, param_hint="--every")
    from vgpu_console.cli_record_run import run

    return run(given_of(ctx), file, every, span)


@click.command(
    short_help="Show a recording in the console, at any of its moments.",
    epilog=examples(
        "  vgpu-console replay night.vgpurec\n"
        "  vgpu-console replay night.vgpurec --at 03:15             paused there\n"
        "  vgpu-console replay night.vgpurec --speed 60             an hour in a minute\n"
        "  vgpu-console replay night.vgpurec --list\n"
        "  vgpu-console replay night.vgpurec --at +2h -o json | jq '.hosts[].name'"
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--at", "moment", metavar="TIME", help="Begin there, paused: 03:15, 2026-09-21T03:15Z, +2h, -10m, start or end."
)
@click.option("--speed", type=click.FloatRange(0.1, 3_600), default=1.0, show_default=True, metavar="N")
@click.option("--list", "listing", is_flag=True, help="Write the time of every frame instead, and what began in it.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json")),
    help="json without --list: the snapshot at TIME (else of the end) instead of the console.",
)
@global_options(hidden=True)
@click.pass_context
def replay(ctx: click.Context, file: Path, moment: str | None, speed: float, listing: bool, output: str | None) -> int:
    """Show a recording in the console: its clock is the recording's, so every age is that of the moment shown.

    No cloud is asked and nothing can be changed. Keys: space or p plays and pauses, "," and "." step a frame,
    "[" and "]" skip a minute, "<" and ">" ten, "(" and ")" go to where something began, "{" and "}" change the speed,
    "@" goes to a time.

    A time of day is of the recording's first day; +2h counts from its start, -10m from its end.
    """
    if output == "table" and not listing:
        raise click.UsageError("-o table goes with --list", ctx)
    from vgpu_console import cli_replay_run

    if listing:
        return cli_replay_run.show_list(given_of(ctx), file, output or "table")
    if output == "json":
        return cli_replay_run.show_snapshot(file, moment)
    return cli_replay_run.show_console(given_of(ctx), file, moment, speed)
