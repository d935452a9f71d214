"""Changes of mediated devices through libvirt: what is sent, what is refused, and what is said when it breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from vgpu_console.model.host_facts import MdevFacts
from vgpu_console.simulator import DemoCloud, open_demo
from vgpu_console.simulator.faults import DeviceFault
from vgpu_console.simulator.libvirt_jobs import DemoLibvirtError
from vgpu_console.sources import libvirt_devices
from vgpu_console.sources.base import Refused, SourceError, Unanswered
from vgpu_console.sources.libvirt_devices import LibvirtDevices, device_xml

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
HOST, GPU = "gpu-02", "0000:41:00.0"
A100_20C, A100_10C = "nvidia-472", "nvidia-471"
FUNCTION = "0000:41:01.2"  # the seventh virtual function, which no server has


class Desk:
    """The embedded cloud on a clock of its own, and what was opened to it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.cloud: DemoCloud = open_demo("small", clock=lambda: self.now, living=False)
        self.opened: list[tuple[str, bool]] = []
        self.made: list[LibvirtDevices] = []

    def open(self, uri: str, read_only: bool) -> Any:
        self.opened.append((uri, read_only))
        return self.cloud.libvirt(uri, read_only)

    def devices(self, host: str = HOST, **more: Any) -> LibvirtDevices:
        one = LibvirtDevices(host, f"demo://{host}/system", self.open, **{"wait": self.wait, **more})
        self.made.append(one)
        return one

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def there(self, host: str = HOST, uuid: str = UUID) -> bool:
        return self.cloud.state.hosts[host].find_mdev(uuid) is not None


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    for one in desk.made:
        one.close()


def found(devices: LibvirtDevices, uuid: str = UUID) -> MdevFacts | None:
    return next((m for m in devices.facts().mdevs if m.uuid == uuid), None)


def flags(devices: LibvirtDevices) -> tuple[bool | None, bool | None, bool | None] | None:
    mdev = found(devices)
    return None if mdev is None else (mdev.active, mdev.persistent, mdev.autostart)


def test_a_persistent_device_from_its_making_to_its_end(desk: Desk) -> None:
    devices = desk.devices()
    devices.take("define", UUID, FUNCTION, A100_20C)
    mdev = found(devices)
    assert mdev is not None
    assert (mdev.type_id, mdev.parent, mdev.active, mdev.persistent) == (A100_20C, FUNCTION, False, True)
    devices.take("autostart-on", UUID)
    assert flags(devices) == (False, True, True)
    devices.take("start", UUID)
    assert flags(devices) == (True, True, True)
    devices.take("autostart-off", UUID)
    devices.take("stop", UUID)
    assert flags(devices) == (False, True, False)
    devices.take("undefine", UUID)
    assert found(devices) is None
    assert desk.opened == [(f"demo://{HOST}/system", False)]  # one connection for all of it


def test_a_transient_device_is_gone_when_it_is_stopped(desk: Desk) -> None:
    devices = desk.devices()
    devices.take("create", UUID, FUNCTION, A100_20C)
    assert flags(devices) == (True, False, False)
    devices.take("stop", UUID)
    assert found(devices) is None


@pytest.mark.parametrize(
    ("call", "uuid", "function", "type_id", "words"),
    [
        ("create", UUID, FUNCTION, A100_10C, f"No available instances of {A100_10C} on {FUNCTION}"),
        ("create", UUID, FUNCTION, "nvidia-1", f"Parent {FUNCTION} does not support mdev type nvidia-1"),
        ("create", UUID, "0000:41:07.7", A100_20C, "unable to find parent device 'pci_0000_41_07_7'"),
        ("stop", OTHER, "", "", f"no mediated device {OTHER} is known"),
        ("undefine", OTHER, "", "", f"no mediated device {OTHER} is known"),
    ],
)
def test_a_refusal_is_told_in_libvirts_words_and_changes_nothing(
    desk: Desk, call: Any, uuid: str, function: str, type_id: str, words: str
) -> None:
    devices = desk.devices()
    before = devices.facts()
    with pytest.raises(SourceError) as caught:
        devices.take(call, uuid, function, type_id)
    assert type(caught.value) is SourceError
    assert str(caught.value).startswith(f"{HOST}: libvirt: ")
    assert words in str(caught.value)
    assert devices.facts() == before


