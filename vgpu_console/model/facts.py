"""Everything all sources have said so far: the input of the join."""

from __future__ import annotations

import msgspec

from vgpu_console.model.host_facts import LibvirtFacts, SshFacts
from vgpu_console.model.keystone import KeystoneFacts
from vgpu_console.model.nova import NovaFacts
from vgpu_console.model.placement import PlacementFacts
from vgpu_console.model.source import SourceStatus


class CloudIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the header says about where this console looks and what it may do."""

    cloud: str = ""
    region: str = ""
    user: str = ""
    scope: str = ""  # "admin (project)", "system all"
    limits_scope: str = ""  # the second scope, where one is used for limits
    read_only: bool = True
    roles: tuple[str, ...] = ()  # role names in the token, as Keystone writes them
    limits_roles: tuple[str, ...] = ()  # those of the token that limits are read and written with


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The last good answer of each source, with how each source fares. A missing answer is None or absent."""

    identity: CloudIdentity = CloudIdentity()
    keystone: KeystoneFacts | None = None
    nova: NovaFacts | None = None
    placement: PlacementFacts | None = None
    libvirt: dict[str, LibvirtFacts] = {}  # by host
    ssh: dict[str, SshFacts] = {}  # by host
    statuses: tuple[SourceStatus, ...] = ()
    expected_hosts: tuple[str, ...] = ()  # hosts that the configuration names
