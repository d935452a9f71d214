"""How a live migration stands or has ended, told as what it is, with what mends it."""

from __future__ import annotations

from typing import Literal

import msgspec

from vgpu_console.model.evidence import Evidence

GuestState = Literal["running", "paused", "shut off", "absent"]
"""What a host's libvirt says of the server's domain. None instead of it: that libvirt could not be asked."""


class GuestLook(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one host's libvirt for the server's domain. ``state`` None: it could not be looked at, ``why`` not.

    ``mdevs`` are the mediated devices that the guest holds there, uuid -> type id ("" where that is not told);
    ``idle`` those of the host that no guest holds.
    """

    host: str
    state: GuestState | None
    why: str = ""
    seen_at: float = 0.0  # seconds since the epoch, this console's clock
    mdevs: dict[str, str] = {}
    idle: dict[str, str] | None = None

    @property
    def alive(self) -> bool | None:
        """Whether a guest is there that runs or could be let go on."""
        return None if self.state is None else self.state in ("running", "paused")


EndKind = Literal[
    # it goes on
    "under-way",
    "post",  # the server runs on the destination, Nova still tidies up
    "stuck",
    "source-compute-down",  # nobody drives it any more; libvirt goes on alone
    # it moved
    "completed",
    "forced",
    "moved-not-completed",  # the server is on the destination, the migration is an error all the same
    # it did not
    "refused",  # before it began
    "aborted",
    "aborted-queued",
    "refused-by-qemu",
    "destination-died",
    "failed",
    # what is true contradicts Nova
    "split-brain",
    "nowhere",
    "twice",
    # nobody can tell
    "server-gone",
    "unknown",
]

Severity = Literal["ok", "note", "warn", "fail"]
"""ok: nothing is to be done; note: nothing must; warn: something is left behind; fail: the server is in danger."""


class Mend(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be done: a plan of the console, or a command for a shell where the console has none."""

    words: str
    action: str = ""  # id of the console's action
    command: str = ""  # copyable


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The story of one migration at one moment. ``over``: it does not go on by itself.

    ``unknown`` names what could not be looked at: nothing here may be taken for more than the evidence says.
    ``avoid`` are steps that look like a cure and make it worse.
    """

    kind: EndKind
    title: str
    explanation: str
    over: bool
    severity: Severity
    evidence: tuple[Evidence, ...] = ()
    unknown: tuple[str, ...] = ()
    mends: tuple[Mend, ...] = ()
    avoid: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether the guest runs on the destination as Nova says, too."""
        return self.kind in ("completed", "forced", "moved-not-completed")
