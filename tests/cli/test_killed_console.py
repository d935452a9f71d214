"""A console is killed with SIGKILL in the middle of a change of a device; the next command says what is true now."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.conftest import ROOT
from tests.cli.one_cloud import run

SCRIPT = """
from tests.actions.test_device_plans_applied import HOST, create
from vgpu_console.actions.runner import apply
from vgpu_console.config import DemoChoice, Settings
from vgpu_console.runtime import Fleet
from vgpu_console.simulator.faults import DeviceFault

fleet = Fleet(Settings(), DemoChoice())
fleet._demo.faults.devices[HOST] = DeviceFault(kind="hangs", call="virNodeDeviceCreate", obeyed=True)
apply(create(), fleet.world(), fleet.journal())
"""


def test_kill_9_while_a_device_is_made(home: Path) -> None:
    environ = {"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"}
    journal = home / ".local/state/vgpu-console/journal-demo.jsonl"
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and not (journal.exists() and '"step":3' in journal.read_text()):
            time.sleep(0.02)
    finally:
        killed.send_signal(signal.SIGKILL)
    assert killed.wait(10) == -signal.SIGKILL
    assert [json.loads(line)["event"] for line in journal.read_text().splitlines()] == ["begun", *["step"] * 3]

    # the embedded cloud died with its console, and the new one has no such device
    said = run("quota", "set", "render", "6", "--dry-run").stderr
    assert "unfinished in the journal: nvidia-472 on gpu-02 0000:41:01.2 (gpu-02 11111111-2222-" in said
    assert "it is under way now, or its console was killed; now it is as before: nothing was changed" in said
