"""The libvirt source on real libvirt (its test driver), with faults put between the two where the driver has none."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vgpu_console.sources.base import SourceError
from vgpu_console.sources.libvirt_errors import explain
from vgpu_console.sources.libvirt_host import LibvirtHostSource, open_libvirt
from vgpu_console.sources.libvirt_open import batch_uri, endpoint, probe

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

NODE = Path(__file__).parents[1] / "fixtures" / "libvirt-node.xml"
URI = f"test://{NODE}"
MDEV = "c2f3a4d0-6b1e-4f0a-9d3c-0a4100040001"


@pytest.fixture
def opened() -> Iterator[list[LibvirtHostSource]]:
    sources: list[LibvirtHostSource] = []
    yield sources
    for source in sources:
        source.close()


Make = Callable[..., LibvirtHostSource]


@pytest.fixture
def make(opened: list[LibvirtHostSource]) -> Make:
    def make(opener: Any = None, uri: str = URI, **more: Any) -> LibvirtHostSource:
        source = LibvirtHostSource("gpu-01", uri, opener, **more)
        opened.append(source)
        return source

    return make


class Between:
    """A real connection with some of its calls taken over."""

    def __init__(self, connection: Any, **calls: Any) -> None:
        self._connection = connection
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        return self.calls.get(name) or getattr(self._connection, name)


def error(code: int, message: str) -> Exception:
    """libvirt's own exception, as its bindings fill it."""
    exception = libvirt.libvirtError(message)
    exception.err = (code, 10, message, 2, "", None, None, -1, -1)
    return exception  # type: ignore[no-any-return]


def raising(code: int, message: str) -> Callable[..., Any]:
    def call(*_arguments: Any) -> Any:
        raise error(code, message)

    return call


