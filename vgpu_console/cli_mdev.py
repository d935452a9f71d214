"""``vgpu-console mdev`` with its subcommands: options and help. What each does is loaded later."""

from __future__ import annotations

import re
from typing import Any

import click

from vgpu_console import cli_run
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

MOST = 256
"""More vGPUs than any GPU carries: a larger --count is a slip of the keyboard."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

_CHANGES = CHANGING.format(
    tools="virsh and mdevctl",
    more="""
    Only the host that is named is read, and it is changed through its libvirt (vendor VFIO: over SSH).""",
)


def _uuid(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A uuid in its usual form, in lower case as libvirt writes it. Raises click.BadParameter."""
    if value is not None and not _UUID.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a uuid like 4b20d080-1b54-4048-85b3-a6a62d165c01")
    return value.lower() if value else value


@click.group(
    "mdev",
    cls=OrderedGroup,
    short_help="Mediated devices: create, remove, start, stop them.",
    epilog=examples(
        """  vgpu-console mdev list --host gpu-01
  vgpu-console mdev types gpu-01
  vgpu-console mdev create gpu-01 --gpu 41:00.0 --type A100-20C --dry-run
  vgpu-console mdev remove gpu-01 4b20d080"""
    ),
)
@global_options(hidden=True)
def mdev() -> None:
    """Mediated devices, the vGPUs of a host; on vendor VFIO hosts, the types of its virtual functions."""


@mdev.command(
    "list",
    short_help="Mediated devices and who uses them.",
    epilog=examples(
        """  vgpu-console mdev list --host gpu-01
  vgpu-console mdev list -o json | jq -r '.[] | select(.server_id == null) | .uuid'"""
    ),
)
@output_option(FORMATS)
@click.option("--host", multiple=True, metavar="NAME", help="Only what concerns this host; repeatable.")
@click.option("--project", multiple=True, metavar="NAME|ID", help="Only what concerns this project; repeatable.")
@global_options(hidden=True)
@click.pass_context
def list_(ctx: click.Context, output: str, host: tuple[str, ...], project: tuple[str, ...]) -> int:
    """The view "mdevs": devices that are active or merely defined, with the server and project on each."""
    return cli_run.show_view("mdevs", given_of(ctx), output, host, project)


@mdev.command(
    "types",
    short_help="What could be created on a host now, and why not more.",
    epilog=examples(
        """  vgpu-console mdev types gpu-01
  vgpu-console mdev types gpu-01 --gpu 41:00.0 -o json | jq '.[] | select(.creatable > 0) | .type_name'"""
    ),
)
@click.argument("host", metavar="HOST")
@click.option("--gpu", metavar="ADDR", help="Only this GPU: its PCI address, or that of a function of it.")
@output_option(FORMATS)
@global_options(hidden=True)
@click.pass_context
def types(ctx: click.Context, host: str, gpu: str | None, output: str) -> int:
    """The vGPU types of the host's GPUs: real maximum and its origin, created, used, creatable now, and why not more.

    The maximum is the one of the host's driver, else of the bundled catalogue. Only this host is read.

    \b
    Exit codes:
      0  told
      2  no such host or GPU
      3  no connection, or the host did not answer
      5  a part of it is not known
    """
    from vgpu_console.cli_mdev_types import show_types

    return show_types(given_of(ctx), host, gpu, output)


@mdev.command(
    "create",
    short_help="Create vGPUs of a type on a GPU.",
    epilog=examples(
        """  vgpu-console mdev create gpu-01 --gpu 0000:41:00.0 --type A100-20C
  vgpu-console mdev create gpu-01 --gpu 41:00.0 --type nvidia-471 --count 4 --dry-run -o json
  vgpu-console mdev create gpu-05 --gpu 81:00.0 --type T4-8Q --transient --yes --accept mdev.nova-type"""
    ),
)
@click.argument("host", metavar="HOST")
@click.option("--gpu", required=True, metavar="ADDR", help="The GPU's PCI address, or that of a function of it.")
@click.option("--type", "type_", required=True, metavar="NAME|ID", help='The type: "A100-20C", or "nvidia-472".')
@click.option("--count", type=click.IntRange(1, MOST), default=1, show_default=True, help="How many.")
@click.option(
    "--persistent/--transient",
    default=None,
    help="Defined, started and started again at boot; or gone with the next boot.  [default: persistent]",
)
@click.option("--uuid", callback=_uuid, metavar="UUID", help="The device's uuid; else one is made.")
@click.option("--function", metavar="ADDR", help="The virtual function that is to carry it; else the first free ones.")
@changing()
@click.pass_context
def create(
    ctx: click.Context,
    /,
    host: str,
    gpu: str,
    type_: str,
    count: int,
    persistent: bool | None,
    uuid: str | None,
    function: str | None,
    **asked: Any,
) -> int:
    """Create vGPUs of a type on a GPU of HOST, one after the other; the first refusal ends it.

    Each plan names the function that will carry the device, and what it does to what Nova can hand out. On a vendor
    VFIO host, virtual functions get the type instead: such a vGPU has no uuid and is gone with the next boot.
    """
    one_only = [name for name, value in (("--uuid", uuid), ("--function", function)) if value is not None]
    if count > 1 and one_only:
        raise click.UsageError(f"{one_only[0]} is of one device: not with --count {count}", ctx)
    from vgpu_console.cli_mdev_change import Wanted, create_devices

    wanted = Wanted(host, gpu, type_, count, persistent, uuid, function)
    return create_devices(given_of(ctx), wanted, way_of(**asked))


