"""From what is under the cursor to its explanation: what can be explained, what else from there, and who is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vgpu_console.actions.plan import PlanError
from vgpu_console.fleet.explain import explain
from vgpu_console.model.facts import Facts
from vgpu_console.model.snapshot import Snapshot
from vgpu_console.rules.explain.chain import Explanation, Kind
from vgpu_console.screens.dialogs.explain import ExplainDialog, Subject
from vgpu_console.screens.seams import ActionTeller

if TYPE_CHECKING:
    from vgpu_console.app import VgpuConsoleApp


def name_of(facts: Facts, snapshot: Snapshot, kind: Kind, object_id: str) -> str:
    """What it is called, for the title; its id where nobody names it."""
    nova, keystone = facts.nova, facts.keystone
    names: dict[str, str] = {}
    if kind == "server":
        names = {s.id: s.name for s in snapshot.servers if s.id == object_id}
        names |= {s.id: s.name for s in (nova.servers if nova else None) or () if s.id == object_id}
    elif kind == "flavor":
        names = {f.id: f.name for f in (nova.flavors if nova else None) or ()}
    elif kind == "project":
        names = {p.id: p.name for p in (keystone.projects if keystone else None) or ()}
        names |= {} if object_id in names else {q.project_id: q.project for q in snapshot.quotas}
    return names.get(object_id) or object_id


def related_to(facts: Facts, snapshot: Snapshot, kind: Kind, object_id: str) -> list[Subject]:
    """What else explains a server: its flavor, its project, its host."""
    if kind != "server":
        return []
    nova = facts.nova
    server = next((s for s in (nova.servers if nova else None) or () if s.id == object_id), None)
    if server is None:
        return []
    flavor = next((f for f in (nova.flavors if nova else None) or () if f.name == server.flavor), None)
    found = [Subject("flavor", flavor.id, flavor.name)] if flavor is not None else []
    found.append(Subject("project", server.project_id, name_of(facts, snapshot, "project", server.project_id)))
    if server.host and snapshot.host(server.host) is not None:
        found.append(Subject("host", server.host, server.host))
    return found


def open_explanation(app: VgpuConsoleApp, kind: Kind, object_id: str) -> None:
    """Show the explanation over whatever is in front; on from a server to what it depends on, and back again."""
    engine, changes = app.engine, app.changes
    if engine is None or app.snapshot is None:
        app.say("the cloud is still being asked")
        return
    last_action = engine.last_action if isinstance(engine, ActionTeller) else None

    def ask(subject: Subject) -> Explanation:
        facts, snapshot = changes.known()
        return explain(engine.candidates, snapshot, facts, subject.kind, subject.id, app.now(), last_action)

    def closed(following: Subject | None) -> None:
        if following is not None:
            open_explanation(app, following.kind, following.id)

    try:
        facts, snapshot = changes.known()
    except PlanError as error:
        app.say(str(error))
        return
    subject = Subject(kind, object_id, name_of(facts, snapshot, kind, object_id))
    app.push_screen(ExplainDialog(subject, ask, related_to(facts, snapshot, kind, object_id)), closed)
