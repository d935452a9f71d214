"""The files of the source tree that belong into a built package, under the paths they have once installed."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LINKED = ("screens", "assets")
"""Folders at the top level that are installed inside the package, and are linked there in a checkout."""


def installed_paths(root: Path = ROOT) -> set[str]:
    """Every file that an installed package must hold, as paths relative to site-packages."""
    found = {path.as_posix() for path in _files(root, "vgpu_console") if path.parts[1] not in LINKED}
    for folder in LINKED:
        found |= {(Path("vgpu_console") / path).as_posix() for path in _files(root, folder)}
    return found


def _files(root: Path, folder: str) -> set[Path]:
    return {
        path.relative_to(root)
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
