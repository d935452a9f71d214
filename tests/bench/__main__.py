"""Runs the benchmark, all of it or the parts named on the command line, and prints one Markdown table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from tests.bench import capacity, doctor, drain, fleets, migration, quota, recording, report, screen, startup
from tests.bench.figures import HEAD, Figure, machine

PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "startup": startup.figures,
    "screen": screen.figures,
    "fleets": fleets.figures,
    "quota": quota.figures,
    "migration": migration.figures,
    "drain": drain.figures,
    "capacity": capacity.figures,
    "doctor": doctor.figures,
    "report": report.figures,
    "recording": recording.figures,
}


def main(names: list[str]) -> int:
    """Exit status 2 for a part that does not exist; figures never fail."""
    unknown = [n for n in names if n not in PARTS]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(machine())
    print()
    print(HEAD, flush=True)
    for name in names or PARTS:
        for figure in PARTS[name]():
            print(figure.row(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