def test_a_host_as_libvirt_shows_it(make: Make) -> None:
    facts = make().fetch(None)
    assert facts.host == "gpu-01"
    assert facts.hostname
    assert facts.libvirt_version == "{}.{}.{}".format(*(libvirt.getVersion() // n % 1000 for n in (1_000_000, 1000, 1)))
    assert facts.qemu_version is None  # the test driver's own number says nothing of QEMU
    assert facts.skipped == ()
    a100, t4 = facts.devices[0], facts.devices[-1]
    assert (a100.address, a100.product, a100.max_virtual_functions) == ("0000:41:00.0", "GA100 [A100 PCIe 40GB]", 16)
    assert len(a100.virtual_functions or ()) == 16
    assert (t4.address, t4.virtual_functions) == ("0000:5e:00.0", None)
    assert {o.type_id: o.available_instances for o in t4.types} == {"nvidia-230": 16, "nvidia-231": 7, "nvidia-232": 0}


def test_only_gpus_and_their_functions_are_kept(make: Make) -> None:
    """No network card with its functions, no sound function of a GPU, no display chip of the board."""
    devices = make().fetch(None).devices
    assert len(devices) == 1 + 16 + 1
    assert {d.address[:7] for d in devices} == {"0000:41", "0000:5e"}
    assert [d.address for d in devices if d.physical_function is None] == ["0000:41:00.0", "0000:5e:00.0"]


def test_mediated_devices_and_the_guests_that_hold_them(make: Make) -> None:
    facts = make().fetch(None)
    assert [(m.uuid[-4:], m.type_id, m.parent, m.active) for m in facts.mdevs] == [
        ("0001", "nvidia-231", "0000:5e:00.0", True),
        ("0001", "nvidia-472", "0000:41:00.4", True),
        ("0002", "nvidia-472", "0000:41:00.5", True),
    ]
    assert [m.persistent for m in facts.mdevs] == [None] * 3  # the test driver does not say
    assert [(d.name, len(d.mdevs), d.pci, d.active) for d in facts.domains] == [
        ("instance-00000001", 1, (), True),
        ("instance-00000002", 1, (), True),
        ("instance-00000004", 0, ("0000:c1:00.4",), True),
    ]


def test_what_this_driver_cannot_list_is_said(make: Make) -> None:
    source = make()
    assert source.fetch(None).defined_visible is False
    assert source.notes == ("this libvirt lists running mediated devices only, not those that are merely defined",)


def test_an_unchanged_host_gives_the_same_object_for_fewer_calls(make: Make) -> None:
    source = make()
    first = source.fetch(None)
    cold = source.requests
    assert source.fetch(first) is first
    assert source.requests < cold  # what is no GPU is not read again


def test_a_guest_that_stops_is_seen(make: Make) -> None:
    kept: list[Any] = []

    def opener(uri: str, read_only: bool) -> Any:
        kept.append(open_libvirt(uri, False))
        return kept[-1]

    events = threading.Event()
    source = make(opener, on_event=events.set)
    assert source.fetch(None).domains[0].active is True
    kept[0].lookupByName("instance-00000001").destroy()
    assert events.wait(5)
    assert source.fetch(None).domains[0].active is False


def test_the_connection_is_read_only(make: Make) -> None:
    asked: list[bool] = []

    def opener(uri: str, read_only: bool) -> Any:
        asked.append(read_only)
        return open_libvirt(uri, read_only)

    source = make(opener)
    source.fetch(None)
    source.fetch(None)
    assert asked == [True]
    connection = open_libvirt(URI, True)
    with pytest.raises(libvirt.libvirtError, match="read only access"):
        connection.lookupByName("instance-00000001").destroy()
    connection.close()


class Thing:
    """A node device or domain whose description cannot be had."""

    def __init__(self, thing: Any, fails: Callable[..., Any], **more: Any) -> None:
        self._thing, self.XMLDesc = thing, fails
        self.__dict__.update(more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (raising(53, "Node device not found"), ()),
        (raising(42, "Domain not found"), ()),
        (raising(38, "failed to read /sys/x: Input/output error"), "failed to read /sys/x: Input/output error"),
        (lambda flags: "<device><name>", "no XML: no element found: line 1, column 14"),
        (lambda flags: "<html>502 Bad Gateway</html>", "no <device>: <html>"),
    ],
)
def test_one_device_that_vanished_or_cannot_be_read_leaves_the_rest(make: Make, fails: Any, said: str) -> None:
    def opener(uri: str, read_only: bool) -> Any:
        real = open_libvirt(uri, read_only)

        def devices(flags: int) -> list[Any]:
            return [Thing(d, fails) if d.name() == "pci_0000_41_00_5" else d for d in real.listAllDevices(flags)]

        return Between(real, listAllDevices=devices)

    source = make(opener)
    facts = source.fetch(None)
    assert len(facts.devices) == 17
    assert len(facts.mdevs) == 3
    assert facts.skipped == ((f"pci_0000_41_00_5: {said}",) if said else ())
    assert bool(said) is any("could not be read" in n for n in source.notes)


def test_defined_devices_are_listed_where_libvirt_can(make: Make) -> None:
    """A libvirt that knows the state flags and the calls of 7.8, as daemons have and the test driver has not."""
    inactive = (
        "<device><name>mdev_aaaaaaaa_0000_4000_8000_000000000001_0000_41_00_6</name><parent>computer</parent>"
        "<capability type='mdev'><type id='nvidia-472'/><uuid>aaaaaaaa-0000-4000-8000-000000000001</uuid>"
        "<parent_addr>0000:41:00.6</parent_addr></capability></device>"
    )

    def opener(uri: str, read_only: bool) -> Any:
        real = open_libvirt(uri, read_only)

        def devices(flags: int) -> list[Any]:
            listed = real.listAllDevices(flags & ~(1 << 30 | 1 << 31))
            flagged = [Between(d, isPersistent=lambda: 1, autostart=lambda: 0) for d in listed]
            if flags & 1 << 30:
                extra = Thing(
                    listed[0], lambda _flags: inactive, isPersistent=lambda: 1, autostart=lambda: 1,
                    name=lambda: "mdev_aaaaaaaa_0000_4000_8000_000000000001_0000_41_00_6",
                )  # fmt: skip
                flagged.append(extra)  # type: ignore[arg-type]
            return flagged

        return Between(real, listAllDevices=devices)

    source = make(opener)
    facts = source.fetch(None)
    assert facts.defined_visible is True
    assert source.notes == ()
    defined = next(m for m in facts.mdevs if not m.active)
    assert (defined.uuid[:8], defined.parent, defined.persistent, defined.autostart) == ("aaaaaaaa", None, True, True)
    assert [m.autostart for m in facts.mdevs if m.active] == [False] * 3


GHOST = "bbbbbbbb-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("kind", "persistent", "listed"),
    [
        ("", 0, False),  # gone: neither in the kernel nor defined, and nobody knows what it was
        ("", raising(3, "this function is not supported"), False),
        ("<type id='nvidia-472'/>", 0, True),  # told in full: libvirt's lists are merely a moment old
        ("", 1, True),  # defined, so it is there, whatever it is
    ],
)
def test_a_device_that_libvirt_lists_though_it_is_gone_is_left_out(
    make: Make, kind: str, persistent: Any, listed: bool
) -> None:
    name = f"mdev_{GHOST.replace('-', '_')}_0000_41_00_6"
    ghost = (
        f"<device><name>{name}</name><parent>computer</parent>"
        f"<capability type='mdev'>{kind}<uuid>{GHOST}</uuid></capability></device>"
    )

    def opener(uri: str, read_only: bool) -> Any:
        real = open_libvirt(uri, read_only)

        def devices(flags: int) -> list[Any]:
            found = list(real.listAllDevices(flags & ~(1 << 30 | 1 << 31)))
            if flags & 1 << 30:
                asked = persistent if callable(persistent) else lambda: persistent
                found.append(Thing(found[0], lambda _flags: ghost, isPersistent=asked, name=lambda: name))
            return found

        return Between(real, listAllDevices=devices)

    facts = make(opener).fetch(None)
    assert len([m for m in facts.mdevs if m.uuid != GHOST]) == 3
    assert (GHOST in [m.uuid for m in facts.mdevs]) is listed
    assert facts.skipped == ()


