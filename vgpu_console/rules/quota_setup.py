"""Whether the services are set up so that limits work at all: the driver, the model, the place, the rights."""

from __future__ import annotations

from collections.abc import Iterator

from vgpu_console.model.snapshot import Finding
from vgpu_console.rules.quota_meaning import Enforcement
from vgpu_console.rules.quota_place import compute_places
from vgpu_console.rules.quota_scene import Scene, openstack

_READERS = frozenset({"reader", "member", "manager", "admin"})  # each implies reader among Keystone's default roles


def setup_findings(scene: Scene) -> Iterator[Finding]:
    """What is wrong, or not known, about the services themselves."""
    yield from _model(scene)
    yield from _visible(scene)
    yield from _where(scene)
    yield from _nova_user(scene)


def enforcement_findings(enforced: Enforcement) -> Iterator[Finding]:
    if enforced.word == "off":
        yield Finding(
            id="unified-limits-off",
            severity="fail",
            object="nova",
            message=f"no limit of vGPUs has any effect: {enforced.why}. Set it for nova-api and nova-conductor and "
            "restart them",
            command="crudini --set /etc/nova/nova.conf quota driver nova.quota.UnifiedLimitsDriver",
        )
    elif enforced.word == "unknown":
        yield Finding(
            id="unified-limits-unknown",
            severity="info",
            object="nova",
            message=f"whether Nova enforces unified limits is not known: {enforced.why}. Look on a host of nova-api: "
            "driver must be nova.quota.UnifiedLimitsDriver",
            command=r"grep -A 20 '^\[quota\]' /etc/nova/nova.conf",
        )


def _model(scene: Scene) -> Iterator[Finding]:
    model = scene.keystone.enforcement_model
    if model is not None and model != "flat":
        yield Finding(
            id="limits-model-not-flat",
            severity="fail",
            object="keystone",
            message=f"the enforcement model is {model}; oslo.limit knows only flat, so with unified limits Nova cannot "
            "check any request and refuses it. Set it back and restart Keystone",
            command="crudini --set /etc/keystone/keystone.conf unified_limit enforcement_model flat",
        )
    elif model is None:
        yield Finding(
            id="limits-model-unknown",
            severity="info",
            object="keystone",
            message="the enforcement model could not be read; it must be flat",
            command=r"grep -A 5 '^\[unified_limit\]' /etc/keystone/keystone.conf",
        )


def _visible(scene: Scene) -> Iterator[Finding]:
    keystone = scene.keystone
    if keystone.registered_limits is not None and keystone.project_limits is not None and keystone.limits_complete:
        return
    yield Finding(
        id="limits-partly-visible",
        severity="info",
        object="keystone",
        message="this credential may see a part of the limits only, so there may be more findings than these. A user "
        "with reader on the system sees all",
        command=openstack("role", "add", "--user", scene.facts.identity.user or "USER", "--system", "all", "reader"),
    )


def _where(scene: Scene) -> Iterator[Finding]:
    """Whether it is known where Nova looks for its limits."""
    keystone, place = scene.keystone, scene.place
    if place.service_id is None or len(place.regions) != 1:
        seen = ", ".join(sorted(str(r) for r in place.regions))
        why = f"the compute service has endpoints in several regions ({seen}): name one" if seen else ""
        yield Finding(
            id="limits-place-unknown",
            severity="info",
            object="nova",
            message="under which service and region Nova looks for its limits is not known: "
            + (why or "its service or endpoints could not be read"),
            command=openstack("endpoint", "list", "--service", "compute"),
        )
        return
    here = {s for s, region in compute_places(keystone) if region == place.region}
    if len(here) > 1:
        names = ", ".join(sorted(f"{s.name or '?'} ({s.id})" for s in keystone.services or () if s.id in here))
        yield Finding(
            id="compute-service-ambiguous",
            severity="warn",
            object="keystone",
            message=f"several services of type compute have endpoints in {place.region}: {names}. oslo.limit finds "
            "none unless nova.conf names its endpoint: [oslo_limit] endpoint_id",
            command=openstack("endpoint", "list", "--service", place.service_id, "--interface", "public"),
        )


def _nova_user(scene: Scene) -> Iterator[Finding]:
    """Nova's user must read the limits of all projects."""
    roles = scene.keystone.system_roles
    if scene.enforcement.word == "off" or (
        roles is not None and any(r.user == "nova" and r.role in _READERS for r in roles)
    ):
        return
    groups = sorted({r.group for r in roles or () if r.group and r.role in _READERS})
    # a project's admin who sees all limits proves Keystone 29, where the service role in a project is enough
    newer = scene.keystone.limits_scope == "project" and scene.keystone.limits_complete is True
    unsure = roles is None or groups or newer
    if unsure:
        why = (
            "role assignments are not visible to this credential"
            if roles is None
            else f"it may be in a group that has one: {', '.join(groups)}"
            if groups
            else "it has none, and on this Keystone the role service in its project is enough"
        )
        yield Finding(
            id="nova-user-unknown",
            severity="info",
            object="nova",
            message=f"whether Nova's own user has a role to read limits with is not known: {why}. It needs reader on "
            "the system, or from Keystone 29 (2026.1) service in its project ([oslo_limit] username in nova.conf)",
            command=openstack("role", "assignment", "list", "--user", "nova", "--names"),
        )
        return
    yield Finding(
        id="nova-user-cannot-read-limits",
        severity="warn",
        object="nova",
        message="the user nova has no role on the system: before Keystone 29 (2026.1) it then sees no project's own "
        "limits, and Nova refuses or allows by the defaults. If [oslo_limit] in nova.conf names another user, "
        "look at that",
        command=openstack("role", "add", "--user", "nova", "--user-domain", "Default", "--system", "all", "reader"),
    )
