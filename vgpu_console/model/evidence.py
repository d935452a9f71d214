"""What one of the sources says of a thing: the lines that a finding and a migration's story rest on."""

from __future__ import annotations

import msgspec

from vgpu_console.model.source import SourceKind


class Evidence(msgspec.Struct, frozen=True):
    """What one side says: its age is that source's in the same snapshot (``SourceStatus.key``)."""

    source: SourceKind
    host: str  # "" for the OpenStack services
    text: str

    @property
    def key(self) -> str:
        """The ``SourceStatus.key`` of the source that says so."""
        return f"{self.source}:{self.host}" if self.host else self.source


def nova_says(text: str) -> Evidence:
    """Nova's side of a finding."""
    return Evidence("nova", "", text)


def placement_says(text: str) -> Evidence:
    """Placement's side."""
    return Evidence("placement", "", text)


def keystone_says(text: str) -> Evidence:
    """Keystone's side."""
    return Evidence("keystone", "", text)


def libvirt_says(host: str, text: str) -> Evidence:
    """A host's libvirt."""
    return Evidence("libvirt", host, text)


def host_says(host: str, text: str) -> Evidence:
    """A host's own files and programs, read over SSH: sysfs, nova.conf, nvidia-smi."""
    return Evidence("ssh", host, text)
