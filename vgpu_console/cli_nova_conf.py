"""``vgpu-console nova-conf``: options and help. What it does is loaded later."""

from __future__ import annotations

import click

from vgpu_console.cli_options import examples, given_of, global_options, output_option


@click.command(
    "nova-conf",
    short_help="What nova.conf makes of the GPUs, and what would be true.",
    epilog=examples(
        """  vgpu-console nova-conf gpu-04
  vgpu-console nova-conf gpu-04 --snippet > vgpu.conf
  vgpu-console nova-conf -o json | jq '.[] | .rows[] | select(.over_reported > 0)'"""
    ),
)
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@click.option("--snippet", is_flag=True, help="Only the lines for nova.conf, for a file.")
@output_option(("table", "json"))
@global_options(hidden=True)
@click.pass_context
def nova_conf(ctx: click.Context, hosts: tuple[str, ...], snippet: bool, output: str) -> int:
    """Nova's side of each HOST, or of all: the types its nova.conf gives to which devices, against the hardware.

    And the lines of nova.conf that would make Placement tell the truth. They are printed, never written.

    \b
    Exit codes:
      0  told
      2  no such host
      3  no connection
      5  a host did not answer, or not all of it is known
    """
    from vgpu_console.cli_nova_conf_read import show_nova_side

    return show_nova_side(given_of(ctx), hosts, snippet, output)