def test_a_lost_connection_is_opened_anew(make: Make) -> None:
    connections: list[Between] = []

    def opener(uri: str, read_only: bool) -> Any:
        connections.append(Between(open_libvirt(uri, read_only)))
        return connections[-1]

    source = make(opener)
    first = source.fetch(None)
    connections[0].calls["listAllDevices"] = raising(1, "internal error: client socket is closed")
    assert source.fetch(first) is first
    assert len(connections) == 2
    connections[1].calls["isAlive"] = lambda: 0
    assert source.fetch(first) is first
    assert len(connections) == 3


def test_lost_again_at_once_is_an_error_and_the_next_reading_tries_anew(make: Make) -> None:
    works = [False]

    def opener(uri: str, read_only: bool) -> Any:
        real = open_libvirt(uri, read_only)
        fails = raising(1, "internal error: connection closed due to keepalive timeout")
        return real if works[0] else Between(real, listAllDomains=fails)

    source = make(opener)
    with pytest.raises(SourceError) as caught:
        source.fetch(None)
    assert caught.value.kind == "unreachable"
    assert str(caught.value) == "libvirt: internal error: connection closed due to keepalive timeout"
    works[0] = True
    assert len(source.fetch(None).mdevs) == 3


def test_a_refusal_does_not_reopen(make: Make) -> None:
    opens: list[int] = []

    def opener(uri: str, read_only: bool) -> Any:
        opens.append(1)
        return Between(open_libvirt(uri, read_only), listAllDomains=raising(88, "access denied: 'connect' denied"))

    source = make(opener)
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            source.fetch(None)
        assert caught.value.kind == "forbidden"
    assert len(opens) == 1


def test_closed_sources_refuse(make: Make) -> None:
    source = make()
    source.fetch(None)
    source.close()
    source.close()
    with pytest.raises(SourceError) as caught:
        source.fetch(None)
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (38, "Cannot recv data: Permission denied (publickey).: Connection reset by peer", "auth"),
        (38, "Cannot recv data: Host key verification failed.: Connection reset by peer", "auth"),
        (45, "authentication failed: Failed to start SASL negotiation", "auth"),
        (88, "access denied: 'connect' denied access", "forbidden"),
        (29, "operation forbidden: read only access prevents it", "forbidden"),
        (38, "unable to connect to server at 'gpu-01:16509': Connection refused", "unreachable"),
        (38, "unable to connect to server at 'gpu-01:16509': Connection timed out", "timeout"),
        (1, "internal error: client socket is closed", "unreachable"),
        (1, "internal error: connection closed due to keepalive timeout", "unreachable"),
        (1, "internal error: something else", "protocol"),
        (3, "this function is not supported by the connection driver", "protocol"),
    ],
)
def test_kinds_of_errors(code: int, message: str, kind: str) -> None:
    explained = explain(error(code, message))
    assert explained.kind == kind
    assert str(explained) == f"libvirt: {message}"


def test_words_of_an_error_are_made_plain() -> None:
    assert str(explain(error(1, "x\x1b]52;c;eA==\x07\ny"))) == "libvirt: x·]52;c;eA==· y"


