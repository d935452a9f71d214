"""Keystone: domains, projects, the catalogue, registered limits, project limits and the enforcement model.

Everything is read with the scope that sees most (the system's, where the credential can have it) and, where that is
refused, with the project's. What neither may see is None with a note; only when nothing at all can be read is it an
error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from vgpu_console.model.keystone import (
    Domain,
    Endpoint,
    KeystoneFacts,
    Project,
    ProjectLimit,
    RegisteredLimit,
    Service,
    SystemRole,
)
from vgpu_console.model.source import SourceKind
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection, HttpStatusError, LimitsView, counting
from vgpu_console.sources.cloud_errors import ROLES
from vgpu_console.sources.tolerant import BadRecord, flag, ident, integer, mapping, optional_ident, records, rows, text

_PATHS = (
    "/domains",
    "/projects",
    "/services",
    "/endpoints",
    "/registered_limits",
    "/limits",
    "/limits/model",
    "/role_assignments",
)

_TURNS = ("projects", "domains", "projects", "services", "projects", "endpoints", "roles", "model")
"""Limits are read at each refresh. Of the rest one part is, in turns: so no refresh costs more than another."""

MAX_PAGES = 1000


class KeystoneSource:
    """Reads Keystone through one connection. ``requests`` and ``notes`` describe the last fetch.

    ``limits_only`` leaves out what says nothing of a project's limits (domains, the model, roles on the system), and
    takes services and endpoints from the catalogue that came with the token.
    """

    kind: SourceKind = "keystone"
    host = ""

    def __init__(self, connection: CloudConnection, *, limits_only: bool = False) -> None:
        self._connection = connection
        self._limits_only = limits_only
        self.requests = 0
        self.notes: tuple[str, ...] = ()
        self._refreshes = 0
        self._lesser: set[str] = set()  # paths that only the project's scope may read
        self._denied: dict[str, str] = {}  # paths that neither may read, with the note; asked again at the slow pace

    def close(self) -> None:
        """Nothing of its own: the connection is the caller's."""

    def fetch(self, previous: KeystoneFacts | None) -> KeystoneFacts:
        """One reading; with ``previous``, the parts that rarely change are taken from it. Raises SourceError."""
        notes: list[str] = []
        with counting() as tally:
            try:
                facts = self._fetch(previous, notes)
            finally:
                self.requests = tally.count
        self.notes = tuple(notes)
        return facts

    def _fetch(self, previous: KeystoneFacts | None, notes: list[str]) -> KeystoneFacts:
        self._refreshes = 0 if previous is None else self._refreshes + 1
        old = previous or KeystoneFacts()
        turn = _TURNS[self._refreshes % len(_TURNS)]
        if self._refreshes % len(_TURNS) == 0:
            self._denied.clear()
        errors: list[SourceError] = []
        view = self._connection.limits_view()
        if view.note:
            notes.append(f"limits are read with the project's scope: {view.note}")
        if not view.separate:
            self._lesser.update(_PATHS)  # there is but one scope to ask with

        def part(
            path: str,
            key: str,
            build: Callable[[dict[str, Any]], Any],
            known: Any,
            again: bool,
            query: dict[str, Any] | None = None,
        ) -> Any:
            if known is not None and not again:
                return known
            if path in self._denied:
                notes.append(self._denied[path])
                return None
            try:
                new = tuple(records(self._list(path, key, notes, query), build, key, notes))
            except SourceError as exc:
                self._tolerate(exc, path, notes, errors)
                return None
            return known if known == new else new

        limits = part("/limits", "limits", _project_limit, old.project_limits, True)
        whole = not self._limits_only
        asked = {"scope.system": "all", "include_names": "true"}
        path, key = "/role_assignments", "role_assignments"
        facts = KeystoneFacts(
            domains=part("/domains", "domains", _domain, old.domains, turn == "domains") if whole else None,
            projects=self._projects(old.projects, turn == "projects", part, notes),
            services=part("/services", "services", _service, old.services, turn == "services") if whole else None,
            endpoints=part("/endpoints", "endpoints", _endpoint, old.endpoints, turn == "endpoints") if whole else None,
            registered_limits=part(
                "/registered_limits", "registered_limits", _registered_limit, old.registered_limits, True
            ),
            project_limits=limits,
            limits_complete=_complete(limits, view, notes),
            enforcement_model=self._model(old.enforcement_model, turn == "model", notes, errors) if whole else None,
            limits_scope=view.scope,
            system_roles=part(path, key, _system_role, old.system_roles, turn == "roles", asked) if whole else None,
        )
        nothing = (facts.domains, facts.projects, facts.services, facts.registered_limits, facts.project_limits)
        if errors and all(one is None for one in nothing):
            raise errors[0]
        if whole:
            return facts
        services, endpoints = self._catalogue(notes) or (
            part("/services", "services", _service, None, True),
            part("/endpoints", "endpoints", _endpoint, None, True),
        )
        return msgspec.structs.replace(facts, services=services, endpoints=endpoints)

    def _catalogue(self, notes: list[str]) -> tuple[tuple[Service, ...], tuple[Endpoint, ...]] | None:
        """Services and endpoints of the token's catalogue; None where it has no compute service to find limits by."""
        entries = self._connection.catalogue()
        services = tuple(records(entries, _service, "services", notes))
        if not any(service.type == "compute" for service in services):
            return None
        listed = [
            {**endpoint, "service_id": entry.get("id")}
            for entry in entries
            for endpoint in entry.get("endpoints") or []
            if isinstance(endpoint, dict)
        ]
        return services, tuple(records(listed, _endpoint, "endpoints", notes))

    def _get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """A Keystone answer with the wider scope, or, where that is refused, with the other. Remembers which it was."""
        if path not in self._lesser:
            try:
                return self._connection.get("limits", path, params=params)
            except HttpStatusError as exc:
                if exc.status != 403:
                    raise
                body = self._connection.get("identity", path, params=params)
                self._lesser.add(path)
                return body
        return self._connection.get("identity", path, params=params)

    def _list(self, path: str, key: str, notes: list[str], asked: dict[str, Any] | None = None) -> list[Any]:
        """All records of a collection: Keystone mostly sends them at once, but may cut the list or give it in pages."""
        items: list[Any] = []
        params = asked
        for _ in range(MAX_PAGES):
            body = self._get(path, params)
            page = rows(body, key, key)
            items += page
            following = mapping(body, "links").get("next")
            query = dict(parse_qsl(urlsplit(following).query)) if isinstance(following, str) else {}
            if not page or not query or query == params:
                if body.get("truncated") is True:
                    notes.append(f"{key}: Keystone cut the list after {len(items)} ([DEFAULT] list_limit)")
                return items
            params = {**(asked or {}), **query}
        raise SourceError("protocol", f"keystone's list of {key} does not end")

    def _projects(
        self, old: tuple[Project, ...] | None, again: bool, part: Callable[..., Any], notes: list[str]
    ) -> tuple[Project, ...] | None:
        """All projects, or at least those that this user may scope to: their names are better than bare ids."""
        everything: tuple[Project, ...] | None = part(
            "/projects", "projects", _project, None if "/projects" in self._denied else old, again
        )
        if everything is not None:
            return everything
        notes.append("projects: only this user's own have names here")
        if old is not None and not again:
            return old
        try:
            body = self._connection.get("identity", "/auth/projects")
            return tuple(records(rows(body, "projects", "projects"), _project, "projects", notes))
        except SourceError:
            return None

    def _model(self, old: str | None, again: bool, notes: list[str], errors: list[SourceError]) -> str | None:
        if (old is not None and not again) or "/limits/model" in self._denied:
            return old
        try:
            return text(mapping(self._get("/limits/model"), "model"), "name", 100)
        except SourceError as exc:
            self._tolerate(exc, "/limits/model", notes, errors)
            return None

    def _tolerate(self, exc: SourceError, path: str, notes: list[str], errors: list[SourceError]) -> None:
        """Note an error that concerns one part; let through one that concerns Keystone as a whole."""
        if exc.kind in ("unreachable", "timeout", "auth", "unavailable"):
            raise exc
        what = path.strip("/").replace("_", " ").replace("/", " ")
        note = f"{what}: {exc}"
        if isinstance(exc, HttpStatusError) and exc.status == 403:
            note = self._denied[path] = f"{what}: not visible to this credential (it needs {ROLES['identity']})"
        notes.append(note)
        errors.append(exc)


