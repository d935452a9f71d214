"""The embedded cloud behind ``--demo``: Keystone, Nova, Placement, libvirt and shells, at the outermost seams.

One state is shown three ways: over HTTP (in the process or on a loopback port), as libvirt connections, and as the text
that the fact command prints. It obeys the rules of the real systems, so that what is shown of it means something.
"""

from __future__ import annotations

from vgpu_console.simulator.cloud import BASE_URL, DemoCloud, open_demo
from vgpu_console.simulator.faults import Faults, HttpFault
from vgpu_console.simulator.scenario import ScenarioError

__all__ = ["BASE_URL", "DemoCloud", "Faults", "HttpFault", "ScenarioError", "open_demo"]
