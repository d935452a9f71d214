"""``vgpu-console migrate`` with its subcommands, and ``migrations``: options and help; the rest is loaded later."""

from __future__ import annotations

from typing import Any

import click

from vgpu_console import cli_run
from vgpu_console.cli_options import (
    CHANGING,
    FORMATS,
    PLAN_FORMATS,
    OrderedGroup,
    changing,
    examples,
    given_of,
    global_options,
    output_option,
    way_of,
)

_CHANGES = CHANGING.format(
    tools="the openstack client",
    more="""
    SERVER is an id, a name, or name@project.""",
)

_SERVER = click.argument("server", metavar="SERVER")
_TO = click.option("--to", metavar="HOST", help="The destination; else the best one.")
_MAX_DOWNTIME = click.option(
    "--max-downtime",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Refuse when the guest may stand still for longer.  [default: [migration] max_downtime]",
)


@click.group(
    "migrate",
    cls=OrderedGroup,
    short_help="Live migration: check, start, follow, abort, mend.",
    epilog=examples(
        """  vgpu-console migrate check vm-train-1
  vgpu-console migrate start vm-train-1 --to gpu-02 --dry-run
  vgpu-console migrate start vm-train-1 --to gpu-02 --yes -o json
  vgpu-console migrate follow vm-train-1"""
    ),
)
@global_options(hidden=True)
def migrate() -> None:
    """Live migration of a server with vGPUs: checked before, followed to its end, its downtime measured."""


@migrate.command(
    "check",
    short_help="Whether and where a server could go.",
    epilog=examples(
        """  vgpu-console migrate check vm-train-1
  vgpu-console migrate check vm-train-1@ml-research --to gpu-02
  vgpu-console migrate check vm-train-1 -o json | jq -r '.checks[] | select(.status != "pass") | .evidence'
  vgpu-console migrate check vm-train-1 -o json | jq '.candidates[] | {host, verdict, reason}'"""
    ),
)
@_SERVER
@_TO
@_MAX_DOWNTIME
@output_option(PLAN_FORMATS)
@global_options(hidden=True)
@click.pass_context
def check(ctx: click.Context, server: str, to: str | None, max_downtime: float | None, output: str) -> int:
    """Whether SERVER could be live-migrated, what speaks against it, and how long its guest would stand still.

    The answer comes first, then the predicted downtime with its arithmetic, every check from the worst on with who
    says so and how old that is, and all other hosts, the best first. Without --to the best destination is checked.
    Nothing is changed. SERVER is an id, a name, or name@project.

    \b
    Exit codes:
      0  every check passes
      2  no such server or host, or the name is of several
      3  no connection
      4  a check fails, warns, or could not be answered
    """
    from vgpu_console.cli_migrate_run import check_server

    return check_server(given_of(ctx), server, to, max_downtime, output)


@migrate.command(
    "start",
    short_help="Live-migrate a server and follow it to its end.",
    epilog=examples(
        """  vgpu-console migrate start vm-train-1
  vgpu-console migrate start vm-train-1 --to gpu-02 --dry-run -o json | jq .checks
  vgpu-console migrate start vm-train-1 --to gpu-02 --yes --accept migrate.dirty-tracking
  vgpu-console migrate start vm-train-1 --yes --max-downtime 20 -o json | jq .downtime_ms"""
    ),
)
@_SERVER
@_TO
@_MAX_DOWNTIME
@click.option("--follow/--no-follow", default=True, help="Follow it to its end, or be done when Nova has begun it.")
@changing()
@click.pass_context
def start(
    ctx: click.Context, /, server: str, to: str | None, max_downtime: float | None, follow: bool, **asked: Any
) -> int:
    """Live-migrate SERVER, to the best destination or to the host that --to names.

    A check that fails forbids it; what only warns or is not known must be accepted, and that is written down.
    It is followed on stderr; stdout gets one result: how it ended and why, the downtime that was predicted and
    measured, and what mends what it left. Ctrl+c leaves the migration running.

    \b
    Exit codes, once it is begun:
      0    completed
      1    it ended otherwise
      130  no longer followed
    """
    from vgpu_console.cli_migrate_run import start_migration

    return start_migration(given_of(ctx), server, to, max_downtime, way_of(**asked), follow=follow)


@migrate.command(
    "follow",
    short_help="Follow a server's live migration to its end.",
    epilog=examples(
        """  vgpu-console migrate follow vm-train-1
  vgpu-console migrate follow vm-train-1 -o json | jq '{end, downtime_ms}'"""
    ),
)
@_SERVER
@output_option(PLAN_FORMATS)
@global_options(hidden=True)
@click.pass_context
def follow(ctx: click.Context, server: str, output: str) -> int:
    """Follow the newest live migration of SERVER, whoever began it, and tell how it ended.

    One that has ended already is told as what it was, with its downtime where libvirt still has it. What is found out
    goes into the history (migrations --history).

    \b
    Exit codes:
      0    completed
      1    it ended otherwise
      2    no such server, or the name is of several
      3    no connection
      4    it was never live-migrated
      130  no longer followed
    """
    from vgpu_console.cli_migrate_run import follow_migration

    return follow_migration(given_of(ctx), server, output)


