"""The checkout itself: the links that make the top-level folders part of the package, and what may not be in it."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.packaging.source_tree import LINKED, ROOT

checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@checkout
@pytest.mark.parametrize("folder", LINKED)
def test_the_package_holds_the_top_level_folders_as_committed_links(folder: str) -> None:
    link = ROOT / "vgpu_console" / folder

    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    mode, *_ = git("ls-files", "--stage", f"vgpu_console/{folder}").split()
    assert mode == "120000", "git holds it as something else than a link"


def python_files() -> list[Path]:
    folders = ("vgpu_console", "screens", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported_names(path: Path) -> set[str]:
    """The absolute names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


def test_nothing_imports_the_screens_by_their_top_level_name() -> None:
    """``import screens`` works where the checkout is the current folder, and makes a second copy of each class."""
    guilty = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files()
        for name in imported_names(path)
        if name.split(".")[0] in LINKED
    ]

    assert guilty == []


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without ``__init__.py`` is passed over by the import contracts, which would then say nothing."""
    folders = {path.parent for folder in ("vgpu_console", "screens") for path in (ROOT / folder).rglob("*.py")}

    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").is_file()) == []


def test_the_lock_has_hashes_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    requirements = re.split(r"\n(?=\S)", lock.strip())

    assert len(requirements) > 40
    assert [block.split()[0] for block in requirements if "--hash=sha256:" not in block] == []
    assert re.findall(r"https?:|file:|@ |index-url|find-links", lock) == []


def test_the_lock_holds_every_direct_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["libvirt"],
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
    ]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))

    assert {re.split(r"[<>=!~ ;\[]", requirement)[0].lower() for requirement in direct} - locked == set()
