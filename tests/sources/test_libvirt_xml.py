"""What is read from libvirt's XML, and that no XML, however broken, does more than be refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.model.host_facts import MdevTypeOffer
from vgpu_console.sources.libvirt_xml import address_of_name, parse_domain, parse_mdev, parse_pci_device

NODE = (Path(__file__).parents[1] / "fixtures" / "libvirt-node.xml").read_text()
DEVICES = re.findall(r"<device>.*?</device>", NODE, re.DOTALL)
DOMAINS = re.findall(r"<domain type.*?</domain>", NODE, re.DOTALL)
MDEVS = [d for d in DEVICES if "<capability type='mdev'>" in d]
UUID = "c2f3a4d0-6b1e-4f0a-9d3c-0a4100040001"

A100 = next(d for d in DEVICES if "maxCount='16'" in d)
VF = next(d for d in DEVICES if "<name>pci_0000_41_00_5<" in d)


def test_a_physical_function() -> None:
    gpu = parse_pci_device(A100)
    assert (gpu.address, gpu.name) == ("0000:41:00.0", "pci_0000_41_00_0")
    assert (gpu.vendor_id, gpu.product_id, gpu.product) == ("10de", "20f1", "GA100 [A100 PCIe 40GB]")
    assert (gpu.pci_class, gpu.driver, gpu.numa_node) == ("030200", "nvidia", 1)
    assert gpu.max_virtual_functions == 16
    assert gpu.virtual_functions is not None
    assert gpu.virtual_functions[:5] == ("0000:41:00.4", "0000:41:00.5", "0000:41:00.6", "0000:41:00.7", "0000:41:01.0")
    assert len(gpu.virtual_functions) == 16
    assert gpu.physical_function is None
    assert gpu.types == ()


def test_a_virtual_function_and_its_types() -> None:
    vf = parse_pci_device(VF)
    assert vf.physical_function == "0000:41:00.0"
    assert vf.virtual_functions is None
    assert vf.types[2] == MdevTypeOffer(type_id="nvidia-472", name="GRID A100-20C", available_instances=0)


def test_virtual_functions_that_are_off_are_none_and_not_unknown() -> None:
    xml = re.sub(r"<address domain='0x0000' bus='0x41' slot='0x0[0-9]' function='0x[0-7]'/>\s*", "", A100)
    gpu = parse_pci_device(xml)
    assert (gpu.virtual_functions, gpu.max_virtual_functions) == ((), 16)


def test_missing_parts_are_unknown() -> None:
    bare = parse_pci_device("<device><name>pci_0000_41_00_0</name><capability type='pci'/></device>")
    assert bare.address == "0000:41:00.0"
    assert (bare.vendor_id, bare.product, bare.driver, bare.numa_node, bare.virtual_functions) == (
        "",
        "",
        None,
        None,
        None,
    )


def test_a_type_without_name_or_count() -> None:
    types = "<capability type='mdev_types'><type id='nvidia-35'/><type/><type id=''/></capability>"
    gpu = parse_pci_device(
        "<device><name>x</name><capability type='pci'><bus>1</bus><slot>2</slot>"
        f"<function>3</function>{types}</capability></device>"
    )
    assert gpu.address == "0000:01:02.3"
    assert gpu.types == (MdevTypeOffer(type_id="nvidia-35", name="", available_instances=None),)


def test_an_mdev_parent_outside_pci_keeps_its_name() -> None:
    mtty = parse_pci_device(
        "<device><name>mtty_mtty</name><parent>computer</parent><capability type='mdev_types'><type id='mtty-2'>"
        "<name>Dual port serial</name><availableInstances>12</availableInstances></type></capability></device>"
    )
    assert (mtty.address, mtty.types[0].available_instances) == ("mtty_mtty", 12)


def test_an_active_mdev() -> None:
    mdev = parse_mdev(MDEVS[0])
    assert (mdev.uuid, mdev.type_id, mdev.parent, mdev.active) == (UUID, "nvidia-472", "0000:41:00.4", True)


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("<parent>pci_0000_02_00_2</parent>", "0000:02:00.2"),
        ("<parent>computer</parent>", None),  # the function is gone, whatever parent_addr still says
        ("", "0000:02:00.2"),
    ],
)
def test_a_defined_mdev(parent: str, expected: str | None) -> None:
    mdev = parse_mdev(
        f"<device><name>mdev_{UUID.replace('-', '_')}_0000_02_00_2</name>{parent}<capability type='mdev'>"
        f"<type id='nvidia-472'/><uuid>{UUID}</uuid><parent_addr>0000:02:00.2</parent_addr></capability></device>"
    )
    assert (mdev.uuid, mdev.parent, mdev.active) == (UUID, expected, False)


@pytest.mark.parametrize("tail", ["", "_0000_41_00_4"])
def test_an_old_libvirt_says_the_uuid_in_the_name_only(tail: str) -> None:
    mdev = parse_mdev(
        f"<device><name>mdev_{UUID.replace('-', '_')}{tail}</name><path>/sys/x</path><parent>pci_0000_41_00_4</parent>"
        "<capability type='mdev'><type id='nvidia-472'/></capability></device>"
    )
    assert (mdev.uuid, mdev.parent) == (UUID, "0000:41:00.4")


def test_domains_with_what_is_passed_through_to_them() -> None:
    with_mdev, _, without, with_pci = (parse_domain(d, True) for d in DOMAINS)
    assert (with_mdev.uuid, with_mdev.name) == ("5a0b7d53-14f5-4a3e-9f0e-000000000001", "instance-00000001")
    assert (with_mdev.mdevs, with_mdev.pci, with_mdev.active) == ((UUID,), (), True)
    assert (without.mdevs, without.pci) == ((), ())
    assert (with_pci.mdevs, with_pci.pci) == ((), ("0000:c1:00.4",))


def test_text_of_strangers_is_made_plain() -> None:
    xml = DOMAINS[0].replace("instance-00000001", "&#x202e;evil&#x9b;31m[red]x[/]")
    name = parse_domain(xml).name
    assert name == "·evil·31m[red]x[/]"


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "no xml",
        "<html><title>502 Bad Gateway</title></html>",
        "<device/>",
        "<device><name>mdev_x</name><capability type='mdev'><type id='a'/><uuid>not one</uuid></capability></device>",
        "<device><name>x</name><capability type='pci'><bus>999</bus><slot>0</slot><function>0</function></capability>"
        "</device>",
        "<domain><name>x</name></domain>",
        "<!DOCTYPE device [<!ENTITY a 'b'>]><device><name>&a;</name></device>",
        "<device><name>\0</name></device>",
        "<device><name>\ud800</name></device>",
        "<device>" * 50_000,
        "<device><name>" + "x" * 5_000_000 + "</name></device>",
    ],
)
@pytest.mark.parametrize("parse", [parse_pci_device, parse_mdev, parse_domain])
def test_what_is_refused(xml: str, parse: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(xml)
    assert len(str(caught.value)) < 300


def test_no_entity_is_ever_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    xml = f'<!DOCTYPE device [<!ENTITY x SYSTEM "file://{secret}">]>' + A100.replace("GA100", "&x;")
    with pytest.raises(ValueError, match="a document type where libvirt sends none"):
        parse_pci_device(xml)


def test_names_of_node_devices() -> None:
    assert address_of_name("pci_0000_41_00_4") == "0000:41:00.4"
    assert address_of_name("pci_10000_e1_00_0") == "10000:e1:00.0"
    assert address_of_name("net_eth0") is None


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A real description, cut, with a piece replaced or doubled."""
    text: str = draw(st.sampled_from([*DEVICES[:3], *MDEVS, *DOMAINS]))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, len(text)))
    piece: str = draw(
        st.one_of(st.text(max_size=20), st.sampled_from(["", "<x/>", "-1", "0x", "٣", "&#0;", text[start:end] * 2]))
    )
    return text[:start] + piece + text[end:]


@given(st.one_of(mangled(), st.text()))
def test_mangled_xml_is_facts_or_a_value_error(xml: str) -> None:
    for parse in (parse_pci_device, parse_mdev, parse_domain):
        try:
            facts = parse(xml)
        except ValueError:
            continue
        assert "\x1b" not in repr(facts)


@given(st.integers(0, len(A100)))
def test_truncated_xml_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_pci_device(A100[:length][:-1])
