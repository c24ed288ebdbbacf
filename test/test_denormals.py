"""Tiny numbers are taken for zero: where the network runs, and in threads that begin afterwards."""

from __future__ import annotations

import threading
from pathlib import Path

from support import tiny_network
from support.tiny_numbers import flushed
from zmask_ros.denormals import flush_denormals
from zmask_ros.segmenters import load_segmenter


def in_a_thread(action) -> bool:  # type: ignore[no-untyped-def]
    """Whether products are flushed after ``action`` in a thread that has had nothing to do with it before."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: (action(), found.append(flushed())))
    thread.start()
    thread.join()
    return found[0]


def test_whoever_loads_a_network_takes_tiny_numbers_for_zero(tmp_path: Path) -> None:
    assert not flushed()
    load_segmenter(str(tiny_network.describe(tmp_path)), "cpu")
    assert flushed()
    assert in_a_thread(lambda: None)


def test_a_thread_that_was_begun_by_another_one_can_do_so_too() -> None:
    assert not in_a_thread(lambda: None)
    assert in_a_thread(flush_denormals)
