"""What a report of a large fleet costs once it has been read: this process's own time for each format."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.figures import Figure

HOSTS = 1000
AIM_S = 3.0

_WORDS = {"md": "Markdown", "html": "HTML", "json": "JSON", "csv": "CSV", "svg": "SVG", "diff": "comparison"}


def measure(hosts: int) -> dict[str, tuple[float, int]]:
    """Seconds and bytes of each format, the report itself made anew each time; of a comparison seconds and rows."""
    import msgspec

    from vgpu_console.app_picture import dashboard
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.reports.formats import write_as
    from vgpu_console.reports.report import report_of
    from vgpu_console.rules.snapshot_diff import differences
    from vgpu_console.runtime import read_once
    from vgpu_console.snapshot_file import decode

    snapshot = read_once(Settings(), DemoChoice(hosts), deadline_s=3600.0)
    found: dict[str, tuple[float, int]] = {}
    for form in ("md", "html", "json", "csv"):
        began = time.process_time()
        text = write_as(report_of(snapshot, (), snapshot.taken_at + 1), form)
        found[form] = (time.process_time() - began, len(text.encode()))
    began = time.process_time()
    picture = dashboard(snapshot, Settings(), snapshot.taken_at + 1)
    found["svg"] = (time.process_time() - began, len(picture.svg.encode()))
    written = msgspec.json.encode(snapshot)
    began = time.process_time()
    other = decode(written)
    rows = differences(snapshot, other)
    found["diff"] = (time.process_time() - began, len(rows))
    return found


def figures() -> Iterator[Figure]:
    """A line for each format; the fleet is simulated, and read before the clock starts."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.report", str(HOSTS)], check=True, stdout=subprocess.PIPE)
    for form, (seconds, size) in json.loads(done.stdout).items():
        what = "read back from a file" if form == "diff" else f"{size / 2**20:.1f} MiB"
        yield Figure(
            f"report of {HOSTS:,} hosts, {_WORDS[form]}" if form != "diff" else f"comparison of {HOSTS:,} hosts",
            f"{seconds:.2f} s",
            what,
            aim=f"under {AIM_S:g} s",
            met=seconds < AIM_S,
        )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
