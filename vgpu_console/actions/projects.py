"""From what an operator typed to one project: by id, by name, by name@domain. Never a guess."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable

from vgpu_console.actions.plan import NO_CONNECTION, REFUSED, USAGE, PlanError
from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import Domain, Project
from vgpu_console.text import plain

__all__ = ["NO_CONNECTION", "REFUSED", "USAGE", "PlanError", "find_project", "project_labels"]

_SHOWN = 8
"""So many candidates are listed in a message; a cloud may have hundreds of equal names."""


def find_project(facts: Facts, text: str) -> Project:
    """The one project meant by an id, a name or ``name@domain`` (the domain's name or id).

    Raises PlanError: unknown, with names that are near; ambiguous, with the ids to choose from.
    """
    asked = plain(text.strip(), 600)
    if not asked:
        raise PlanError("no project was named")
    if facts.keystone is None:
        raise PlanError("keystone has not answered: no project can be looked up", NO_CONNECTION)
    projects = facts.keystone.projects
    if projects is None:
        raise PlanError("projects are not visible to this credential (it needs role admin or reader)", REFUSED)
    for project in projects:
        if project.id == asked:
            return project
    domains = {d.id: d for d in facts.keystone.domains or ()}
    found = [p for p in projects if p.name == asked] or _in_domain(projects, domains, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanError(f"{asked!r} is the name of {len(found)} projects: {_listed(found, domains)}; give the id")
    near = _near(projects, asked)
    hint = f"; is it {_listed(near, domains)}?" if near else ""
    raise PlanError(f"no project has the id or name {asked!r}{hint}")


def project_labels(facts: Facts) -> dict[str, str]:
    """Project id -> its name, with its domain where another project has the same name."""
    keystone = facts.keystone
    if keystone is None:
        return {}
    domains = {d.id: d for d in keystone.domains or ()}
    times = Counter(p.name for p in keystone.projects or ())
    return {
        p.id: (f"{p.name}@{_domain_word(p, domains)}" if times[p.name] > 1 else p.name) or p.id
        for p in keystone.projects or ()
    }


def _in_domain(projects: Iterable[Project], domains: dict[str, Domain], asked: str) -> list[Project]:
    name, at, domain = asked.rpartition("@")
    if not at or not name:
        return []
    ids = {d.id for d in domains.values() if domain in (d.id, d.name)} | {domain}
    return [p for p in projects if p.name == name and p.domain_id in ids]


def _near(projects: Iterable[Project], asked: str) -> list[Project]:
    by_fold: dict[str, list[Project]] = {}
    for project in projects:
        by_fold.setdefault(project.name.casefold(), []).append(project)
    name = asked.casefold()
    names = [name] if name in by_fold else difflib.get_close_matches(name, by_fold, n=3, cutoff=0.7)
    short = [p for p in projects if len(asked) >= 4 and p.id.startswith(asked)]
    return short or [p for one in names for p in by_fold[one]]


def _listed(projects: list[Project], domains: dict[str, Domain]) -> str:
    words = [f"{p.id} ({p.name}@{_domain_word(p, domains)})" for p in projects[:_SHOWN]]
    more = f" and {len(projects) - _SHOWN} more" if len(projects) > _SHOWN else ""
    return ", ".join(words) + more


def _domain_word(project: Project, domains: dict[str, Domain]) -> str:
    domain = domains.get(project.domain_id)
    return domain.name if domain is not None and domain.name else project.domain_id
