"""The command line: commands, options and help. What each does is in ``cli_run``, and loaded when it is done.

stdout carries data, stderr carries words. ``--help`` needs click only, and a read command never loads the screens.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from vgpu_console import (
    __version__,
    cli_doctor,
    cli_drain,
    cli_explain,
    cli_journal,
    cli_layout,
    cli_manual,
    cli_mdev,
    cli_migrate,
    cli_nova_conf,
    cli_quota,
    cli_record,
    cli_report,
    cli_run,
    cli_sriov,
)
from vgpu_console.cli_options import FORMATS, GIVEN, examples, given_of, global_options, output_option, remember
from vgpu_console.cli_run import INTERRUPTED, NAME, OK, USAGE

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("See", ("hosts", "gpus", "mdevs", "types", "servers", "quota", "migrations", "providers", "snapshot")),
    ("Understand", ("doctor", "explain", "nova-conf")),
    ("Change", ("migrate", "drain", "mdev", "sriov", "layout", "journal")),
    ("Hand over", ("report", "diff", "record", "replay")),
    ("This program", ("config", "demo", "man", "completion", "version")),
)
"""The commands in the order of the help, by what they are for."""


def run(args: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; every error has become words on stderr by then."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end a command
    code: int = console.main(args, prog_name=NAME, standalone_mode=False)
    return code


class Console(click.Group):
    """All commands; turns every way in which one can end into the promised exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command, and ends it quietly when nobody reads its output any more."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            cli_run.hush()
            return OK
        return code

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their use, not of the alphabet."""
        return [name for _, names in SECTIONS for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for."""
        width = max(len(name) for name in self.commands)
        for title, names in SECTIONS:
            with formatter.section(title):
                rows = [(f"{name:<{width}}", self.commands[name].get_short_help_str(100)) for name in names]
                formatter.write_dl(rows)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """click's ``main`` with this product's exit codes; without ``standalone_mode`` the code is returned."""
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            code = result if isinstance(result, int) else OK
        except click.Abort:
            code = INTERRUPTED
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except Exception as error:
            code = cli_run.ending(error)
        if standalone_mode:
            sys.exit(code)
        return code


@click.group(
    cls=Console,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  vgpu-console --demo                           look around on the embedded cloud
  vgpu-console --os-cloud prod                  the console on a cloud of clouds.yaml
  vgpu-console --os-cloud prod hosts -o json    data for a script

\b
Exit codes: 0 ok, 1 failed, 2 usage, 3 no connection, 4 refused, 5 partial, 130 interrupted.
Global options may also stand after the command.""",
)
@global_options(hidden=False)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def console(ctx: click.Context) -> int | None:
    """See the whole vGPU fleet of an OpenStack cloud; without a command, in a live console."""
    return None if ctx.invoked_subcommand else _open_console(ctx)


def _open_console(ctx: click.Context) -> int:
    given = given_of(ctx)
    settings, demo = cli_run.settings_of(given), cli_run.demo_of(given)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        cli_run.say(f"{NAME}: the console needs a terminal; for data name a command, e.g. {NAME} hosts -o json")
        return USAGE
    from vgpu_console import log

    log.start(settings.log)
    from vgpu_console.app import run as run_app

    code = run_app(settings, demo)
    return code if isinstance(code, int) else OK


class _Help(NamedTuple):
    short: str
    text: str
    examples: str


_VIEWS = {
    "hosts": _Help(
        "Hosts with their GPUs, vGPU counts and versions.",
        """Compute hosts: service, GPUs, virtual functions, vGPUs, versions.

        vGPUs are counted as created, as used by servers, and against the real maximum of the types in force.
        A count that no source could give is "?" in the table, null in JSON and empty in CSV.""",
        """  vgpu-console hosts
  vgpu-console hosts -o json | jq '.[] | select(.findings > 0) | .name'
  vgpu-console hosts --project ml-research""",
    ),
    "gpus": _Help(
        "Physical GPUs and the types they offer.",
        "Physical GPUs: model, mechanism, virtual functions, and the vGPU types they offer.",
        """  vgpu-console gpus --host gpu-01
  vgpu-console gpus -o csv > gpus.csv""",
    ),
    "mdevs": _Help(
        "Mediated devices and who uses them.",
        "Mediated devices, active or merely defined, with the server and project on each.",
        """  vgpu-console mdevs --host gpu-01 --host gpu-02
  vgpu-console mdevs -o json | jq '[.[] | select(.server_id == null)]'""",
    ),
    "types": _Help(
        "vGPU types on each GPU: maximum, used, available.",
        """vGPU types on each GPU: real maximum, created, used, available.

        The maximum is the one of the host's driver, else of the bundled catalogue; max_source says which.""",
        """  vgpu-console types --host gpu-01
  vgpu-console types -o md""",
    ),
    "servers": _Help(
        "Servers with vGPUs.",
        "Servers that ask for vGPUs or hold them.",
        """  vgpu-console servers --project vdi
  vgpu-console servers --host gpu-02 -o ndjson""",
    ),
    "providers": _Help(
        "Placement's providers of vGPUs.",
        "Placement's resource providers of vGPUs, tied to the device each stands for.",
        """  vgpu-console providers --host gpu-01
  vgpu-console providers -o json | jq '.[] | {name, used}'""",
    ),
}


