"""A chain of reasons: each step with its evidence and who says so, and at its end the verdict and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from vgpu_console.model.check import Check, CheckStatus
from vgpu_console.model.migration_end import Mend
from vgpu_console.model.source import SourceKind, SourceStatus
from vgpu_console.rules.migration.ground import Ground
from vgpu_console.rules.migration.precheck import ORDER, verdict

Kind = Literal["server", "flavor", "project", "host"]

KINDS: tuple[Kind, ...] = ("server", "flavor", "project", "host")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One host, or for a project one flavor, beside the chain: what it has room for, and why not for more.

    ``room`` None: not known. ``offered``, ``used`` and ``reserved`` are Placement's, of the classes that are asked for;
    ``real`` is what the GPUs can carry of their types in force. None: not known, or meaningless here.
    """

    name: str
    status: CheckStatus
    room: int | None = None
    offered: int | None = None
    used: int | None = None
    reserved: int | None = None
    real: int | None = None
    why: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. ``steps`` are in the order in which Nova would meet them; ``mends`` the most urgent first.

    ``places`` stand beside the chain and do not decide the verdict: a flavor needs one host, not all.
    """

    kind: Kind
    id: str
    name: str
    verdict: CheckStatus
    summary: str
    steps: tuple[Check, ...]
    places: tuple[Place, ...] = ()
    mends: tuple[Mend, ...] = ()

    @property
    def title(self) -> str:
        """``flavor train.a100-20c``."""
        return f"{self.kind} {self.name}"


class Chain:
    """Collects the steps of one explanation over one reading of the fleet."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.steps: list[Check] = []
        self.places: list[Place] = []
        self._mends: list[tuple[CheckStatus, Mend]] = []

    def step(
        self,
        word: str,
        status: CheckStatus,
        evidence: str,
        source: SourceKind | Literal[""] = "",
        host: str = "",
        mends: Iterable[Mend] = (),
    ) -> CheckStatus:
        """Add a step. ``host`` says whose libvirt or SSH it is; what mends it is kept where it does not pass."""
        status_of = status_for(self.ground, source, host) if source else None
        age = status_of.age_s(self.ground.now) if status_of is not None else None
        self.steps.append(Check(id=f"explain.{word}", status=status, evidence=evidence, source=source, age_s=age))
        if status != "pass":
            self._mends += [(status, mend) for mend in mends]
        return status

    def add(self, other: Explanation) -> None:
        """Go on with another chain's steps, and what mends them."""
        self.steps += other.steps
        self.places += other.places
        self._mends += [(other.verdict, mend) for mend in other.mends]

    def said(self, word: str) -> CheckStatus | None:
        """The status of a step that was taken; None where it was not."""
        return next((c.status for c in self.steps if c.id == f"explain.{word}"), None)

    def ended(
        self, kind: Kind, id: str, name: str, headline: Mapping[CheckStatus, str], first: Sequence[str] = ()
    ) -> Explanation:
        """The explanation; ``headline`` says what each verdict means of this kind of thing.

        The reason is the first step that is as bad as the verdict; of those in ``first`` one goes before the others.
        """
        word = verdict(self.steps)
        worst = [c for c in self.steps if c.status == word] if word != "pass" else []
        named = [c for w in first for c in worst if c.id == f"explain.{w}"]
        reason = next((c.evidence for c in [*named, *worst]), "")
        ranked = sorted(self._mends, key=lambda m: ORDER[m[0]])
        return Explanation(
            kind=kind,
            id=id,
            name=name,
            verdict=word,
            summary=f"{headline[word]}: {reason}" if reason else headline[word],
            steps=tuple(self.steps),
            places=tuple(self.places),
            mends=tuple(dict.fromkeys(mend for _, mend in ranked)),
        )


def status_for(ground: Ground, kind: SourceKind, host: str = "") -> SourceStatus | None:
    """How a source fares; None for one that is not asked."""
    return ground.statuses.get(host, {}).get(kind)


def unread(ground: Ground, kind: SourceKind, host: str = "") -> str:
    """Why a source says nothing, and what would let it: for the evidence of a step that is unknown."""
    status = status_for(ground, kind, host)
    who = f"{_WORDS.get(kind, kind)} of {host}" if host else _WORDS.get(kind, kind)
    if status is None:
        return f"{who} is not asked" + (f" ([{kind}] enabled = true, and access to the host)" if host else "")
    if status.error:
        return f"{who}: {status.error.removeprefix(f'{host}: ')}"
    return f"{who} has not answered yet" if status.fetched_at is None else f"{who} does not say"


_WORDS: Mapping[str, str] = {"ssh": "SSH", "libvirt": "libvirt", "nova": "Nova", "placement": "Placement"}


def placement_read(ground: Ground) -> bool:
    """Whether Placement has answered at all."""
    return ground.facts.placement is not None


def few(names: Iterable[str], most: int = 3) -> str:
    """``gpu-01, gpu-02, gpu-03 and 5 more``."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def counted(number: int, noun: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
