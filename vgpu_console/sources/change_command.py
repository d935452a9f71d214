r"""The few commands that change something on a host over SSH: constant text, with values of a checked form beside it.

``set-vgpu-type`` writes a virtual function's ``current_vgpu_type`` (NVIDIA's vendor VFIO framework; 0 clears it),
``enable-vfs`` runs NVIDIA's ``sriov-manage -e``. Both use ``sudo -n`` where the user is not allowed to by itself, so
that an operator's rule can be as narrow as ``tee /sys/bus/pci/devices/*/nvidia/current_vgpu_type``.

The answer is ``==vgpu-console-change 1==``, what the command said, and ``==exit N==`` last; exit 100: there is no such
file on the host, and nothing was run.
"""

from __future__ import annotations

import re
import shlex
from typing import Literal

import msgspec

from vgpu_console.sources.base import Refused
from vgpu_console.text import plain

ChangeCall = Literal["set-vgpu-type", "enable-vfs"]

NOTHING_RUN = 100


class HostChange(msgspec.Struct, frozen=True):
    """What to do to which PCI function; ``value`` is the numeric type, with set-vgpu-type."""

    call: ChangeCall
    address: str
    value: int | None = None


CHANGE_SCRIPT = r"""R=
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
exec 2>&1 </dev/null
echo "==vgpu-console-change 1=="
case $1 in
set-vgpu-type)
  f=$R/sys/bus/pci/devices/$2/nvidia/current_vgpu_type
  if [ ! -e "$f" ]; then echo "$f: no such file"; c=100
  elif [ -w "$f" ]; then printf "%s\n" "$3" | tee "$f" >/dev/null; c=$?
  else printf "%s\n" "$3" | sudo -n tee "$f" >/dev/null; c=$?
  fi ;;
enable-vfs)
  m=$R/usr/lib/nvidia/sriov-manage
  if [ ! -e "$m" ]; then echo "$m: no such file"; c=100
  elif [ "$(id -u)" = 0 ]; then "$m" -e "$2"; c=$?
  else sudo -n "$m" -e "$2"; c=$?
  fi ;;
*) echo "unknown change"; c=100 ;;
esac
echo "==exit $c=="
"""
"""What runs on the host. ``R`` is the root of every path: empty, and only the tests put a folder there."""

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_MOST_TYPE = 0xFFFFFFFF


def change_command(change: HostChange, script: str = CHANGE_SCRIPT) -> str:
    """The command line for a login shell of any kind. Raises Refused for values that have not the right form."""
    if not _ADDRESS.fullmatch(change.address):
        raise Refused(f"not sent: {plain(change.address, 40) or 'nothing'} is no PCI address")
    words = [change.call, change.address]
    if change.call == "set-vgpu-type":
        value = change.value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TYPE:
            raise Refused("not sent: a vGPU type is a number, 0 for none")
        words.append(str(value))
    elif change.call != "enable-vfs":
        raise Refused(f"not sent: there is no change named {plain(change.call, 40)}")
    return f"exec /bin/sh -c {shlex.quote(script)} vgpu-console {shlex.join(words)}"
