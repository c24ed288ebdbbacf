"""What the package needs is declared, and `pip install .` brings what it needs at run time."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest

import zmask_ros
from support import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE_XML = (ROOT / "package.xml").read_text()
REQUIREMENTS = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["desk"]
DEPENDENCIES = [re.match(r"[\w-]+", requirement)[0].lower() for requirement in REQUIREMENTS]
ROSDEP_KEYS = {
    "opencv-python-headless": "python3-opencv",
    "pyyaml": "python3-yaml",
    "scikit-learn": "python3-sklearn",
}
"""Of the dependencies that rosdep does not call `python3-NAME`."""
BUILD_INPUTS = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "README.md",
    "LICENSE",
    "zmask_ros",
    "msg",
    "config",
    "models",
)


def ros_dependencies() -> set[str]:
    root = ElementTree.fromstring(PACKAGE_XML)
    return {element.text for kind in ("depend", "exec_depend") for element in root.iter(kind) if element.text}


def imported_modules() -> Iterator[tuple[str, Path]]:
    """The top-level modules that the package and its launch files import, and where."""
    for file in [*ROOT.glob("zmask_ros/**/*.py"), *ROOT.glob("launch/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], file) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], file


def test_every_import_is_declared() -> None:
    distributions = packages_distributions()
    known = {"zmask_ros", *sys.stdlib_module_names, *ros_dependencies()}
    undeclared = {
        f"{module} in {file.relative_to(ROOT)}"
        for module, file in imported_modules()
        if module not in known and not {name.lower() for name in distributions.get(module, [])} & set(DEPENDENCIES)
    }
    assert undeclared == set()


def test_rosdep_or_pip_brings_every_dependency() -> None:
    with_pip = re.search(r"With pip from requirements/.*?: *\n *(.*?)\.? *-->", PACKAGE_XML, re.DOTALL)[1].split(", ")
    with_rosdep = {name for name in DEPENDENCIES if ROSDEP_KEYS.get(name, f"python3-{name}") in ros_dependencies()}
    assert sorted([*with_pip, *with_rosdep]) == sorted(DEPENDENCIES)


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_every_dependency_is_pinned(name: str) -> None:
    pins = "".join(file.read_text() for file in ROOT.glob("requirements/*.txt"))
    assert re.search(rf"^{name}==", pins, re.MULTILINE | re.IGNORECASE)


def test_both_sides_have_one_version() -> None:
    assert ElementTree.fromstring(PACKAGE_XML).findtext("version") == zmask_ros.__version__


def test_a_wheel_holds_what_the_package_needs(tmp_path: Path) -> None:
    # pip leaves build/ beside the sources.
    source = tmp_path / "source"
    source.mkdir()
    for name in BUILD_INPUTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.partial"))
        else:
            shutil.copy(ROOT / name, source)
    package, *shared = (
        [file.relative_to(source).as_posix() for file in (source / folder).rglob("*") if file.is_file()]
        for folder in ("zmask_ros", "msg", "config", "models")
    )

    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    result = subprocess.run([*command, tmp_path, source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        installed = {name for name in archive.namelist() if ".dist-info/" not in name}
    prefix = f"zmask_ros-{zmask_ros.__version__}.data/data/share/zmask_ros"
    assert installed == {*package, *(f"{prefix}/{path}" for paths in shared for path in paths)}
