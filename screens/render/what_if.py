"""The answer to "could this project start so many servers now?": the verdict first, then its two parts."""

from __future__ import annotations

from vgpu_console.actions.limit_values import shown
from vgpu_console.rules.what_if import Verdict, WhatIf
from vgpu_console.screens.render import words
from vgpu_console.screens.render.wrap import Line, hang
from vgpu_console.screens.widgets.cells import Span, glyphs


def _sign(verdict: Verdict) -> Span:
    signs = glyphs()
    return {"yes": (signs.ok, "ok"), "no": (signs.fail, "fail"), "unknown": (signs.unknown, "unknown")}[verdict]


def what_if_lines(answer: WhatIf, width: int) -> list[Line]:
    """The verdict with its reason, the quota resource by resource, and the hosts, those with room first."""
    sign, tone = _sign(answer.verdict)
    word = {"yes": "yes", "no": "no", "unknown": "not known"}[answer.verdict]
    lines: list[Line] = hang(((f"{sign} {word}  ", tone),), answer.why, "", width)
    lines += [(), _part("Quota", answer.quota.verdict)]
    for one in answer.quota.lines:
        sign, tone = _sign(one.verdict)
        if one.verdict == "yes":
            said = f"{words.number(one.used)} + {one.wanted} of {shown(one.limit)}"
            lines += hang(((f"  {sign} ", tone), (f"{one.resource:<18} ", "muted")), said, "muted", width)
        else:
            lines += hang(((f"  {sign} ", tone),), one.why, "", width)
    if answer.quota.note:
        lines += hang((("    ", ""),), answer.quota.note, "muted", width)
    lines += [(), _part("Capacity", answer.capacity.verdict)]
    if answer.capacity.note and answer.capacity.note not in answer.why:
        lines += hang((("    ", ""),), answer.capacity.note, "", width)
    column = max((len(h.host) for h in answer.capacity.hosts), default=0)
    for host in sorted(answer.capacity.hosts, key=lambda h: (-h.room, h.host)):
        state: Span = (f"  {glyphs().ok} ", "ok") if host.room else (f"  {glyphs().fail} ", "muted")
        room = words.plural(host.room, "server") if host.room else "none"
        first = (state, (f"{words.clip(host.host, 24):<{min(24, column)}}  ", ""), (f"{room:<10} ", "accent"))
        said = "; ".join(host.reasons)
        if not host.certain:
            said = f"by Placement only: {said}"
        lines += hang(first, said, "muted", width)
    return lines


def _part(word: str, verdict: Verdict) -> Line:
    sign, tone = _sign(verdict)
    said = {"yes": "allows it", "no": "refuses it", "unknown": "not known"}[verdict]
    return (word, "title"), (f"   {sign} {said}", tone)
