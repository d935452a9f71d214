"""Facts from Keystone: projects and unified limits."""

from __future__ import annotations

import msgspec


class Domain(msgspec.Struct, frozen=True):
    """A Keystone domain; two projects of equal name live in two of these."""

    id: str
    name: str


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A Keystone project. ``name`` is for eyes; every call uses ``id``."""

    id: str
    name: str
    domain_id: str = ""
    enabled: bool | None = None


class Service(msgspec.Struct, frozen=True):
    """A service of the catalogue, e.g. type ``compute``."""

    id: str
    type: str
    name: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint; oslo.limit looks limits up by its service and region."""

    id: str
    service_id: str
    region_id: str | None
    interface: str
    url: str


class RegisteredLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The default of a resource for all projects: Keystone's ``registered_limit``. -1 is unlimited."""

    id: str
    service_id: str
    region_id: str | None
    resource_name: str  # "class:VGPU"
    default_limit: int


class ProjectLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A project's (or domain's) own value of a registered limit: Keystone's ``limit``."""

    id: str
    project_id: str | None
    domain_id: str | None
    service_id: str
    region_id: str | None
    resource_name: str
    resource_limit: int


class SystemRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role that a user or a group has on the system: a row of ``GET /role_assignments?scope.system=all``."""

    role: str
    user: str = ""  # the name; empty for a group's, and for a user who is gone
    group: str = ""
    domain: str = ""  # the name of the user's or group's domain


class KeystoneFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of Keystone. ``None`` fields could not be read with this credential."""

    domains: tuple[Domain, ...] | None = None
    projects: tuple[Project, ...] | None = None
    services: tuple[Service, ...] | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    registered_limits: tuple[RegisteredLimit, ...] | None = None
    project_limits: tuple[ProjectLimit, ...] | None = None
    limits_complete: bool | None = None  # False: only the own project's limits are visible with this token
    enforcement_model: str | None = None
    limits_scope: str = ""  # "system" or "project": the scope of the token that read the limits
    system_roles: tuple[SystemRole, ...] | None = None  # who has which role on the system
