"""What pip and colcon call; the metadata is in pyproject.toml."""

from setuptools import setup

setup()
