"""A Ray cluster of this machine, which the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support import ROOT, TESTS
from support.short_trial import short_trial

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

__all__ = ["short_trial"]

SMALL_STORE = 80 << 20
"""Ray takes no smaller object store, bytes."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As workers have: with another number of threads, the last bits differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A head and a node with two CPUs, whose workers find the support of the tests."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        from ray.cluster_utils import Cluster

        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": SMALL_STORE,
                "include_dashboard": False,
                # A node that is dead is missed after a few seconds, and not after half a minute.
                "_system_config": {
                    "health_check_initial_delay_ms": 0,
                    # Ray would have them wait for whatever else the machine does.
                    "worker_niceness": 0,
                    "health_check_period_ms": 1000,
                    "health_check_failure_threshold": 4,
                },
            },
        )
        cluster.add_node(num_cpus=2, object_store_memory=SMALL_STORE)
        yield cluster
        cluster.shutdown()
