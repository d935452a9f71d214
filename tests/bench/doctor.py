"""What the doctor costs on a large fleet that has been read: this process's own time for finding and for telling."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.figures import Figure

HOSTS = 1000
AIM_S = 2.0

_FORMS = ("table", "json", "csv")


def measure(hosts: int) -> dict[str, float]:
    """Seconds of finding, and of the command from there on in each format; how much is found and not looked at."""
    from vgpu_console import cli_doctor_read, cli_run
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.model.snapshot import Snapshot
    from vgpu_console.rules.diagnosis.doctor import diagnose
    from vgpu_console.runtime import Fleet

    fleet = Fleet(Settings(), DemoChoice(hosts))
    facts = fleet.collector.collect_once(3600.0)
    snapshot = fleet.joiner.join(facts, time.time())
    began = time.process_time()
    findings, unlooked = diagnose(snapshot, facts, snapshot.taken_at)
    found = {"findings": float(len(findings)), "unlooked": float(len(unlooked)), "find": time.process_time() - began}

    def read(*_: object, **__: object) -> Snapshot:
        return snapshot

    setattr(cli_doctor_read, "read_fleet", read)  # noqa: B010 - reading is measured elsewhere: here it has been done
    for form in _FORMS:
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = cli_doctor_read.show_doctor({}, form, (), (), None, None)
        if code != cli_run.OK:
            raise RuntimeError(f"doctor -o {form} ended with {code}")
        found[form] = time.process_time() - began
    return found


def figures() -> Iterator[Figure]:
    """Finding, and finding with telling in each format; the fleet is simulated."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.doctor", str(HOSTS)], check=True, stdout=subprocess.PIPE)
    told = json.loads(done.stdout)
    what = f"{told['findings']:.0f} findings, {told['unlooked']:.0f} not looked at"
    lines = [("finding", told["find"]), *((f"command, {form}", told["find"] + told[form]) for form in _FORMS)]
    for name, seconds in lines:
        yield Figure(
            f"doctor over {HOSTS:,} hosts: {name}",
            f"{seconds:.2f} s",
            what,
            aim=f"under {AIM_S:g} s of its own time",
            met=seconds < AIM_S,
        )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