def _complete(limits: tuple[ProjectLimit, ...] | None, view: LimitsView, notes: list[str]) -> bool | None:
    """Whether the limits are those of all projects.

    Before Keystone 29 (2026.1) a project-scoped token was shown its own project's limits only, since then one with
    the admin or service role is shown all; Keystone does not say which release it is. So a limit of another project
    proves the latter, and without such a limit nothing is proved.
    """
    if limits is None:
        return None
    if view.scope == "system":
        return True
    if view.scope == "project":
        if any(limit.project_id not in (None, view.project_id) for limit in limits):
            return True
        if not view.admin:
            notes.append("limits: only those of this credential's project are visible")
            return False
        notes.append("limits: perhaps only this project's are visible; a user with reader on the system sees all")
    return None


def _domain(record: dict[str, Any]) -> Domain:
    return Domain(id=ident(record, "id"), name=text(record, "name", 255) or "")


def _project(record: dict[str, Any]) -> Project:
    return Project(
        id=ident(record, "id"),
        name=text(record, "name", 255) or "",
        domain_id=text(record, "domain_id", 255) or "",
        enabled=flag(record, "enabled"),
    )


def _service(record: dict[str, Any]) -> Service:
    return Service(id=ident(record, "id"), type=text(record, "type", 255) or "", name=text(record, "name", 255) or "")


