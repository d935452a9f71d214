"""Plans and their outcomes in words: what changes, what that means, what was looked at, how it is done and undone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from vgpu_console.actions.plan import Check, CheckStatus, Danger, DeviceStep, HttpStep, OperatorStep, Plan, Step
from vgpu_console.actions.runner import Outcome
from vgpu_console.screens.render import words
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Kind, Span, glyphs

_WORST: dict[CheckStatus, int] = {"fail": 0, "warn": 1, "unknown": 2, "pass": 3}
_KINDS: dict[CheckStatus, Kind] = {"pass": "ok", "warn": "warn", "fail": "fail", "unknown": "unknown"}
_DANGERS: tuple[Danger, ...] = ("change", "risk", "destroy")
_LABEL = 10


def check_span(status: CheckStatus) -> Span:
    """A check's state as glyph, word and tone: ``! warn``."""
    signs = glyphs()
    sign = {"pass": signs.ok, "warn": signs.warn, "fail": signs.fail, "unknown": signs.unknown}[status]
    return f"{sign} {status}", _KINDS[status]


def ordered(checks: Sequence[Check]) -> list[Check]:
    """Checks, the worst first."""
    return sorted(checks, key=lambda c: _WORST[c.status])


def open_checks(plans: Sequence[Plan]) -> dict[str, list[tuple[Plan, Check]]]:
    """Check id -> the plans in which it is a warning or unknown: what an operator must accept, one by one."""
    found: dict[str, list[tuple[Plan, Check]]] = {}
    for plan in plans:
        for check in ordered(plan.needs_override):
            found.setdefault(check.id, []).append((plan, check))
    return found


def greatest_danger(plans: Sequence[Plan]) -> Danger:
    """The danger of the most dangerous of them."""
    return max((plan.danger for plan in plans), key=_DANGERS.index, default="change")


# What changes -----------------------------------------------------------------------------------------------------