def test_a_device_that_exists_and_one_that_a_guest_holds(desk: Desk) -> None:
    devices = desk.devices("gpu-01")
    held = next(m for m in devices.facts().mdevs if any(m.uuid in d.mdevs for d in devices.facts().domains))
    with pytest.raises(SourceError, match="Device already exists"):
        devices.take("create", held.uuid, "0000:41:01.5", A100_20C)
    with pytest.raises(SourceError, match="device in use"):
        devices.take("stop", held.uuid)
    assert found(devices, held.uuid) == held


@pytest.mark.parametrize(
    ("uuid", "function", "type_id", "words"),
    [
        ("not-a-uuid", FUNCTION, A100_20C, "not-a-uuid is no uuid"),
        (UUID.upper().replace("1", "A"), FUNCTION, A100_20C, "is no uuid"),
        (UUID, "", A100_20C, "nothing is no PCI address"),
        (UUID, "0000:41:00.0'/><x", A100_20C, "is no PCI address"),
        (UUID, "../../etc", A100_20C, "is no PCI address"),
        (UUID, FUNCTION, "", "nothing is no type"),
        (UUID, FUNCTION, "nvidia-1'><evil/>", "is no type"),
        (UUID, FUNCTION, "a\x1b[31m", "is no type"),
    ],
)
def test_values_of_another_form_are_not_sent(desk: Desk, uuid: str, function: str, type_id: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        desk.devices().take("define", uuid, function, type_id)
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert desk.opened == []


def test_the_xml_is_libvirts() -> None:
    root = ElementTree.fromstring(device_xml(UUID, "0000:41:01.2", A100_20C))
    assert root.findtext("parent") == "pci_0000_41_01_2"
    assert [c.get("type") for c in root.iterfind("capability")] == ["mdev"]
    assert root.find("capability/type").get("id") == A100_20C  # type: ignore[union-attr]
    assert root.findtext("capability/uuid") == UUID
    assert "<parent>mtty_mtty</parent>" in device_xml(UUID, "mtty_mtty", "mtty-2")


def test_a_read_only_console_opens_nothing_for_a_change_and_reads_by_a_read_only_connection(desk: Desk) -> None:
    devices = desk.devices(read_only=True)
    for call in ("define", "create", "start", "stop", "undefine", "autostart-on", "autostart-off"):
        with pytest.raises(Refused, match="read-only"):
            devices.take(call, UUID, FUNCTION, A100_20C)
    assert desk.opened == []
    assert devices.facts().mdevs
    assert desk.opened == [(f"demo://{HOST}/system", True)]


@pytest.mark.parametrize("uri", ["test:///default", "test+unix:///default?socket=/run/x", "TEST:///default"])
def test_libvirts_test_driver_is_not_opened(desk: Desk, uri: str) -> None:
    devices = LibvirtDevices("gpu-01", uri, desk.open)
    with pytest.raises(Refused, match="test driver says yes to changes and makes none"):
        devices.take("start", UUID)
    with pytest.raises(SourceError, match="test driver"):
        devices.facts()
    assert desk.opened == []


def test_a_connection_that_turns_out_to_be_the_test_driver_is_not_used() -> None:
    libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    devices = LibvirtDevices("gpu-01", "", lambda uri, read_only: libvirt.open("test:///default"))
    with pytest.raises(Refused, match="test driver"):
        devices.take("create", UUID, FUNCTION, A100_20C)


def test_a_user_who_may_only_read(desk: Desk) -> None:
    desk.cloud.faults.devices[HOST] = DeviceFault(kind="denied")
    devices = desk.devices()
    for what in (devices.facts, lambda: devices.take("create", UUID, FUNCTION, A100_20C)):
        with pytest.raises(SourceError) as caught:
            what()
        assert caught.value.kind == "forbidden"
        assert str(caught.value) == (
            "gpu-02: this user may not change anything through libvirt: authentication unavailable: "
            "no polkit agent available to authenticate action 'org.libvirt.unix.manage'"
        )
    assert not desk.there()


def test_a_call_that_is_forbidden(desk: Desk) -> None:
    desk.cloud.faults.devices[HOST] = DeviceFault(kind="acl", call="virNodeDeviceCreateXML")
    with pytest.raises(SourceError) as caught:
        desk.devices().take("create", UUID, FUNCTION, A100_20C)
    assert caught.value.kind == "forbidden"
    assert str(caught.value).startswith("gpu-02: this user may not do this through libvirt: access denied")
    assert not desk.there()


@pytest.mark.parametrize("obeyed", [True, False])
def test_a_daemon_that_dies_in_the_middle_leaves_the_question_open_and_the_next_look_answers_it(
    desk: Desk, obeyed: bool
) -> None:
    desk.cloud.faults.devices[HOST] = DeviceFault(kind="dies", obeyed=obeyed, times=1)
    devices = desk.devices()
    with pytest.raises(Unanswered) as caught:
        devices.take("create", UUID, FUNCTION, A100_20C)
    assert caught.value.kind == "unreachable"
    assert str(caught.value).endswith("nobody knows whether it was obeyed")
    assert (found(devices) is not None) is obeyed


def test_a_daemon_that_stays_away(desk: Desk) -> None:
    desk.cloud.faults.devices[HOST] = DeviceFault(kind="dies", stays_down=True)
    devices = desk.devices()
    with pytest.raises(Unanswered):
        devices.take("create", UUID, FUNCTION, A100_20C)
    with pytest.raises(SourceError) as caught:
        devices.facts()
    assert caught.value.kind == "unreachable"


def test_a_call_that_hangs_is_given_up_and_the_host_is_read_by_another_connection(desk: Desk) -> None:
    released = threading.Event()

    def hang(_seconds: float) -> None:
        released.wait(30)

    desk.cloud.faults.sleep = hang
    desk.cloud.faults.devices[HOST] = DeviceFault(kind="hangs", obeyed=True, times=1)
    devices = desk.devices(change_s=0.2)
    began = time.monotonic()
    try:
        with pytest.raises(Unanswered) as caught:
            devices.take("create", UUID, FUNCTION, A100_20C)
        assert time.monotonic() - began < 5
        assert str(caught.value) == "gpu-02: libvirt did not answer within 0.2 s: nobody knows whether it was obeyed"
        assert flags(devices) == (True, False, False)
        assert len(desk.opened) == 2
    finally:
        released.set()


def test_opening_that_hangs_is_given_up_before_anything_was_sent(desk: Desk) -> None:
    released = threading.Event()

    def never(uri: str, read_only: bool) -> Any:
        released.wait(30)
        raise OSError("given up")

    devices = LibvirtDevices(HOST, "demo://gpu-02/system", never, change_s=0.1, timeout_s=0.02)
    try:
        with pytest.raises(SourceError, match="nothing was changed") as caught:
            devices.take("create", UUID, FUNCTION, A100_20C)
        assert not isinstance(caught.value, Unanswered)
        with pytest.raises(SourceError, match="did not answer within"):
            devices.facts()
    finally:
        released.set()


def test_lists_that_are_behind_for_a_moment_are_waited_for(desk: Desk) -> None:
    desk.cloud.faults.stale_s[HOST] = 3.0
    devices = desk.devices()
    devices.take("define", UUID, FUNCTION, A100_20C)
    assert found(devices) is None  # not listed yet
    for call in ("autostart-on", "start", "stop", "undefine"):
        devices.take(call, UUID)
    desk.wait(4)
    assert found(devices) is None
    assert not desk.there()


def test_what_stays_behind_is_told_after_a_while(desk: Desk) -> None:
    desk.cloud.faults.stale_s[HOST] = 3600.0
    devices = desk.devices(stale_s=0.05, wait=time.sleep)
    devices.take("define", UUID, FUNCTION, A100_20C)
    with pytest.raises(SourceError, match=f"no mediated device {UUID} is known"):
        devices.take("start", UUID)


class Cut:
    """A connection whose line is cut without a word: the first call finds out."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        if name == "isAlive":
            return lambda: 1
        if self.cut and name == "listAllDevices":
            raise DemoLibvirtError(1, "internal error: connection closed due to keepalive timeout")
        return getattr(self._connection, name)


def test_a_line_that_was_cut_unnoticed_is_opened_again_and_the_call_is_made_once(desk: Desk) -> None:
    lines: list[Cut] = []

    def opener(uri: str, read_only: bool) -> Any:
        lines.append(Cut(desk.open(uri, read_only)))
        return lines[-1]

    devices = LibvirtDevices(HOST, "demo://gpu-02/system", opener, wait=desk.wait)
    desk.made.append(devices)
    devices.take("define", UUID, FUNCTION, A100_20C)
    lines[0].cut = True
    devices.take("start", UUID)
    assert flags(devices) == (True, True, False)
    assert len(lines) == 2
    lines[1].cut = True
    desk.cloud.faults.libvirt[HOST] = "unreachable"
    with pytest.raises(SourceError, match="No route to host") as caught:
        devices.take("stop", UUID)
    assert not isinstance(caught.value, Unanswered)


def test_a_cable_that_is_cut_while_the_call_is_under_way(desk: Desk) -> None:
    """What keepalive makes of a pending call (measured: code 1, with these words)."""

    class Pulled:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def nodeDeviceCreateXML(self, xml: str, flags: int) -> Any:
            self._connection.nodeDeviceCreateXML(xml, flags)  # it arrived; the answer did not
            raise DemoLibvirtError(1, "internal error: connection closed due to keepalive timeout")

    devices = LibvirtDevices(HOST, "demo://gpu-02/system", lambda uri, ro: Pulled(desk.open(uri, ro)))
    desk.made.append(devices)
    with pytest.raises(Unanswered) as caught:
        devices.take("create", UUID, FUNCTION, A100_20C)
    assert str(caught.value) == (
        "gpu-02: the connection broke (internal error: connection closed due to keepalive timeout): "
        "nobody knows whether it was obeyed"
    )
    assert flags(devices) == (True, False, False)
    assert len(desk.opened) == 2  # the old line is not used again, and the call is not made again


def test_a_connection_that_may_change_things_is_not_kept_for_long(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_devices, "IDLE_S", 0.05)
    devices = desk.devices()
    host = desk.cloud.state.hosts[HOST]
    devices.facts()
    assert len(host.listeners) == 1
    end = time.monotonic() + 5
    while host.listeners and time.monotonic() < end:
        time.sleep(0.01)
    assert host.listeners == []
    devices.take("create", UUID, FUNCTION, A100_20C)  # opens another one
    assert len(desk.opened) == 2


def test_bindings_without_the_call(desk: Desk) -> None:
    class Old:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            if name == "nodeDeviceDefineXML":
                raise AttributeError(name)
            return getattr(self._connection, name)

    devices = LibvirtDevices(HOST, "demo://gpu-02/system", lambda uri, ro: Old(desk.open(uri, ro)))
    desk.made.append(devices)
    with pytest.raises(SourceError, match=r"needs libvirt 7\.3 or later") as caught:
        devices.take("define", UUID, FUNCTION, A100_20C)
    assert caught.value.kind == "unavailable"