def _endpoint(record: dict[str, Any]) -> Endpoint:
    url = text(record, "url") or ""
    head, at, tail = url.partition("@")
    return Endpoint(
        id=ident(record, "id"),
        service_id=ident(record, "service_id"),
        region_id=text(record, "region_id", 255),
        interface=text(record, "interface", 40) or "",
        url=f"{head.partition('//')[0]}//{tail}" if at and "//" in head and "/" not in head.partition("//")[2] else url,
    )


def _system_role(record: dict[str, Any]) -> SystemRole:
    """One row. Keystone does not resolve groups in assignments on the system, so a group may stand in it."""
    who = mapping(record, "user") or mapping(record, "group")
    role = text(mapping(record, "role"), "name", 255)
    if not role or not who:
        raise BadRecord("no role name, or nobody who has it")
    return SystemRole(
        user=text(mapping(record, "user"), "name", 255) or "",
        group=text(mapping(record, "group"), "name", 255) or "",
        domain=text(mapping(who, "domain"), "name", 255) or "",
        role=role,
    )


def _registered_limit(record: dict[str, Any]) -> RegisteredLimit:
    return RegisteredLimit(
        id=ident(record, "id"),
        service_id=ident(record, "service_id"),
        region_id=text(record, "region_id", 255),
        resource_name=_resource_name(record),
        default_limit=_amount(record, "default_limit"),
    )


def _project_limit(record: dict[str, Any]) -> ProjectLimit:
    project_id, domain_id = optional_ident(record, "project_id"), optional_ident(record, "domain_id")
    if project_id is None and domain_id is None:
        raise BadRecord("neither project_id nor domain_id")
    return ProjectLimit(
        id=ident(record, "id"),
        project_id=project_id,
        domain_id=domain_id,
        service_id=ident(record, "service_id"),
        region_id=text(record, "region_id", 255),
        resource_name=_resource_name(record),
        resource_limit=_amount(record, "resource_limit"),
    )


def _resource_name(record: dict[str, Any]) -> str:
    name = text(record, "resource_name", 255)
    if not name:
        raise BadRecord("no resource_name")
    return name


def _amount(record: dict[str, Any], key: str) -> int:
    amount = integer(record, key)
    if amount is None:
        raise BadRecord(f"no {key}")
    return amount
