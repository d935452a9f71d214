"""``vgpu-console quota`` with its subcommands, and ``journal``: options and help. What each does is loaded later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vgpu_console import cli_run
from vgpu_console.cli_options import (
    CHANGING,
    FORMATS,
    PLAN_FORMATS,
    NumberCommand,
    OrderedGroup,
    changing,
    examples,
    given_of,
    global_options,
    output_option,
    typed,
    way_of,
)

if TYPE_CHECKING:
    from vgpu_console.cli_plan import Way

_OF_VIEW = "vgpu_console.quota"
"""The key in ``ctx.meta`` of what the view's own options were given in front of a subcommand."""


_RESOURCE = click.option(
    "--resource",
    metavar="CLASS",
    default="class:VGPU",
    show_default=True,
    help="class:VGPU, class:CUSTOM_… or servers.",
)

_CHANGES = CHANGING.format(
    tools="the openstack client",
    more=""" The hosts are read
    too, which may take long, where only they can settle a check that was not accepted.""",
)


@click.group(
    "quota",
    cls=OrderedGroup,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
    short_help="Projects' vGPU limits and use; set, audit, import them.",
    epilog=examples(
        """  vgpu-console quota
  vgpu-console quota --totals
  vgpu-console --limits-cloud prod-system quota -o csv
  vgpu-console quota --project vdi -o json | jq '.[] | {limit, used, free}'
  vgpu-console quota set vdi 8
  vgpu-console quota audit"""
    ),
)
@output_option(FORMATS)
@click.option("--host", multiple=True, metavar="NAME", help="Only what concerns this host; repeatable.")
@click.option("--project", multiple=True, metavar="NAME|ID", help="Only what concerns this project; repeatable.")
@click.option("--totals", is_flag=True, help="Per resource what all limits promise, against what the hosts can hold.")
@global_options(hidden=True)
@click.pass_context
def quota(ctx: click.Context, output: str, host: tuple[str, ...], project: tuple[str, ...], totals: bool) -> int | None:
    """Each project's limit and use of vGPU resources.

    origin says whether the limit is the project's own, the registered default, or missing, and then what that means
    on this cloud. -1 is unlimited. used is what Placement counts: servers, migrations and resizes under way (which
    count twice) and what is leaked.
    """
    if ctx.invoked_subcommand is None and totals:
        if host or project:
            raise click.UsageError("--totals are of the whole cloud: no --host and no --project", ctx)
        from vgpu_console.cli_quota_read import TOTALS

        return cli_run.show_view(TOTALS, given_of(ctx), output, (), ())
    if ctx.invoked_subcommand is None:
        return cli_run.show_view("quota", given_of(ctx), output, host, project)
    told = ctx.get_parameter_source("output") is not click.core.ParameterSource.DEFAULT
    ctx.meta[_OF_VIEW] = {"output": output if told else None, "host": host, "project": project, "totals": totals}
    return None


def _form(ctx: click.Context, output: str, *, project: bool = False, formats: tuple[str, ...] = PLAN_FORMATS) -> str:
    """The format, which may stand in front of the subcommand too. Raises UsageError for the view's filters there."""
    view: dict[str, Any] = ctx.meta.get(_OF_VIEW, {})
    for name in ("host", "totals", *(() if project else ("project",))):
        if view.get(name):
            raise click.UsageError(f"--{name} belongs to the view: it means nothing to {ctx.info_name!r}", ctx)
    before = view.get("output")
    if before is None or ctx.get_parameter_source("output") is not click.core.ParameterSource.DEFAULT:
        return output
    if before not in formats:
        raise click.UsageError(f"-o {before}: {ctx.info_name!r} writes {' or '.join(formats)}", ctx)
    return str(before)


