"""Illnesses of limits: where they are registered, who has which, and whether Nova heeds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vgpu_console.simulator.state import Endpoint, Limit, RegisteredLimit, Service

if TYPE_CHECKING:
    from vgpu_console.simulator.cloud import DemoCloud
    from vgpu_console.simulator.state import State

_VGPU = "class:VGPU"


def _registered(state: State, resource: str = _VGPU) -> RegisteredLimit:
    return next(one for one in state.registered_limits.values() if one.resource_name == resource)


def _own(cloud: DemoCloud, project: str) -> Limit:
    project_id = cloud.builder.project_named(project).id
    return next(one for one in cloud.state.limits.values() if one.project_id == project_id)


def over_limit(cloud: DemoCloud) -> None:
    """The limit was lowered below what is in use, which Keystone allows."""
    _own(cloud, "vdi").resource_limit = 1


def above_capacity(cloud: DemoCloud) -> None:
    """A number with one digit too many."""
    _own(cloud, "ml-research").resource_limit = 80


def not_enforced(cloud: DemoCloud) -> None:
    """Nova has its old quota driver."""
    for host in cloud.state.hosts.values():
        host.nova_conf["quota"] = {"driver": "nova.quota.DbQuotaDriver"}


def not_flat(cloud: DemoCloud) -> None:
    """Keystone was configured for hierarchies."""
    cloud.state.enforcement_model = "strict_two_level"


def second_compute_service(cloud: DemoCloud) -> None:
    """A service that was registered a second time, with an endpoint of its own."""
    state = cloud.state
    service = Service(state.new_id(), "compute", "nova-old", "/compute/v2.1")
    state.services[service.id] = service
    endpoint = Endpoint(state.new_id(), service.id, "public")
    state.endpoints[endpoint.id] = endpoint


def nova_without_role(cloud: DemoCloud) -> None:
    """Nova's user was made anew, without its role on the system."""
    user = next(one for one in cloud.state.users.values() if one.name == "nova")
    user.roles.pop(("system", "all"), None)


def in_wrong_place(cloud: DemoCloud) -> None:
    """All limits of it were registered without the region that Nova's endpoint has."""
    state = cloud.state
    _registered(state).region_id = None
    for one in state.limits.values():
        if one.resource_name == _VGPU:
            one.region_id = None


def registered_twice(cloud: DemoCloud) -> None:
    """Once with the region and once without."""
    state, right = cloud.state, _registered(cloud.state)
    second = RegisteredLimit(state.new_id(), right.service_id, None, _VGPU, 0)
    state.registered_limits[second.id] = second


def not_registered(cloud: DemoCloud) -> None:
    """The class of a new type was forgotten."""
    state = cloud.state
    del state.registered_limits[_registered(state, "class:CUSTOM_L40S_12Q").id]


def of_domain(cloud: DemoCloud) -> None:
    """Somebody wanted to limit a whole domain."""
    state, right = cloud.state, _registered(cloud.state)
    one = Limit(state.new_id(), None, "default", right.service_id, right.region_id, _VGPU, 10)
    state.limits[one.id] = one


def of_dead_project(cloud: DemoCloud) -> None:
    """A project was disabled when its work was done."""
    cloud.builder.project("finished", {_VGPU: 2}).enabled = False


def minus_one(cloud: DemoCloud) -> None:
    """A limit meant as unlimited, on Nova 30."""
    cloud.state.compute_max = (2, 96)
    _own(cloud, "ml-research").resource_limit = -1


def leaked(cloud: DemoCloud) -> None:
    """An allocation of a server that Nova has forgotten."""
    placement = cloud.state.placement
    host = cloud.state.hosts["gpu-04"]
    gpu = host.gpus[0]
    provider = placement.by_name[cloud.builder.compute.provider_name(host, gpu, gpu.functions()[0])]
    project = cloud.builder.project_named("vdi")
    user = next(iter(cloud.state.users))
    placement.allocate(cloud.state.new_uuid(), {provider.uuid: {"VGPU": 1}}, project.id, user)


ILL: dict[str, Callable[[DemoCloud], None]] = {
    "project-over-limit": over_limit,
    "limit-above-capacity": above_capacity,
    "unified-limits-off": not_enforced,
    "limits-model-not-flat": not_flat,
    "compute-service-ambiguous": second_compute_service,
    "nova-user-cannot-read-limits": nova_without_role,
    "limit-in-wrong-place": in_wrong_place,
    "limit-duplicate": registered_twice,
    "limit-not-registered": not_registered,
    "limit-of-domain": of_domain,
    "limit-of-dead-project": of_dead_project,
    "minus-one-refuses": minus_one,
    "usage-leaked": leaked,
}
"""Diagnosis -> what makes the healthy fleet ill of it."""
