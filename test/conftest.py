"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node_processes import Client

# A pytest that was started without scripts/run.sh is alone on its domain, too. Set before anything imports rclpy.
os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A node of the test in the namespace of its module."""
    # Where there is no ROS, the modules that ask for it are skipped.
    from node_processes import Client

    client = Client(request.module.NAMESPACE)
    yield client
    client.close()