def _planned(*show: str, project: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The options of a command that changes something, given to it as one ``way``; ``project``: the view's stays."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @changing(*show)
        @click.pass_context
        def command(
            ctx: click.Context,
            /,
            dry_run: bool,
            yes: bool,
            accept: tuple[str, ...],
            expect: tuple[str, ...],
            output: str,
            **more: Any,
        ) -> int:
            way = way_of(dry_run, yes, accept, expect, _form(ctx, output, project=project))
            return function(ctx, way, **more)

        command.__doc__ = function.__doc__
        return command

    return decorate


@quota.command(
    "set",
    cls=NumberCommand,
    short_help="Give projects a limit of their own.",
    epilog=examples(
        """  vgpu-console quota set vdi 8
  vgpu-console quota set vdi@customers render 12 --resource class:CUSTOM_L40S_12Q
  vgpu-console quota set vdi 8 --dry-run -o json
  vgpu-console quota set vdi 8 --yes --expect 3f1c9a0b7d24e655 --accept quota.capacity"""
    ),
)
@click.argument("projects", nargs=-1, required=True, metavar="PROJECT...")
@click.argument("limit", metavar="N")
@_RESOURCE
@_planned()
def set_(ctx: click.Context, way: Way, projects: tuple[str, ...], limit: str, resource: str) -> int:
    """Give each PROJECT (an id, a name, or name@domain) the limit N: 0 or more, or -1 for unlimited."""
    from vgpu_console import cli_quota_change

    return cli_quota_change.set_limits(given_of(ctx), tuple(map(typed, projects)), typed(limit), resource, way)


@quota.command(
    "default",
    cls=NumberCommand,
    short_help="Set the limit of projects that have none of their own.",
    epilog=examples(
        """  vgpu-console quota default 4
  vgpu-console quota default 0 --resource class:CUSTOM_L40S_12Q
  vgpu-console quota default 4 --dry-run -o json | jq -r '.commands[]'"""
    ),
)
@click.argument("limit", metavar="N")
@_RESOURCE
@_planned()
def default(ctx: click.Context, way: Way, limit: str, resource: str) -> int:
    """Set the default: the registered limit, created where Nova looks for it when there is none.

    Keystone changes no default while projects have limits of their own: those are then taken away and set again, and
    the plan names them.
    """
    from vgpu_console import cli_quota_change

    return cli_quota_change.set_default(given_of(ctx), typed(limit), resource, way)


@quota.command(
    "clear",
    short_help="Take projects' own limits away: the default holds.",
    epilog=examples("  vgpu-console quota clear vdi render\n  vgpu-console quota clear vdi --dry-run"),
)
@click.argument("projects", nargs=-1, required=True, metavar="PROJECT...")
@_RESOURCE
@_planned()
def clear(ctx: click.Context, way: Way, projects: tuple[str, ...], resource: str) -> int:
    """Take the own limit of each PROJECT away, so that the default holds.

    A project that is gone is named by its id: its limit is still there.
    """
    from vgpu_console import cli_quota_change

    return cli_quota_change.clear_limits(given_of(ctx), projects, resource, way)


@quota.command(
    "restore",
    short_help="Set limits again that a broken-off change of a default left deleted.",
    epilog=examples("  vgpu-console quota restore\n  vgpu-console journal\n  vgpu-console quota restore 3f1c9a0b7d24"),
)
@click.argument("run", metavar="[RUN]", required=False)
@_planned()
def restore(ctx: click.Context, way: Way, run: str | None) -> int:
    """Set again the projects' own limits that a change of a default took away and, broken off, did not set again.

    RUN is the change's id in the journal; without it, the last change of a default is meant.
    """
    from vgpu_console import cli_quota_change

    return cli_quota_change.restore_limits(given_of(ctx), run, way)


for _command in (set_, default, clear, restore):
    _command.help = f"{_command.help}\n{_CHANGES}"


@quota.command(
    "audit",
    short_help="What is wrong with the cloud's limits, and what mends it.",
    epilog=examples(
        """  vgpu-console quota audit
  vgpu-console quota audit -o json | jq -r '.[] | select(.severity == "fail") | .command'
  vgpu-console quota audit --fail-on warn          for a nightly check"""
    ),
)
@output_option(FORMATS)
@click.option(
    "--fail-on", type=click.Choice(("warn", "fail")), help="Exit 1 when a finding is as severe as that, or more."
)
@global_options(hidden=True)
@click.pass_context
def audit(ctx: click.Context, output: str, fail_on: str | None) -> int:
    """What is wrong with the cloud's unified limits: each finding with why it matters and the command that mends it.

    Also what cannot be seen with this credential, as info: unknown is no pass.

    \b
    Exit codes:
      0  also when there are findings
      1  with --fail-on, when there is such a one
      3  no connection
      5  a service of the cloud did not answer
    """
    form = _form(ctx, output, formats=FORMATS)
    from vgpu_console import cli_quota_read

    return cli_quota_read.show_audit(given_of(ctx), form, fail_on)


@quota.command(
    "import",
    short_help="Nova's legacy quota into unified limits.",
    epilog=examples(
        """  vgpu-console quota import --dry-run
  vgpu-console quota import --project vdi --project render
  vgpu-console quota import --proposals --dry-run -o json | jq .missing"""
    ),
)
@click.option("--project", multiple=True, metavar="NAME|ID", help="Also this project's own quota; repeatable.")
@click.option("--proposals", is_flag=True, help="Also create the defaults proposed for what legacy quota never knew.")
@_planned("--region", project=True)
def import_(ctx: click.Context, way: Way, project: tuple[str, ...], proposals: bool) -> int:
    """Create what Nova's legacy quota says as unified limits: the defaults, and of projects named their own quota.

    What nova-manage limits migrate_to_unified_limits does, over the APIs. What is there is never overwritten. Classes
    that flavors ask for and legacy quota never knew (class:VGPU, class:DISK_GB, class:CUSTOM_…) are left out as
    nova-manage leaves them out, with a default proposed for each; --proposals creates those too.

    Asked and answered as "quota set" is: see its help for --dry-run, --yes, --accept and --expect.

    \b
    Exit codes:
      0  done, or nothing to do
      1  failed
      2  bad input: nothing was sent
      3  no connection
      4  refused
      5  some were not done
    nova-manage's exit code 3, classes without a registered limit, is
    "missing" in the JSON, and does not change the exit code.
    """
    before: tuple[str, ...] = ctx.meta.get(_OF_VIEW, {}).get("project", ())
    from vgpu_console import cli_quota_change

    return cli_quota_change.import_legacy(given_of(ctx), (*before, *project), proposals, way)


@quota.command(
    "what-if",
    short_help="Can a project start servers of a flavor now?",
    epilog=examples(
        """  vgpu-console quota what-if vdi desktop.a40-8q 3
  vgpu-console quota what-if vdi desktop.a40-8q 3 -o json | jq '.capacity.hosts[] | {host, room}'"""
    ),
)
@click.argument("project", metavar="PROJECT")
@click.argument("flavor", metavar="FLAVOR")
@click.argument("count", metavar="N", type=click.IntRange(1, 100_000), default=1)
@output_option(PLAN_FORMATS)
@global_options(hidden=True)
@click.pass_context
def what_if(ctx: click.Context, project: str, flavor: str, count: int, output: str) -> int:
    """Can PROJECT start N (1) servers of FLAVOR now? What the quota says, what the hosts say, and why, host by host.

    \b
    Exit codes:
      0  yes
      2  bad input
      3  no connection
      4  no
      5  cannot be told: something is not known
    """
    form = _form(ctx, output)
    from vgpu_console import cli_quota_read

    return cli_quota_read.show_what_if(given_of(ctx), project, flavor, count, form)
