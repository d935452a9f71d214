"""``vgpu-console sriov`` with its subcommands: options and help. What each does is loaded later."""

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


@click.group(
    "sriov",
    cls=OrderedGroup,
    short_help="Virtual functions of GPUs: see and enable them.",
    epilog=examples(
        """  vgpu-console sriov show
  vgpu-console sriov show gpu-02 -o json
  vgpu-console sriov enable gpu-02 --gpu 81:00.0"""
    ),
)
@global_options(hidden=True)
def sriov() -> None:
    """SR-IOV virtual functions: the vGPUs of newer GPUs live on them, and they are off after every boot."""


@sriov.command(
    "show",
    short_help="Virtual functions, enabled and possible, GPU by GPU.",
    epilog=examples(
        """  vgpu-console sriov show
  vgpu-console sriov show gpu-02 -o json | jq '.[] | select(.vfs_enabled == 0) | .gpu'"""
    ),
)
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@output_option(FORMATS)
@global_options(hidden=True)
@click.pass_context
def show(ctx: click.Context, hosts: tuple[str, ...], output: str) -> int:
    """The SR-IOV GPUs of each HOST, or of all: virtual functions that are enabled, possible, and carry a vGPU.

    \b
    Exit codes:
      0  told
      2  no such host
      3  no connection
      5  a host did not answer
    """
    from vgpu_console.cli_sriov_run import show_functions

    return show_functions(given_of(ctx), hosts, output)


@sriov.command(
    "enable",
    short_help="Enable a GPU's virtual functions.",
    epilog=examples(
        """  vgpu-console sriov enable gpu-02 --gpu 81:00.0 --dry-run
  vgpu-console sriov enable gpu-02 --gpu 81:00.0                     you run it there, the console watches
  vgpu-console sriov enable gpu-02 --gpu 81:00.0 --over-ssh --yes    the console runs it"""
    ),
)
@click.argument("host", metavar="HOST")
@click.option("--gpu", required=True, metavar="ADDR", help="The GPU's PCI address.")
@click.option("--over-ssh", is_flag=True, help="Run the command over SSH; the setting ssh.changes must allow it.")
@changing()
@click.pass_context
def enable(ctx: click.Context, /, host: str, gpu: str, over_ssh: bool, **asked: Any) -> int:
    """Enable all virtual functions of a GPU of HOST, with NVIDIA's sriov-manage.

    The plan names the command to run on the host; the console then counts the functions until all are there. Its exit
    status is never trusted. A GPU with live vGPUs is refused: sriov-manage may tear it from under its servers.
    """
    from vgpu_console.cli_sriov_run import enable_functions

    return enable_functions(given_of(ctx), host, gpu, over_ssh, way_of(**asked))


enable.help = f"{enable.help}\n" + CHANGING.format(
    tools="the host itself", more="\n    Only the host that is named is read."
)
