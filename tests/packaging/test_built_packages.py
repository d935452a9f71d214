"""What a user installs holds all that the checkout holds, whichever way it was built."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.source_tree import ROOT, installed_paths

pytestmark = pytest.mark.xdist_group("packaging")


def build(source: Path, kind: str, into: Path) -> Path:
    """Build a wheel or an sdist without a network, as ``python -m build`` does."""
    into.mkdir()
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(into), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist") / "out")


@pytest.fixture(scope="module")
def direct_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel") / "out")


@pytest.fixture(scope="module")
def wheel_from_sdist(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("from-sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build(unpacked, "wheel", folder / "out")


@pytest.fixture(scope="module", params=["direct", "from the sdist"])
def wheel(request: pytest.FixtureRequest) -> Path:
    built: Path = request.getfixturevalue("direct_wheel" if request.param == "direct" else "wheel_from_sdist")
    return built


def test_the_wheel_holds_every_module_screen_and_asset_and_nothing_else(wheel: Path) -> None:
    expected = installed_paths()
    assert any(path.startswith("vgpu_console/screens/") for path in expected)
    assert any(path.startswith("vgpu_console/assets/") for path in expected)

    with zipfile.ZipFile(wheel) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    held = {name for name in names if ".dist-info/" not in name}

    assert held == expected
    assert len(names) == len(set(names)), "a file is in the wheel twice"


def test_the_wheel_brings_the_command_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rsplit("/", 1)[0]
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        commands = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()

    assert "vgpu-console = vgpu_console.__main__:main" in commands
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in licence
    requirements = metadata.get_all("Requires-Dist") or []
    assert "textual==8.2.8" in requirements
    assert [line for line in requirements if line.startswith("libvirt")] == ["libvirt-python>=9; extra == 'libvirt'"]


IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import vgpu_console
assert vgpu_console.__file__.startswith(sys.argv[1]), vgpu_console.__file__
for module in pkgutil.walk_packages(vgpu_console.__path__, "vgpu_console."):
    if module.name != "vgpu_console.__main__":
        print(importlib.import_module(module.name).__name__)
"""


def test_every_module_of_the_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    modules = {path.removesuffix(".py").removesuffix("/__init__") for path in installed_paths() if path.endswith(".py")}
    expected = {name.replace("/", ".") for name in modules} - {"vgpu_console", "vgpu_console.__main__"}
    assert set(done.stdout.split()) == expected


def test_the_sdist_holds_the_top_level_as_it_is(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = {member.name.split("/", 1)[1]: member for member in archive.getmembers()}

    wanted = {path for path in installed_paths() if path.split("/")[1] not in ("screens", "assets")}
    wanted |= {
        path.removeprefix("vgpu_console/") for path in installed_paths() if path.split("/")[1] in ("screens", "assets")
    }
    wanted |= {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock", "Makefile"}
    assert wanted - set(members) == set()
    assert not [name for name, member in members.items() if member.issym()], "a link may not survive unpacking"
    assert not [name for name in members if name.split("/")[0] in (".venv", ".tools", ".lab", ".cache")]