@migrate.command(
    "abort",
    short_help="Abort a live migration that runs or waits.",
    epilog=examples("  vgpu-console migrate abort vm-train-1\n  vgpu-console migrate abort vm-train-1 --dry-run"),
)
@_SERVER
@changing()
@click.pass_context
def abort(ctx: click.Context, /, server: str, **asked: Any) -> int:
    """Abort the live migration of SERVER; its guest goes on running on the source.

    One that still waits leaves a device reserved on the destination until nova-compute is restarted there.
    """
    from vgpu_console.cli_migrate_run import abort_migration

    return abort_migration(given_of(ctx), server, way_of(**asked))


@migrate.command(
    "force-complete",
    short_help="Pause the guest so that its migration ends.",
    epilog=examples("  vgpu-console migrate force-complete vm-train-1 --dry-run"),
)
@_SERVER
@changing()
@click.pass_context
def force_complete(ctx: click.Context, /, server: str, **asked: Any) -> int:
    """Force the running live migration of SERVER to its end: Nova pauses the guest until all has been sent."""
    from vgpu_console.cli_migrate_run import force_migration

    return force_migration(given_of(ctx), server, way_of(**asked))


@migrate.command(
    "reset",
    short_help="Set a server in ERROR back to ACTIVE.",
    epilog=examples("  vgpu-console migrate reset vm-train-1 --dry-run\n  vgpu-console migrate reset vm-train-1"),
)
@_SERVER
@changing()
@click.pass_context
def reset(ctx: click.Context, /, server: str, **asked: Any) -> int:
    """Set SERVER from ERROR back to ACTIVE, where libvirt says that its guest runs on the host that Nova names.

    Nova 32.2 and later put a server into ERROR when its migration failed or was aborted, although its guest runs.
    """
    from vgpu_console.cli_migrate_run import reset_server

    return reset_server(given_of(ctx), server, way_of(**asked))


@migrate.command(
    "heal",
    short_help="Free what an ended migration still holds in Placement.",
    epilog=examples(
        """  vgpu-console migrate heal vm-train-1 --dry-run
  vgpu-console migrate heal 4f6d0c0e-95e3-4f43-9df1-1c5d4a1c0d63"""
    ),
)
@click.argument("what", metavar="SERVER|MIGRATION")
@changing()
@click.pass_context
def heal(ctx: click.Context, /, what: str, **asked: Any) -> int:
    """Take away the allocations of ended live migrations: all of a SERVER's, or of one MIGRATION by its uuid."""
    from vgpu_console.cli_migrate_run import heal_migrations

    return heal_migrations(given_of(ctx), what, way_of(**asked))


for _command in (start, abort, force_complete, reset, heal):
    _command.help = f"{_command.help}\n{_CHANGES}"


@click.command(
    "migrations",
    short_help="Live migrations, and the downtimes of past ones.",
    epilog=examples(
        """  vgpu-console migrations
  vgpu-console migrations --host gpu-02 -o json
  vgpu-console migrations --history -o csv > downtimes.csv
  vgpu-console migrations --history --percentiles"""
    ),
)
@output_option(FORMATS)
@click.option("--host", multiple=True, metavar="NAME", help="Only what concerns this host; repeatable.")
@click.option("--project", multiple=True, metavar="NAME|ID", help="Only what concerns this project; repeatable.")
@click.option("--history", is_flag=True, help="What this console has followed and measured; no cloud is asked.")
@click.option("--percentiles", is_flag=True, help="With --history: the downtimes of each type and pair of hosts.")
@click.option("--last", type=click.IntRange(1), metavar="N", help="With --history: only the last N.")
@global_options(hidden=True)
@click.pass_context
def migrations(
    ctx: click.Context,
    output: str,
    host: tuple[str, ...],
    project: tuple[str, ...],
    history: bool,
    percentiles: bool,
    last: int | None,
) -> int:
    """Live migrations, running and ended. A host filter counts for source and destination.

    With --history, those that this console has followed, from its own file: predicted and measured downtimes, what
    measured them, and how each ended.
    """
    if not history:
        if percentiles or last:
            raise click.UsageError(f"{'--percentiles' if percentiles else '--last'} needs --history", ctx)
        from vgpu_console.cli_migrate_history import measured

        return cli_run.show_view(measured(given_of(ctx)), given_of(ctx), output, host, project)
    from vgpu_console.cli_migrate_history import show_history

    return show_history(given_of(ctx), output, host, project, last=last, by_pairs=percentiles)
