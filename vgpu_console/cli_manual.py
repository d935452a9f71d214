"""``vgpu-console man`` and ``completion``: the manual page and the shells' completion, made from the commands."""

from __future__ import annotations

import click

from vgpu_console import __version__
from vgpu_console.cli_options import examples, global_options

_SHELLS = ("bash", "zsh", "fish")


def _root(ctx: click.Context) -> click.Group:
    command = ctx.find_root().command
    if not isinstance(command, click.Group):
        raise click.UsageError("only as a command of vgpu-console", ctx)
    return command


@click.command(
    short_help="The manual page, for man(1).",
    epilog=examples(
        """  vgpu-console man | man -l -
  vgpu-console man > ~/.local/share/man/man1/vgpu-console.1"""
    ),
)
@global_options(hidden=True)
@click.pass_context
def man(ctx: click.Context) -> int:
    """The manual page as roff on stdout: every command with its options, every key, every diagnosis.

    It is made from the program as it is installed, so it cannot be of another version.
    """
    from vgpu_console.manual import DiagnosisRow, Key, page
    from vgpu_console.rules.diagnosis.doctor import DIAGNOSES
    from vgpu_console.screens.keys import key_rows

    keys = [Key(row.key, row.help, row.group) for row in key_rows()]
    diagnoses = [DiagnosisRow(d.id, d.severity, d.title) for d in DIAGNOSES]
    click.echo(page(_root(ctx), "vgpu-console", __version__, keys, diagnoses), nl=False)
    return 0


@click.command(
    short_help="Completion of commands and options for a shell.",
    epilog=examples(
        """  vgpu-console completion bash > ~/.local/share/bash-completion/completions/vgpu-console
  vgpu-console completion zsh > ~/.zfunc/_vgpu-console
  vgpu-console completion fish > ~/.config/fish/completions/vgpu-console.fish"""
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@global_options(hidden=True)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """The script that completes commands, options and their choices, for bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}", ctx)
    made = kind(_root(ctx), {}, "vgpu-console", "_VGPU_CONSOLE_COMPLETE")
    click.echo(made.source())
    return 0
