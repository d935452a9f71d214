"""The world of plans that an OpenStack cloud carries out: steps are requests, observations are fresh reads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from vgpu_console.actions.plan import HttpStep, Plan, Step
from vgpu_console.actions.registry import action
from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.sources.base import Refused, SourceError
from vgpu_console.sources.cloud import Answer, CloudConnection, HttpStatusError


class CloudWorld:
    """Implements runner.World over one connection. Safe for several threads at once."""

    def __init__(self, connection: CloudConnection, read_only: bool, name: str) -> None:
        self._connection = connection
        self._read_only = read_only
        self._name = name
        self._lock = threading.Lock()
        self._created: dict[tuple[str | None, ...], str] = {}

    @property
    def read_only(self) -> bool:
        """Whether the wall stands: the setting, or the connection's own."""
        return self._read_only or self._connection.read_only

    @property
    def name(self) -> str:
        """The cloud's name, for the journal."""
        return self._name

    def refuses(self, step: Step) -> str:
        """Why a step cannot be taken here: hosts are not reached by an API."""
        return "" if isinstance(step, HttpStep) else f"this is not a request to OpenStack: {step.title}"

    def take(self, step: Step) -> None:
        """Send one step's request. Raises SourceError; the request was then not obeyed, or nobody knows."""
        if not isinstance(step, HttpStep):
            raise Refused(self.refuses(step))
        answer = self._send(step, step.service)
        if step.method == "POST" and step.path == "/limits":
            self._remember(answer)

    def observe(self, plan: Plan) -> dict[str, Any]:
        """Read afresh what the plan is about, as its action says. Raises SourceError."""
        return action(plan.action).observe(self, plan)

    def get(self, service: str, path: str, *, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """A fresh read for an observation. Raises SourceError."""
        return self._connection.get(service, path, params=params)

    def libvirt_facts(self, host: str) -> LibvirtFacts:
        """A cloud alone reads no hosts. Raises SourceError."""
        raise SourceError("unavailable", f"{host}: hosts are not read here")

    def shell_facts(self, host: str) -> SshFacts:
        """A cloud alone reads no hosts. Raises SourceError."""
        raise SourceError("unavailable", f"{host}: hosts are not read here")

    def created(self, key: Mapping[str, str | None]) -> str | None:
        """The id of the limit of that key, when it was made through this world."""
        with self._lock:
            return self._created.get(tuple(key.get(k) for k in ("project_id", "resource", "service_id", "region_id")))

    def _send(self, step: HttpStep, service: str) -> Answer:
        try:
            return self._connection.request(
                step.method, service, step.path, json=step.body, microversion=step.microversion
            )
        except Refused:
            raise
        except HttpStatusError as error:
            # a user with reader on the system and admin in a project reads limits with the one and sets them with
            # the other; a refusal has changed nothing, so asking with the other token is safe
            if error.status == 403 and service == "limits" and self._connection.limits_view().separate:
                return self._other_scope(step, error)
            raise

    def _other_scope(self, step: HttpStep, refusal: SourceError) -> Answer:
        if "admin" not in {role.lower() for role in self._connection.identity().roles}:
            raise refusal
        return self._send(step, "identity")

    def _remember(self, answer: Answer) -> None:
        try:
            rows = answer.object().get("limits")
        except SourceError:
            return  # the change is there; only its id is not known
        with self._lock:
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict) and isinstance(row.get("id"), str):
                    names = ("project_id", "resource_name", "service_id", "region_id")
                    self._created[tuple(row.get(name) for name in names)] = row["id"]
