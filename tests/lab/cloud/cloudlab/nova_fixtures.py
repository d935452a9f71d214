"""What stands in for the machine under Nova: its own fixtures for libvirt, Neutron, Glance, Cinder and privileges."""

from __future__ import annotations

import io
import threading
import uuid
from typing import Any

import fixtures
import nova.conf
from nova.tests import fixtures as nova_fixtures

from cloudlab import gpu_libvirt
from cloudlab.gpu_hardware import PLAIN, SRIOV, GpuHost
from cloudlab.settings import Settings

CONF = nova.conf.CONF
_DRIVER = "nova.virt.libvirt.driver.LibvirtDriver"


class FixtureHolder(fixtures.Fixture):
    """What Nova's fixtures expect of the test case that uses them."""

    def stub_out(self, old: str, new: Any) -> None:
        """Replace a name for as long as the fixture is in use."""
        self.useFixture(fixtures.MonkeyPatch(old, new))

    def flags(self, group: str | None = None, **values: Any) -> None:
        """Override configuration."""
        for key, value in values.items():
            CONF.set_override(key, value, group)


def install(settings: Settings) -> None:
    """Put everything in place for the life of the process; before any nova-compute is made."""
    gpu_libvirt.install()
    gpu_libvirt.migration["seconds"] = settings.migration_seconds
    holder = FixtureHolder()
    holder.setUp()
    holder.useFixture(nova_fixtures.LibvirtImageBackendFixture())
    holder.useFixture(nova_fixtures.CGroupsFixture(version=2))
    libvirt = holder.useFixture(nova_fixtures.LibvirtFixture())
    libvirt.mock_get_machine_ips.return_value = ["127.0.0.1"]
    holder.useFixture(nova_fixtures.OSBrickFixture())
    holder.useFixture(nova_fixtures.PrivsepNoHelperFixture())
    holder.useFixture(nova_fixtures.NeutronFixture(holder))
    holder.useFixture(nova_fixtures.GlanceFixture(holder))
    holder.useFixture(nova_fixtures.CinderFixture(holder))
    _machine(holder)
    connect = _Connections(settings)
    holder.stub_out("nova.virt.libvirt.host.Host.get_connection", lambda host: connect(host))
    # The thread pools are the process's: the end of one nova-compute must not end them for all.
    holder.stub_out("nova.thread_pool_factory.shutdown_all_executors", lambda: None)


class _Connections:
    """Gives each nova-compute its own host's libvirt connection, made at the first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    def __call__(self, host: Any) -> gpu_libvirt.GpuConnection:
        name = host.__dict__.setdefault("lab_host", CONF.host)
        with self._lock:
            known = gpu_libvirt.connections.get(name)
            if known is None:
                model = PLAIN if self._settings.is_plain(name) else SRIOV
                known = gpu_libvirt.GpuConnection(GpuHost(name, model, self._settings.gpus, self._settings.vfs))
            return known


def _machine(holder: FixtureHolder) -> None:
    """Answers that the driver would get from files and commands of a real compute host."""
    fixed: dict[str, Any] = {
        f"{_DRIVER}._create_image": (False, False),
        f"{_DRIVER}._get_local_gb_info": {"total": 4000, "used": 100, "free": 3900},
        f"{_DRIVER}._get_instance_disk_info": [],
        "nova.virt.libvirt.driver.libvirt_utils.is_valid_hostname": True,
        "nova.privsep.utils.supports_direct_io": True,
        "nova.virt.libvirt.host.Host.get_online_cpus": set(range(64)),
        "nova.virt.libvirt.host.Host._get_avail_memory_kb": 500 * 2**20,
        "nova.compute.manager.ComputeManager._ensure_existing_node_identity": None,
    }
    for target, value in fixed.items():
        holder.useFixture(fixtures.MockPatch(target, return_value=value))
    computed: dict[str, Any] = {
        "nova.virt.libvirt.driver.libvirt_utils.file_open": lambda *args, **kwargs: io.BytesIO(b""),
        # In real life a file on each machine; it becomes the root provider's uuid.
        "nova.virt.node.get_local_node_uuid": lambda: str(uuid.uuid5(uuid.NAMESPACE_DNS, CONF.host)),
    }
    for target, function in computed.items():
        holder.useFixture(fixtures.MockPatch(target, side_effect=function))
    holder.stub_out(f"{_DRIVER}.migrate_disk_and_power_off", _power_off)


def _power_off(driver: Any, _context: Any, instance: Any, *_more: Any, **_named: Any) -> str:
    """The source's part of a resize or cold migration. There is no disk that would have to be copied."""
    driver.power_off(instance)
    return "[]"
