"""For tools that still ask for this file: everything is in pyproject.toml. colcon builds with CMakeLists.txt instead."""

from setuptools import setup

setup()
