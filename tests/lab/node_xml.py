"""A lab host as libvirt's own test driver takes it: one ``<node>`` file for ``test:///path``.

The test driver keeps what a read-only client asks for, but refuses the flags that list inactive devices, sends no
device events and drops ``parent_addr``. Its tree of devices needs a ``computer`` with the machine's uuid.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.lab.lab import Lab

_COMPUTER = """<device><name>computer</name><capability type='system'>
<hardware><vendor>Lab</vendor><version>1</version><serial>1</serial><uuid>{uuid}</uuid></hardware>
<firmware><vendor>Lab</vendor><version>1</version><release_date>2026-01-01</release_date></firmware>
</capability></device>"""


def write_node_file(lab: Lab, host: str, folder: Path) -> Path:
    """Write a host's truth as it is now; the path makes a ``test://`` URI."""
    nodes = [_COMPUTER.format(uuid=uuid.uuid5(uuid.NAMESPACE_DNS, host))]
    # Only running devices: the driver would take a defined one for active.
    nodes += [row["xml"] for row in lab.control(f"/hosts/{host}/nodedevs") if row.get("active", True)]
    nodes += [_reduced_domain(row) for row in lab.control(f"/hosts/{host}/domains")]
    file = folder / f"{host}.xml"
    file.write_text(f"<node>{''.join(nodes)}</node>")
    return file


def _reduced_domain(row: dict[str, Any]) -> str:
    """The part of Nova's domain that the test driver accepts: names, memory and the mediated devices."""
    tree = ElementTree.fromstring(row["xml"])
    hostdevs = "".join(
        ElementTree.tostring(device, encoding="unicode") for device in tree.iterfind("./devices/hostdev[@type='mdev']")
    )
    memory = tree.findtext("./memory") or "1024"
    return (
        f"<domain type='test'><name>{row['name']}</name><uuid>{row['uuid']}</uuid><memory>{memory}</memory>"
        f"<os><type>hvm</type></os><devices>{hostdevs}</devices></domain>"
    )


def main(home: Path, port_base: int) -> None:
    """Write the node files of a lab that is up, and print what points the console's libvirt source at them."""
    folder = home / "libvirt"
    folder.mkdir(exist_ok=True)
    lab = Lab(home, port_base)
    for host in lab.hosts():
        write_node_file(lab, host, folder)
    print(f"export VGPU_CONSOLE_LIBVIRT_URI='test://{folder}/{{host}}.xml'   # libvirt's test driver: the hosts as now")
    print("export VGPU_CONSOLE_SSH_ENABLED=false")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