def test_without_libvirt_python(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(SourceError) as caught:
        make().fetch(None)
    assert caught.value.kind == "unavailable"
    assert str(caught.value).startswith("libvirt-python is not installed: ")


def test_libvirt_s_own_words_never_reach_the_terminal() -> None:
    code = (
        "from vgpu_console.sources.libvirt_host import LibvirtHostSource\n"
        "try: LibvirtHostSource('h', 'qemu+unix:///system?socket=/no/such/socket').fetch(None)\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("SourceError libvirt: Failed to connect socket to '/no/such/socket'")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("qemu+ssh://gpu-01/system", ("gpu-01", 22)),
        ("qemu+ssh://nova@gpu-01:2222/system", ("gpu-01", 2222)),
        ("qemu+libssh://gpu-01/system", ("gpu-01", 22)),
        ("qemu+tcp://10.0.0.1/system", ("10.0.0.1", 16509)),
        ("qemu+tls://[fd00::1]/system", ("fd00::1", 16514)),
        ("qemu://gpu-01/system", ("gpu-01", 16514)),
        ("test:///default", None),
        ("test+tcp://gpu-01/default", ("gpu-01", 16509)),
        ("qemu:///system", None),
        ("qemu+unix:///system?socket=/run/x", None),
        ("qemu+ext://gpu-01/system?command=/x", None),
    ],
)
def test_where_a_uri_leads(uri: str, expected: tuple[str, int] | None) -> None:
    assert endpoint(uri) == expected


@pytest.mark.parametrize("uri", ["qemu+tcp://gpu-01:port/system", "qemu+tcp://[fd00/system"])
def test_a_uri_that_cannot_be_read(uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        endpoint(uri)
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("qemu+ssh://a/system", "qemu+ssh://a/system?no_tty=1"),
        ("qemu+ssh://a/system?keyfile=/k", "qemu+ssh://a/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://a/system?no_tty=0", "qemu+ssh://a/system?no_tty=0"),
        ("qemu+tcp://a/system", "qemu+tcp://a/system"),
        ("test:///default", "test:///default"),
    ],
)
def test_ssh_below_libvirt_never_asks_at_the_terminal(uri: str, expected: str) -> None:
    assert batch_uri(uri) == expected


def refused_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_nobody_listens(make: Make) -> None:
    port = refused_port()
    with pytest.raises(SourceError) as caught:
        make(uri=f"qemu+tcp://127.0.0.1:{port}/system").fetch(None)
    assert (caught.value.kind, str(caught.value)) == ("unreachable", f"127.0.0.1 port {port}: connection refused")


def test_a_name_that_nobody_knows(make: Make) -> None:
    with pytest.raises(SourceError) as caught:
        make(uri="qemu+tcp://no-such-host.invalid/system").fetch(None)
    assert (caught.value.kind, str(caught.value)) == ("unreachable", "the name no-such-host.invalid is not known")


def test_a_host_that_takes_the_call_and_says_nothing(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        source = make(uri=uri, timeout_s=0.2)
        began = time.monotonic()
        with pytest.raises(SourceError) as caught:
            source.fetch(None)
        assert (caught.value.kind, time.monotonic() - began < 3) == ("timeout", True)
        with pytest.raises(SourceError, match="still silent since an earlier attempt") as caught:
            source.fetch(None)
        assert caught.value.kind == "timeout"


def fake_ssh(folder: Path, answer: str) -> str:
    ssh = folder / "ssh"
    ssh.write_text(f"#!/bin/sh\n[ \"$*\" = '-G -- gpu-01' ] && printf '{answer}'\n")
    ssh.chmod(0o755)
    return str(folder)


def test_the_probe_goes_where_ssh_would_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = refused_port()
    monkeypatch.setenv("PATH", fake_ssh(tmp_path, f"host gpu-01\\nhostname 127.0.0.1\\nport {port}\\n"))
    with pytest.raises(SourceError, match=rf"^127\.0\.0\.1 port {port}: connection refused$"):
        probe("qemu+ssh://gpu-01/system", 2)


def test_no_probe_where_ssh_goes_by_way_of_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_ssh(tmp_path, "hostname 127.0.0.1\\nport 1\\nproxyjump bastion\\n"))
    probe("qemu+ssh://gpu-01/system", 2)


def test_a_host_name_is_no_option_of_ssh() -> None:
    with pytest.raises(SourceError, match="is no host name"):
        probe("qemu+ssh://-oProxyCommand=x/system", 2)
