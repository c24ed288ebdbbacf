"""`pip install .`: the part of the package that needs no ROS. colcon uses CMakeLists.txt instead."""

from pathlib import Path

from setuptools import setup

# The same share/zmask_ros as in a ROS installation (zmask_ros/resources.py looks there).
SHARED = ("msg", "config", "models")


def shared_files() -> list[tuple[str, list[str]]]:
    """(directory below the installation's prefix, the files of this checkout that go there)."""
    folders = [folder for name in SHARED for folder in [Path(name), *Path(name).rglob("*/")] if folder.is_dir()]
    return [
        (f"share/zmask_ros/{folder.as_posix()}", [file.as_posix() for file in folder.iterdir() if file.is_file()])
        for folder in folders
    ]


setup(data_files=shared_files())
