"""What most looks at limits need, worked out once, and the commands of openstackclient that mend them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from vgpu_console.model.facts import Facts
from vgpu_console.model.keystone import KeystoneFacts, ProjectLimit, RegisteredLimit
from vgpu_console.rules.quota_meaning import Confs, Enforcement, enforcement
from vgpu_console.rules.quota_place import Place, nova_place, project_limits_at, registered_at

KEY = "l"
"""The key that sets the limit under the cursor."""


class Scene(NamedTuple):
    """The facts that most looks need, worked out once."""

    facts: Facts
    keystone: KeystoneFacts
    place: Place
    registered: Mapping[str, RegisteredLimit]
    own: Mapping[tuple[str, str], ProjectLimit]
    confs: Confs
    enforcement: Enforcement

    @property
    def where(self) -> list[str]:
        """The options of openstackclient that put a limit where Nova looks for it."""
        service = self.place.service_id or "nova"
        return ["--service", service, *(["--region", self.place.region] if self.place.region else [])]

    def create(self, resource: str, default: int) -> str:
        """The command that registers a limit where Nova looks for it."""
        return openstack("registered", "limit", "create", *self.where, "--default-limit", str(default), resource)


def scene_of(facts: Facts) -> Scene | None:
    """None when Keystone has not been read."""
    if facts.keystone is None:
        return None
    place = nova_place(facts.keystone, facts.identity.region)
    confs = {host: ssh.nova_conf for host, ssh in facts.ssh.items()}
    registered, own = registered_at(facts.keystone, place), project_limits_at(facts.keystone, place)
    return Scene(facts, facts.keystone, place, registered, own, confs, enforcement(confs))


def openstack(*words: str) -> str:
    """A command of openstackclient, quoted for a shell."""
    return shlex.join(["openstack", *words])