_DEVICES = click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")


@mdev.command(
    "remove",
    short_help="Stop vGPUs that nobody uses, and forget them.",
    epilog=examples(
        """  vgpu-console mdev remove gpu-03 f0e642f4
  vgpu-console mdev remove gpu-03 f0e642f4 --dry-run -o json | jq -r .hash
  vgpu-console mdev remove gpu-03 f0e642f4 --yes --expect 3f1c9a0b7d24e655
  vgpu-console mdev remove gpu-06 0000:41:00.6       vendor VFIO: a virtual function's type"""
    ),
)
@click.argument("host", metavar="HOST")
@_DEVICES
@changing()
@click.pass_context
def remove(ctx: click.Context, /, host: str, devices: tuple[str, ...], **asked: Any) -> int:
    """Remove each DEVICE of HOST: a uuid or its beginning; on vendor VFIO, the address of a virtual function.

    One that a server has, also one that is shut off, or that a live migration needs, is refused with the server's
    name. On a terminal the device's name is typed to confirm; without one, --yes needs --expect too.
    """
    from vgpu_console.cli_mdev_change import remove_devices

    return remove_devices(given_of(ctx), host, devices, way_of(**asked))


@mdev.command(
    "start",
    short_help="Start devices that are defined.",
    epilog=examples("  vgpu-console mdev start gpu-03 f0e642f4"),
)
@click.argument("host", metavar="HOST")
@_DEVICES
@changing()
@click.pass_context
def start(ctx: click.Context, /, host: str, devices: tuple[str, ...], **asked: Any) -> int:
    """Start each DEVICE of HOST that is defined and not active; a uuid, or its beginning."""
    from vgpu_console.cli_mdev_change import start_devices

    return start_devices(given_of(ctx), host, devices, way_of(**asked))


@mdev.command(
    "stop",
    short_help="Stop devices that nobody uses.",
    epilog=examples("  vgpu-console mdev stop gpu-05 d037cdff\n  vgpu-console mdev stop gpu-05 d037cdff --dry-run"),
)
@click.argument("host", metavar="HOST")
@_DEVICES
@changing()
@click.pass_context
def stop(ctx: click.Context, /, host: str, devices: tuple[str, ...], **asked: Any) -> int:
    """Stop each DEVICE of HOST; a uuid, or its beginning. It stays defined; a transient one is gone.

    One that a server has, also one that is shut off, or that a live migration needs, is refused with the server's
    name.
    """
    from vgpu_console.cli_mdev_change import stop_devices

    return stop_devices(given_of(ctx), host, devices, way_of(**asked))


@mdev.command(
    "autostart",
    short_help="Whether devices are started at boot.",
    epilog=examples(
        "  vgpu-console mdev autostart on gpu-03 f0e642f4\n  vgpu-console mdev autostart off gpu-03 f0e642f4"
    ),
)
@click.argument("word", metavar="on|off", type=click.Choice(("on", "off")))
@click.argument("host", metavar="HOST")
@_DEVICES
@changing()
@click.pass_context
def autostart(ctx: click.Context, /, word: str, host: str, devices: tuple[str, ...], **asked: Any) -> int:
    """Let each DEVICE of HOST be started at boot, or not; a uuid, or its beginning. It must be defined."""
    from vgpu_console.cli_mdev_change import autostart_devices

    return autostart_devices(given_of(ctx), host, devices, word == "on", way_of(**asked))


for _command in (create, remove, start, stop, autostart):
    _command.help = f"{_command.help}\n{_CHANGES}"
