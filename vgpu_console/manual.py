"""The manual page, made from the commands themselves: what a command's help says, the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

_HELP_COLUMNS = re.compile(r"\s{2,}")


class Key(NamedTuple):
    """A key of the console and what it does."""

    key: str
    help: str
    group: str


class DiagnosisRow(NamedTuple):
    """A diagnosis of the doctor: its id, how bad it usually is, and what it says."""

    id: str
    severity: str
    title: str


_EXIT = (
    ("0", "ok"),
    ("1", "failed"),
    ("2", "bad input: nothing was sent"),
    ("3", "no connection, or not authenticated"),
    ("4", "refused: read-only, not permitted, a check that forbids it, or changed by somebody else meanwhile"),
    ("5", "partial: some sources did not answer, or some of several were not done"),
    ("130", "interrupted"),
)

_ENVIRONMENT = (
    ("VGPU_CONSOLE_CONFIG", "The configuration file."),
    ("VGPU_CONSOLE_<KEY>", "Any setting; what stands under a heading is joined by an underscore: _SSH_ENABLED."),
    ("OS_CLOUD, OS_REGION_NAME, OS_CLIENT_CONFIG_FILE", "As for any OpenStack client."),
    ("NO_COLOR", "No colours."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "Where configuration and state live."),
)

_FILES = (
    ("~/.config/vgpu-console/config.toml", "The settings; vgpu-console config says what is in force and why."),
    ("~/.config/openstack/clouds.yaml", "The clouds, as for any OpenStack client."),
    ("~/.local/state/vgpu-console/journal.jsonl", "Every change that was begun; only ever appended to."),
    ("~/.local/state/vgpu-console/migrations.sqlite3", "Live migrations with their downtime."),
    ("~/.local/state/vgpu-console/exports/", "What ctrl+s writes."),
)


def page(root: click.Group, name: str, version: str, keys: Sequence[Key], diagnoses: Sequence[DiagnosisRow]) -> str:
    """The page as roff with the man macros, for ``man -l``."""
    lines = [
        f'.TH {_word(name.upper())} 1 "" "{_text(name)} {_text(version)}" "User Commands"',
        *_section("NAME", [f"{_text(name)} \\- a terminal console for virtual GPUs on OpenStack"]),
        *_section("SYNOPSIS", [f".B {_text(name)}", "[options] [command] [arguments]"]),
        *_section("DESCRIPTION", [*_help(root.help)]),
        *_section("OPTIONS", [*_options(root, click.Context(root, info_name=name))]),
        *_section("COMMANDS", [*_commands(root, click.Context(root, info_name=name))]),
        *_section("KEYS", [*_keys(keys)]),
        *_section("DIAGNOSES", [*_pairs((d.id, f"({d.severity}) {d.title}.") for d in diagnoses)]),
        *_section("EXIT STATUS", [*_pairs(_EXIT)]),
        *_section("ENVIRONMENT", [*_pairs(_ENVIRONMENT)]),
        *_section("FILES", [*_pairs(_FILES)]),
        *_section("EXAMPLES", [*_help(root.epilog)]),
        *_section("SEE ALSO", [".BR openstack (1),", ".BR virsh (1),", ".BR mdevctl (8)"]),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, body: Sequence[str]) -> list[str]:
    return [f'.SH "{title}"', *body]


def _commands(group: click.Group, ctx: click.Context) -> Iterator[str]:
    """Every command with its options, a subcommand under its whole name."""
    for word in group.list_commands(ctx):
        command = group.get_command(ctx, word)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=word, parent=ctx)
        usage = " ".join(part for part in command.collect_usage_pieces(inner) if part != "[OPTIONS]")
        path = inner.command_path.partition(" ")[2]
        yield f'.SS "{_text(f"{path} {usage}".strip())}"'
        yield from _help(command.help)
        yield from _options(command, inner)
        yield from _help(command.epilog)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and not getattr(param, "hidden", False):
            yield ".TP"
            yield f"\\fB{_text(record[0])}\\fR"
            yield _line(_HELP_COLUMNS.sub("  ", record[1]))


def _keys(keys: Sequence[Key]) -> Iterator[str]:
    for group in dict.fromkeys(key.group for key in keys):
        yield f'.SS "{_text(group)}"'
        yield from _pairs((key.key, key.help) for key in keys if key.group == group)


def _pairs(pairs: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> Iterator[str]:
    for word, meaning in pairs:
        yield from (".TP", f"\\fB{_text(word)}\\fR", _line(meaning))


def _help(text: str | None) -> Iterator[str]:
    r"""A help text in click's way: paragraphs, and blocks after ``\b`` whose lines stay as they are."""
    for paragraph in re.split(r"\n\s*\n", (text or "").strip("\n")):
        lines = [line.rstrip() for line in paragraph.split("\n")]
        kept = bool(lines) and lines[0].strip() == "\b"
        lines = [line for line in lines if line.strip() and line.strip() != "\b"]
        if not lines:
            continue
        yield ".PP"
        if kept:
            yield from (".nf", *(_line(line) for line in lines), ".fi")
        else:
            yield _line(" ".join(line.strip() for line in lines))


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in escaped)


def _line(text: str) -> str:
    """A line of text: what roff would take for a request at its beginning is none."""
    escaped = _text(text)
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped


def _word(text: str) -> str:
    return f'"{_text(text)}"'
