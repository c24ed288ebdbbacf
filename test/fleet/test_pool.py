"""Workers that die, hang or refuse: each task is answered once, and the others are done."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from support.faulty_work import (
    DIES,
    DIES_ONCE,
    FAILS,
    FILLS_ONCE,
    FILLS_TORCH_ONCE,
    HANGS,
    REFUSES,
    WORKS,
    FaultyWork,
    Order,
    cannot_work,
)
from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.pool import PoolSettings, RayPool

SETTINGS = PoolSettings(workers=2, timeout_s=5.0, attempts=2)


def settings_at(cluster) -> PoolSettings:
    return PoolSettings(cluster.address, SETTINGS.workers, SETTINGS.timeout_s, SETTINGS.attempts)


def test_every_task_is_answered_once_whatever_its_worker_does(cluster, tmp_path: Path) -> None:
    kinds = [WORKS, DIES_ONCE, REFUSES, HANGS, DIES, FAILS, FILLS_ONCE, FILLS_TORCH_ONCE, *[WORKS] * 10]
    orders = [Order(number, kind) for number, kind in enumerate(kinds)]
    lost_once = DIES_ONCE, FILLS_ONCE, FILLS_TORCH_ONCE
    with RayPool(FaultyWork(tmp_path), settings_at(cluster)) as pool:
        done = list(pool.run(deque(orders)))
    assert sorted(each.task.number for each in done) == list(range(len(orders)))
    by_kind = {each.task.kind: each for each in done}
    results = {each.task.number: each.result for each in done if not each.refusal}
    assert results == {n: n * n for n, kind in enumerate(kinds) if kind in (WORKS, *lost_once)}
    assert by_kind[REFUSES].refusal == "This bag is no bag."
    assert by_kind[FAILS].refusal == "KeyError: 'unexpected'"
    assert "no progress in 5 s" in by_kind[HANGS].refusal
    assert "its worker died 2 times" in by_kind[DIES].refusal
    begun = {order.kind: len((tmp_path / str(order.number)).read_text().splitlines()) for order in orders}
    assert begun == {WORKS: 1, REFUSES: 1, HANGS: 1, DIES: 2, FAILS: 1, **dict.fromkeys(lost_once, 2)}
    # One may have died and come back before the other was ready.
    assert pool.workers in (1, 2) and pool.retried == 4


def test_workers_that_cannot_work_end_the_whole(cluster) -> None:
    with RayPool(cannot_work, settings_at(cluster)) as pool, pytest.raises(ZmaskError, match="no segmenter of that"):
        list(pool.run(deque([Order(0, WORKS)])))


def test_an_address_without_a_cluster_and_a_bag_in_its_place_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(ZmaskError, match="behind the bags"):
        RayPool(cannot_work, PoolSettings(str(tmp_path)))
    with pytest.raises(ZmaskError, match="no Ray cluster at nowhere"):
        RayPool(cannot_work, PoolSettings("nowhere"))
