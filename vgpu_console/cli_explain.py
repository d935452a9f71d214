"""``vgpu-console explain`` with its subcommands: options and help. What they do is loaded later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vgpu_console.cli_options import PLAN_FORMATS, OrderedGroup, examples, given_of, global_options, output_option

if TYPE_CHECKING:
    from vgpu_console.rules.explain.chain import Kind

_CODES = """

    \b
    Exit codes:
      0  every step passes
      2  no such {noun}, or the name is of several
      3  no connection
      4  a step fails, warns, or could not be looked at"""


@click.group(
    "explain",
    cls=OrderedGroup,
    short_help="Why a server has no vGPU, a flavor no host, …",
    epilog=examples(
        """  vgpu-console explain server vm-train-9
  vgpu-console explain flavor train.a100-20c
  vgpu-console explain project vdi
  vgpu-console explain host gpu-02 -o json | jq -r '.mends[].command | select(. != null)'"""
    ),
)
@global_options(hidden=True)
def explain() -> None:
    """Why a server has no vGPU, why a flavor finds no host, why a project cannot start one, why a host gets none.

    The chain of reasons, each with its evidence, who says so and how old that is; then the verdict and what mends it.
    Nothing is changed.
    """


def _subcommand(kind: Kind, short: str, text: str, more: str) -> None:
    def command(ctx: click.Context, name: str, output: str) -> int:
        from vgpu_console.cli_explain_read import show_explanation

        return show_explanation(given_of(ctx), kind, name, output)

    command.__doc__ = text + _CODES.format(noun=kind)
    decorated: Any = click.pass_context(command)
    for option in (
        global_options(hidden=True),
        output_option(PLAN_FORMATS),
        click.argument("name", metavar=kind.upper()),
    ):
        decorated = option(decorated)
    explain.command(kind, short_help=short, epilog=examples(more))(decorated)


_subcommand(
    "server",
    "Why a server has no vGPU, or which it has and from where.",
    """Why SERVER has no vGPU, or of which type and on which function its vGPU is, or why it is in ERROR.

    SERVER is an id, a name, or name@project.""",
    """  vgpu-console explain server vm-train-1
  vgpu-console explain server vm-train-9@ml-research
  vgpu-console explain server vm-train-1 -o json | jq -r '.steps[] | select(.status != "pass") | .evidence'""",
)
_subcommand(
    "flavor",
    "Why a flavor finds no host.",
    """Why FLAVOR finds no host: what it asks for, which devices offer that, what is left of them, and Placement's word.

    FLAVOR is an id or a name. Where Placement finds no place, it is asked for each part of the request as well.""",
    """  vgpu-console explain flavor train.a100-20c
  vgpu-console explain flavor train.a100-20c -o json | jq '.places[] | {name, room, why}'""",
)
_subcommand(
    "project",
    "Why a project cannot start a server with a vGPU.",
    """Why PROJECT cannot start a server with a vGPU: its limits, what counts against them, what hosts have left.

    PROJECT is an id, a name, or name@domain.""",
    """  vgpu-console explain project vdi
  vgpu-console explain project vdi -o json | jq -r .summary""",
)
_subcommand(
    "host",
    "Why a host gets no server.",
    """Why HOST gets no server with a vGPU: its service, its GPUs, its nova.conf, its providers, what is left.""",
    """  vgpu-console explain host gpu-02
  for h in $(vgpu-console hosts -o json | jq -r '.[].name'); do vgpu-console explain host "$h" | tail -3; done""",
)