def value_word(key: str, value: Any) -> str:
    """A value of ``before`` or ``after``. Of limits -1 is unlimited, and what is not there says what that means."""
    if value is None:
        return {"limit": "none of its own", "default": "not registered"}.get(key, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "unlimited (-1)" if value == -1 else str(value)


def key_word(key: str) -> str:
    """A key of ``before`` and ``after`` for eyes; without the id that only tells equal names apart."""
    name, bracket, _ = key.rpartition(" [")
    return name if bracket else _KEYS.get(key, key)


_KEYS = {
    "held_by": "held by",
    "vfs": "functions",
    "in_progress": "under way",
    "force_requests": "forced so far",
}


def short_name(plan: Plan) -> str:
    """What the plan is about, in a column: of a vGPU its host, its function and the beginning of its uuid."""
    key = plan.target.key
    host, function, uuid = key.get("host"), key.get("function"), key.get("uuid")
    if not host or not function:
        return plan.target.name
    return " ".join(w for w in (host, function.removeprefix("0000:"), (uuid or "")[:8]) if w)


def changes(plan: Plan) -> list[tuple[str, str, str]]:
    """(what, from, to) of everything that the plan changes."""
    keys = dict.fromkeys((*plan.before, *plan.after))
    return [
        (key_word(k), value_word(k, plan.before.get(k)), value_word(k, plan.after.get(k)))
        for k in keys
        if k in plan.after and plan.before.get(k) != plan.after[k]  # what it does not name it leaves to the world
    ]


def change_word(plan: Plan) -> str:
    """What the plan changes, in one line: ``8 → 4``."""
    found = changes(plan)
    if not found:
        return "nothing"
    state = next((f"{old} → {new}" for what, old, new in found if what == "state"), None)
    if state is not None:
        return state  # of a device that comes or goes all else follows from it
    same_key = len(found) == 1
    return ", ".join(f"{old} → {new}" if same_key else f"{what} {old} → {new}" for what, old, new in found)


def change_lines(plan: Plan, width: int) -> list[Line]:
    """``limit   8 → 4``, a line for each thing that changes."""
    found = changes(plan)
    if not found:
        return [(("already so: nothing to do", "muted"),)]
    absent = next((s for s in (plan.before, plan.after) if s.get("state") == "absent"), None)
    there = plan.after if absent is plan.before else plan.before
    if absent is not None:
        found = [one for one in found if one[0] == "state"]  # all else comes and goes with it
    label = max(len(what) for what, _, _ in found)
    label = min(max(label, _LABEL - 1), max(8, width // 2))
    lines: list[Line] = []
    for what, old, new in found:
        lines.append(
            ((f"{words.clip(what, label):<{label}} ", "muted"), (old, ""), ("  →  ", "muted"), (new, "accent"))
        )
    if absent is not None and there is not absent:
        persistent = there.get("persistent")
        kept = "" if persistent is None else "defined" if persistent else "transient"
        parts = [f"{there.get('type')} on {there.get('function') or 'a function that is gone'}", kept]
        parts += ["starts with its function"] if there.get("autostart") else []
        what = "as" if there is plan.after else "it was"
        lines += hang(((f"{what:<{label}} ", "muted"),), ", ".join(p for p in parts if p), "", width)
    same = sum(plan.before.get(k) == plan.after.get(k) for k in plan.before)
    if same and plan.target.kind == "registered limit":
        lines.append((((" " * (label + 1)), ""), (f"{words.plural(same, 'own limit')} stay as they are", "muted")))
    return lines


# A whole plan -----------------------------------------------------------------------------------------------------


def check_lines(
    check: Check, width: int, *, accepted: bool = False, here: bool = False, said: str = "", indent: int = 0
) -> list[Line]:
    """One check: cursor, state, its name, the evidence, and where that is from."""
    word, tone = check_span(check.status)
    if accepted:
        word, tone = f"{glyphs().ok} accepted", "accent"
    name = check.id.rpartition(".")[2]
    first: list[Span] = [(f"{glyphs().cursor} " if here else "  ", "accent"), (f"{word:<11}", tone)]
    if width >= 90:
        first.append((f"{name:<{max(15, indent)}} ", "muted"))
    age = "" if check.age_s is None else f" {words.age(check.age_s)}"
    after = (f"{check.source}{age}" if check.source else "", "muted")
    return hang(first, said or check.evidence, "muted" if check.status == "pass" else "", width, after)


def plan_lines(plan: Plan, width: int, accepted: Collection[str], cursor: str | None) -> list[Line]:
    """The whole plan for a dialog ``width`` cells wide; the check under the cursor is the one to accept next."""
    lines: list[Line] = []
    if plan.blocked_by:  # the answer first
        lines.append(_heading("Not possible", _count(plan.checks, accepted)))
        for check in plan.blocked_by:
            lines += check_lines(check, width)
        lines.append(())
    lines += change_lines(plan, width)
    if plan.effect:
        lines.append(())
        for one in plan.effect:
            lines += hang((("  ", ""),), one, "", width)
    rest = [check for check in ordered(plan.checks) if check.status != "fail"]
    lines += [(), _heading("Checks", *([] if plan.blocked_by else [_count(plan.checks, accepted)]))] if rest else []
    for check in rest:
        lines += check_lines(check, width, accepted=check.id in accepted, here=check.id == cursor)
    if plan.blocked_by:
        return lines  # how it would be done all the same is no help to anybody
    if plan.steps:
        lines += [(), _heading("Steps")]
        for number, step in enumerate(plan.steps, 1):
            lines += hang(((f"{number:>3} ", "muted"),), step.title, "", width, (_how(step), "muted"))
    if plan.commands:
        lines += [(), _heading("The same by hand")]
        for command in plan.commands:
            lines += hang((("  ", ""),), command, "muted", width)
    if plan.steps:
        lines += [(), _heading("To undo it")]
        for number, step in enumerate(plan.inverse, 1):
            lines += hang(((f"{number:>3} ", "muted"),), step.title, "", width)
        if plan.inverse_note:
            lines += hang((("  ", ""),), plan.inverse_note, "", width)
    if plan.hash:
        lines += [(), ((f"  plan {plan.hash}", "muted"),)]
    return lines


def _how(step: Step) -> str:
    """What is really called, beside the words of a step."""
    if isinstance(step, HttpStep):
        return f"{step.method} {step.path}"
    if isinstance(step, DeviceStep):
        return f"libvirt {step.call} on {step.host}"
    if isinstance(step, OperatorStep):
        return f"you, on {step.host}"
    return f"ssh {step.call} on {step.host}"


def _heading(word: str, *beside: Span) -> Line:
    return ((word, "title"), *beside)


def _count(checks: Sequence[Check], accepted: Collection[str]) -> Span:
    left = sum(c.status in ("warn", "unknown") and c.id not in accepted for c in checks)
    failed = sum(c.status == "fail" for c in checks)
    parts = [f"{failed} against it"] if failed else []
    parts += [f"{left} to accept"] if left else []
    parts += [f"{sum(c.status == 'pass' for c in checks)} pass"]
    return "   " + " · ".join(parts), "fail" if failed else "warn" if left else "muted"


# Outcomes ---------------------------------------------------------------------------------------------------------

RESULTS: dict[str, tuple[Kind, str]] = {
    "done": ("ok", "done"),
    "moved": ("warn", "changed meanwhile"),
    "refused": ("fail", "not done"),
    "failed": ("fail", "failed"),
    "unverified": ("unknown", "not verified"),
    "interrupted": ("muted", "not begun"),
}


def result_span(outcome: Outcome) -> Span:
    """How a plan ended: glyph, word and tone."""
    kind, word = RESULTS[outcome.result]
    signs = glyphs()
    sign = {"ok": signs.ok, "warn": signs.warn, "fail": signs.fail, "unknown": signs.unknown}.get(kind, signs.separator)
    return f"{sign} {word}", kind


def outcome_lines(outcome: Outcome, width: int) -> list[Line]:
    """How it ended, what was last seen, and what an operator can do now."""
    lines: list[Line] = [(result_span(outcome),), *hang((("  ", ""),), outcome.message, "", width)]
    if outcome.observed is not None and outcome.result != "done":
        plan = outcome.plan
        lines.append(())
        shown = [k for k in outcome.observed if outcome.observed[k] != plan.before.get(k)] or list(outcome.observed)[:1]
        for key in shown:
            now, planned = value_word(key, outcome.observed[key]), value_word(key, plan.after.get(key))
            lines.append(
                (
                    (f"{key_word(key):<9} ", "muted"),
                    ("now ", "muted"),
                    (now, "accent"),
                    (f"   planned {planned}", "muted"),
                )
            )
    elif outcome.observed is None and outcome.result in ("failed", "unverified"):
        lines += [(), (("what is true now is not known", "unknown"),)]
    advice = _ADVICE.get(outcome.result)
    if outcome.result == "unverified" and any(isinstance(s, OperatorStep) for s in outcome.plan.steps):
        advice = (
            "The console waits no longer. Once the command has done its work, the host's GPUs show it by themselves."
        )
    return [*lines, (), *hang((("  ", ""),), advice, "muted", width)] if advice else lines


_ADVICE = {
    "moved": "Nothing was sent. Planning again starts from what is there now.",
    "failed": "The journal has every step that was taken.",
    "unverified": "The steps were taken. The journal has them; look again before the next change.",
    "interrupted": "Nothing was sent for it.",
}


def outcome_word(outcome: Outcome) -> str:
    """One line for a toast."""
    plan = outcome.plan
    if outcome.result == "done":
        return f"{plan.title}: {change_word(plan)}, {outcome.message}"
    return f"{plan.title}: {result_span(outcome)[0][2:]}: {outcome.message}"
