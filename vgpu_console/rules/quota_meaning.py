"""What unified limits mean on this cloud: whether Nova enforces them at all, and what a limit that is not there means.

Nova tells neither over its API, so both are worked out: from the release (the newest microversion it speaks) and from
nova.conf where a host's can be read. That is a compute host's file; what counts is the one of nova-api and
nova-conductor, so every answer says what it was read from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from vgpu_console.model.nova import NovaFacts
from vgpu_console.model.snapshot import MissingMeaning

UNIFIED_DRIVER = "nova.quota.UnifiedLimitsDriver"
_FIRST_WITH_STRATEGY = (2, 100)
"""2.100 is the newest microversion of 2025.1 (Nova 31), the first that knows [quota] unified_limits_resource_*."""

_DEFAULT_LIST = ("servers",)

Confs = Mapping[str, Mapping[str, str] | None]
"""nova.conf by host, as :class:`~vgpu_console.model.host_facts.SshFacts` holds it: ``group.option`` -> value."""


class Enforcement(NamedTuple):
    """Whether Nova enforces unified limits. ``unknown`` is told with how to find out."""

    word: Literal["on", "off", "unknown"]
    why: str


def enforcement(confs: Confs) -> Enforcement:
    """By ``[quota] driver``: UnifiedLimitsDriver enforces; any other, the default too, knows no limit of vGPUs."""
    named = {host: conf["quota.driver"].strip() for host, conf in confs.items() if conf and conf.get("quota.driver")}
    drivers = {value.rpartition(".")[2] for value in named.values()}
    if len(drivers) > 1:
        return Enforcement("unknown", f"[quota] driver differs between the nova.conf of {_hosts(named)}")
    if drivers:
        unified = drivers == {UNIFIED_DRIVER.rpartition(".")[2]}
        line = f"[quota] driver is {drivers.pop()} in nova.conf of {_hosts(named)}; nova-api's own file decides"
        return Enforcement("on" if unified else "off", line)
    readable = [host for host, conf in confs.items() if conf is not None]
    if readable:
        line = (
            f"nova.conf of {_hosts(readable)} does not set [quota] driver, which only nova-api and nova-conductor need"
        )
        return Enforcement("unknown", line)
    return Enforcement("unknown", "no nova.conf could be read, and Nova's API does not tell its quota driver")


def release_knows_strategy(nova: NovaFacts | None) -> bool | None:
    """Whether this Nova is 31 (2025.1) or newer, by its newest microversion; None when that is not known."""
    major, dot, minor = (nova.max_microversion if nova else "").partition(".")
    if not dot or not (major.isdecimal() and minor.isdecimal()):
        return None
    return (int(major), int(minor)) >= _FIRST_WITH_STRATEGY


def missing_limit_means(nova: NovaFacts | None, confs: Confs, resource: str = "class:VGPU") -> MissingMeaning:
    """What a resource without a registered limit is allowed: everything, nothing, or unknown.

    oslo.limit takes a missing limit for 0. Before Nova 31 that stood. Since then Nova asks again: by ``[quota]
    unified_limits_resource_strategy`` (default ``require``) and ``_list`` (default ``servers``), a resource that is
    not required counts as unlimited (nova: limit/utils.py should_enforce).
    """
    enforced = enforcement(confs)
    if enforced.word == "off":
        return MissingMeaning("unlimited", f"{enforced.why}: with it Nova has no quota of this at all")
    knows = release_knows_strategy(nova)
    if knows is None:
        return MissingMeaning("unknown", "Nova has not told which microversions it speaks, so its release is not known")
    spoken = f"Nova speaks {nova.max_microversion if nova else ''}"
    if not knows:
        return MissingMeaning("zero", f"{spoken}, so it is older than 31 (2025.1): a limit that is missing counts as 0")
    told: dict[str, tuple[str, tuple[str, ...]]] = {}
    for host, conf in confs.items():
        strategy = (conf or {}).get("quota.unified_limits_resource_strategy")
        listed = (conf or {}).get("quota.unified_limits_resource_list")
        if strategy is not None or listed is not None:
            names = _DEFAULT_LIST if listed is None else tuple(n.strip() for n in listed.split(",") if n.strip())
            told[host] = ((strategy or "require").strip(), names)
    if not told:
        word = _by_strategy("require", _DEFAULT_LIST, resource)
        why = f"{spoken}: since 31 (2025.1) only 'servers' must be registered by default"
        return MissingMeaning(word, f"{why}; [quota] unified_limits_resource_list of nova-api could say otherwise")
    words = {_by_strategy(strategy, names, resource) for strategy, names in told.values()}
    if len(words) > 1:
        return MissingMeaning(
            "unknown", f"[quota] unified_limits_resource_* differ between nova.conf of {_hosts(told)}"
        )
    strategy, names = next(iter(told.values()))
    line = (
        f"nova.conf of {_hosts(told)}: unified_limits_resource_strategy {strategy}, list {', '.join(names) or 'empty'}"
    )
    return MissingMeaning(words.pop(), f"{line}; nova-api's own file decides")


def missing_limit_is_told(nova: NovaFacts | None, confs: Confs) -> bool:
    """Whether :func:`missing_limit_means` rests on evidence, not on Nova's defaults.

    Evidence is a release that knows no strategy, a driver without unified limits, or a strategy that a nova.conf
    names. That a compute host's file names the driver alone tells nothing of the strategy: what leaves it at its
    default there may be set in the file of nova-api, the only one that counts.
    """
    if enforcement(confs).word == "off":
        return True
    knows = release_knows_strategy(nova)
    if not knows:
        return knows is False
    names = ("unified_limits_resource_strategy", "unified_limits_resource_list")
    return any(f"quota.{name}" in (conf or {}) for conf in confs.values() for name in names)


def _by_strategy(strategy: str, names: tuple[str, ...], resource: str) -> Literal["unlimited", "zero"]:
    """A strategy that Nova does not know makes it enforce every limit that is missing."""
    if strategy == "require":
        return "zero" if resource in names else "unlimited"
    if strategy == "ignore":
        return "unlimited" if resource in names else "zero"
    return "zero"


def _hosts(names: Mapping[str, object] | list[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
