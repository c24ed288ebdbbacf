"""What all tests share."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.node_processes import Client
    from zmask_ros.defense import Profile
    from zmask_ros.segmenters import Segmenter

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
"""Number of this process among several that share the tests; empty: it has them all."""

# A pytest that was started without scripts/run.sh is alone on its domain, too. Set before anything imports rclpy.
os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
if WORKER:
    # Tests that run beside each other hear nothing of each other. Domains above 101 collide with ephemeral ports.
    os.environ["ROS_DOMAIN_ID"] = str((int(os.environ["ROS_DOMAIN_ID"]) + 10 * int(WORKER)) % 101 + 1)


# Longest time that the process may take to end after the last test.
ENDS_S = 60.0


def pytest_unconfigure() -> None:
    """A test must leave nothing behind that keeps the process from ending: one that does not says where it hangs."""
    faulthandler.dump_traceback_later(ENDS_S, exit=True, file=sys.__stderr__)


@pytest.fixture(autouse=True)
def _tiny_numbers() -> None:
    """Let hypothesis draw tiny numbers, which whoever has loaded a network takes for zero."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """The tiny network."""
    from support.tiny_network import describe
    from zmask_ros.segmenters import load_segmenter

    return load_segmenter(str(describe(tmp_path_factory.mktemp("tiny"))), "cpu")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A profile for it, as `zmask fit` leaves it."""
    from support.tiny_network import describe, fit
    from zmask_ros.defense import load_profile

    return load_profile(fit(describe(tmp_path_factory.mktemp("fitted"))))


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A node of the test in the namespace of its module."""
    # Where there is no ROS, the modules that ask for it are skipped.
    from support.node_processes import Client

    client = Client(request.module.NAMESPACE)
    yield client
    client.close()
