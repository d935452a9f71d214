"""libvirt's XML of node devices and domains, as far as vGPUs are in it.

Every function takes the text of one XMLDesc(), is content with missing parts, and raises ValueError for text that is no
XML or has not what identifies the object. Document types and entities are refused: libvirt sends none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from vgpu_console.model.host_facts import DomainFacts, MdevFacts, MdevTypeOffer, PciDevice
from vgpu_console.text import plain

_LIMIT = 4 * 1024 * 1024  # characters; a GPU with 256 virtual functions takes 25 thousand
_PCI_NAME = re.compile(r"pci_([0-9a-f]{4,8})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])", re.IGNORECASE)
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MDEV_NAME = re.compile(r"mdev_([0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12})(?:_|$)", re.IGNORECASE)

NO_PARENT = "computer"
"""libvirt's parent of a defined mediated device whose function is gone."""


def parse_pci_device(xml: str) -> PciDevice:
    """A node device with the ``pci`` capability. A device outside PCI (mtty) is its own address: its libvirt name.

    Raises ValueError.
    """
    device = _root(xml, "device")
    name = _text(device, "name")
    pci = _capability(device, "pci")
    found = {c.get("type", ""): c for c in (pci if pci is not None else device).iterfind("capability")}
    offers = tuple(_offers(found["mdev_types"])) if "mdev_types" in found else ()
    if pci is None:
        if not name or "mdev_types" not in found:
            raise ValueError("neither a PCI device nor a parent of mediated devices")
        return PciDevice(address=name, name=name, types=offers)
    product, vendor = pci.find("product"), pci.find("vendor")
    numbers = {part: _text(pci, part) for part in ("domain", "bus", "slot", "function")}
    address = _address(numbers, 10) or address_of_name(name)
    if address is None:
        raise ValueError("a PCI device without an address")
    functions = found.get("virt_functions")
    limit = functions.get("maxCount") if functions is not None else None
    parent = found["phys_function"].find("address") if "phys_function" in found else None
    numa = pci.find("numa")
    return PciDevice(
        address=address,
        name=name,
        vendor_id=_hex_id(vendor.get("id") if vendor is not None else None),
        product_id=_hex_id(product.get("id") if product is not None else None),
        product=plain((product.text or "").strip(), 256) if product is not None else "",
        pci_class=_hex_id(_text(pci, "class")),
        driver=_text(device, "driver/name") or None,
        numa_node=_number(numa.get("node")) if numa is not None else None,
        physical_function=_address(dict(parent.attrib), 16) if parent is not None else None,
        virtual_functions=tuple(_addresses(functions)) if functions is not None else None,
        max_virtual_functions=_number(limit),
        types=offers,
    )


def parse_mdev(xml: str) -> MdevFacts:
    """A mediated device; ``active`` when it has a place in sysfs, which a merely defined one has not.

    Raises ValueError.
    """
    device = _root(xml, "device")
    name = _text(device, "name")
    mdev = _capability(device, "mdev")
    if mdev is None:
        raise ValueError("not a mediated device")
    kind = mdev.find("type")
    uuid = _text(mdev, "uuid").lower()
    if not uuid and (match := _MDEV_NAME.match(name)):  # libvirt before 7.3 says it in the name only
        uuid = match[1].replace("_", "-").lower()
    if not _UUID.fullmatch(uuid):
        raise ValueError("a mediated device without a uuid")
    return MdevFacts(
        uuid=uuid,
        type_id=plain(kind.get("id", ""), 64) if kind is not None else "",
        parent=_parent(_text(device, "parent"), _text(mdev, "parent_addr")),
        name=name,
        active=bool(_text(device, "path")),
    )


def parse_domain(xml: str, active: bool | None = None) -> DomainFacts:
    """A domain with the mediated devices and PCI functions that are passed through to it. Raises ValueError."""
    domain = _root(xml, "domain")
    uuid = _text(domain, "uuid").lower()
    if not _UUID.fullmatch(uuid):
        raise ValueError("a domain without a uuid")
    mdevs: list[str] = []
    functions: list[str] = []
    for hostdev in domain.iterfind("./devices/hostdev"):
        source = hostdev.find("./source/address")
        if source is None:
            continue
        if hostdev.get("type") == "mdev" and _UUID.fullmatch(source.get("uuid", "")):
            mdevs.append(source.get("uuid", "").lower())
        elif hostdev.get("type") == "pci" and (address := _address(dict(source.attrib), 16)):
            functions.append(address)
    return DomainFacts(uuid=uuid, name=_text(domain, "name"), active=active, mdevs=tuple(mdevs), pci=tuple(functions))


def address_of_name(name: str) -> str | None:
    """``0000:41:00.4`` of libvirt's ``pci_0000_41_00_4``; None for any other name."""
    match = _PCI_NAME.fullmatch(name)
    return f"{match[1]}:{match[2]}:{match[3]}.{match[4]}".lower() if match else None


def _root(xml: str, tag: str) -> ElementTree.Element:
    if len(xml) > _LIMIT:
        raise ValueError("the description is too long")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("a document type where libvirt sends none")
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - document types and entities are refused above
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {plain(error, 120)}") from None
    if root.tag != tag:
        raise ValueError(f"no <{tag}>: <{plain(root.tag, 40)}>")
    return root


def _text(element: ElementTree.Element, path: str) -> str:
    return plain((element.findtext(path) or "").strip(), 256)


def _capability(device: ElementTree.Element, kind: str) -> ElementTree.Element | None:
    return next((c for c in device.iterfind("capability") if c.get("type") == kind), None)


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _hex_id(text: str | None) -> str:
    return plain((text or "").strip().lower().removeprefix("0x"), 16)


def _address(parts: dict[str, str], base: int) -> str | None:
    """Elements of a PCI device are decimal, attributes of <address> hexadecimal with 0x."""
    numbers: list[int] = []
    for part, limit in (("domain", 0xFFFFFFFF), ("bus", 0xFF), ("slot", 0x1F), ("function", 7)):
        text = (parts.get(part, "") or ("0" if part == "domain" else "")).strip().lower()
        pattern = r"(0x)?[0-9a-f]{1,8}" if base == 16 or text.startswith("0x") else r"[0-9]{1,10}"
        if not re.fullmatch(pattern, text):
            return None
        number = int(text, 16 if base == 16 or text.startswith("0x") else 10)
        if number > limit:
            return None
        numbers.append(number)
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*numbers)


def _addresses(element: ElementTree.Element) -> Iterator[str]:
    for child in element.iterfind("address"):
        if address := _address(dict(child.attrib), 16):
            yield address


def _offers(element: ElementTree.Element) -> Iterator[MdevTypeOffer]:
    for kind in element.iterfind("type"):
        if type_id := plain(kind.get("id", "").strip(), 64):
            yield MdevTypeOffer(
                type_id=type_id,
                name=_text(kind, "name"),
                available_instances=_number(kind.findtext("availableInstances")),
            )


def _parent(name: str, address: str) -> str | None:
    if name == NO_PARENT:
        return None
    if found := address_of_name(name):
        return found
    if _PCI_ADDRESS.fullmatch(address):
        return address.lower()
    return name or None
