"""The same drain by hand: this program's own command, and those of the OpenStack client, one for each server."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from vgpu_console.actions.drain import Drain
from vgpu_console.actions.drain_report import enable_command
from vgpu_console.actions.migrate import start_command


def drain_command(drain: Drain) -> str:
    """``vgpu-console drain HOST …`` as it would begin this drain; "" for one of chosen servers, which it has not."""
    if drain.chosen:
        return ""
    words = ["vgpu-console", "drain", drain.host]
    for host in drain.to or ():
        words += ["--to", host]
    words += ["--max-parallel", str(drain.max_parallel), "--stop-after-failures", str(drain.stop_after_failures or 0)]
    words += ["--disable"] if drain.service else []
    words += ["--reason", drain.reason] if drain.service and drain.reason else []
    for check in drain.accepted:
        words += ["--accept", check]
    return shlex.join(words)


def resume_command(drain: Drain) -> str:
    """The command that takes up a drain that was left."""
    return shlex.join(["vgpu-console", "drain", "--resume", drain.id])


def openstack_commands(drain: Drain) -> tuple[str, ...]:
    """Everything that is left of it in OpenStack's own words: the service first, then each server in its turn."""
    lines = []
    if drain.service == "wanted":
        why = f" --disable-reason {shlex.quote(drain.reason)}" if drain.reason else ""
        lines.append(f"openstack compute service set --disable{why} {shlex.quote(drain.host)} nova-compute")
    lines += [start_command(i.server, i.destination) for i in drain.items if not i.final and i.destination]
    return tuple(lines)


def commands_of(drains: Sequence[Drain]) -> tuple[str, ...]:
    """All commands to copy: this program's where it has one, and OpenStack's; how a service is enabled again."""
    lines: list[str] = []
    for drain in drains:
        begun = any(i.state != "waiting" and i.state != "skipped" for i in drain.items)
        own = (resume_command(drain) if drain.unfinished else "") if begun else drain_command(drain)
        again = enable_command(drain)
        lines += [line for line in (own, *openstack_commands(drain), again) if line]
    return tuple(dict.fromkeys(lines))