def _view_command(name: str, help_: _Help) -> None:
    def command(ctx: click.Context, output: str, host: tuple[str, ...], project: tuple[str, ...]) -> int:
        return cli_run.show_view(name, given_of(ctx), output, host, project)

    command.__doc__ = help_.text
    decorated: Any = click.pass_context(command)
    decorated = global_options(hidden=True)(decorated)
    for option in (
        click.option(
            "--project", multiple=True, metavar="NAME|ID", help="Only what concerns this project; repeatable."
        ),
        click.option("--host", multiple=True, metavar="NAME", help="Only what concerns this host; repeatable."),
        output_option(FORMATS),
    ):
        decorated = option(decorated)
    console.command(name, short_help=help_.short, epilog=examples(help_.examples))(decorated)


for _name, _help in _VIEWS.items():
    if _name == "providers":
        for _command in (cli_quota.quota, cli_migrate.migrations):
            console.add_command(_command)
    _view_command(_name, _help)
for _command in (
    cli_migrate.migrate,
    cli_drain.drain,
    cli_mdev.mdev,
    cli_sriov.sriov,
    cli_layout.layout,
    cli_nova_conf.nova_conf,
    cli_doctor.doctor,
    cli_explain.explain,
    cli_report.report,
    cli_report.diff,
    cli_record.record,
    cli_record.replay,
    cli_journal.journal,
):
    console.add_command(_command)


@console.command(
    short_help="The whole fleet as one JSON document.",
    epilog=examples("  vgpu-console snapshot > fleet.json\n  vgpu-console snapshot | jq .errors"),
)
@global_options(hidden=True)
@click.pass_context
def snapshot(ctx: click.Context) -> int:
    """The whole fleet as one JSON document, with a schema version.

    Sources that could not be read are under "errors", and the exit code is then 5.
    """
    return cli_run.show_snapshot(given_of(ctx))


@console.command(
    short_help="Every setting and where it came from.",
    epilog=examples("  vgpu-console config\n  vgpu-console --read-only config -o json"),
)
@output_option(("table", "json"))
@global_options(hidden=True)
@click.pass_context
def config(ctx: click.Context, output: str) -> int:
    """Every setting with its value and where that came from.

    The command line goes before the environment (VGPU_CONSOLE_<KEY>), the environment before the file. read_only is
    true when any of them says so.
    """
    return cli_run.show_config(given_of(ctx), output)


@console.command(
    short_help="The embedded cloud: look around, or serve it.",
    epilog=examples(
        "  vgpu-console demo\n  vgpu-console demo --scenario 100\n"
        "  vgpu-console demo --serve --port 8774      then, elsewhere: openstack server list --all-projects"
    ),
)
@click.option("--serve", is_flag=True, help="Serve the cloud's APIs on the loopback interface until ctrl+c.")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port to serve on; 0 takes a free one.  [default: 0]")
@click.option(
    "--scenario",
    metavar="NAME|N",
    help="A scenario's name, a file, or a number of hosts.",
    expose_value=False,
    callback=remember,
)
@global_options(hidden=True, leave_out=("--scenario",))
@click.pass_context
def demo(ctx: click.Context, serve: bool, port: int | None) -> int:
    """The console on the embedded cloud, or that cloud's APIs for other clients.

    Scenarios: small (the default), moves (to try live migration), well (nothing is wrong), and ill-ID for each
    diagnosis of the doctor: the well fleet with that one thing wrong. A number makes a fleet of so many hosts.

    With --serve, stdout gets the export lines that point any OpenStack client in another shell at it.
    """
    ctx.meta.setdefault(GIVEN, {}).setdefault("demo", (True, "demo"))
    if not serve:
        if port is not None:
            raise click.UsageError("--port needs --serve", ctx)
        return _open_console(ctx)
    return _serve(ctx, port or 0)


def _serve(ctx: click.Context, port: int) -> int:
    from vgpu_console import log

    given = given_of(ctx)
    settings, choice = cli_run.settings_of(given), cli_run.demo_of(given)
    log.start(settings.log)
    from vgpu_console.simulator import ScenarioError, open_demo
    from vgpu_console.simulator.serve import serve_demo

    try:
        cloud = open_demo(choice.scenario if choice else None)
    except ScenarioError as error:
        raise click.UsageError(str(error)) from error
    served = serve_demo(cloud, log.default_file().parent / "demo", port)
    try:
        click.echo(f"export OS_CLIENT_CONFIG_FILE={shlex.quote(str(served.clouds_yaml))}")
        click.echo("export OS_CLOUD=demo")
        sys.stdout.flush()
        cli_run.say(f"serving the embedded cloud at {served.url} until ctrl+c")
        served.wait()
    except KeyboardInterrupt:
        click.echo(err=True)  # ends the line on which the terminal wrote ^C
    finally:
        served.close()
    return OK


@console.command(short_help="The versions of this program and its libraries.")
@global_options(hidden=True)
def version() -> int:
    """The versions of this program and of what it stands on."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    click.echo(f"{NAME} {__version__}")
    click.echo(f"python {sys.version.split()[0]}")
    for package in ("textual", "openstacksdk", "libvirt-python", "asyncssh"):
        try:
            click.echo(f"{package} {installed(package)}")
        except PackageNotFoundError:
            click.echo(f"{package} not installed")
    return OK


for _command in (cli_manual.man, cli_manual.completion):
    console.add_command(_command)
