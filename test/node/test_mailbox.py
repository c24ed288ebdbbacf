"""The mailbox between the callbacks and the worker."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.arrivals import arrival
from zmask_ros.node.mailbox import Arrival, Mailbox


def test_the_mailbox_keeps_the_newest_of_each_camera_and_hands_back_the_displaced() -> None:
    mailbox, first, second, rear = Mailbox(), arrival("front"), arrival("front"), arrival("rear")
    assert [mailbox.put(frame) for frame in (first, rear, second)] == [None, None, first]
    assert mailbox.holds("rear")
    assert mailbox.take(4) == [second, rear]
    assert not mailbox.holds("rear")


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(1, 5))
def test_no_camera_waits_for_more_turns_than_there_are_others(cameras: list[str], most: int) -> None:
    mailbox, waited = Mailbox(), dict.fromkeys("abcde", 0)
    for camera in cameras:
        mailbox.put(arrival(camera))
        taken = {frame.camera for frame in mailbox.take(most)}
        assert 1 <= len(taken) <= most
        for other in waited:
            waited[other] = waited[other] + 1 if mailbox.holds(other) else 0
        assert max(waited.values()) < len(waited)


def test_a_busy_camera_does_not_keep_another_from_its_turn() -> None:
    mailbox = Mailbox()
    mailbox.put(arrival("busy"))
    mailbox.put(arrival("other"))
    mailbox.take(1)
    mailbox.put(arrival("busy"))
    assert [frame.camera for frame in mailbox.take(1)] == ["other"]


def a_second_apart(mailbox: Mailbox, age_s: float) -> Arrival:
    """Two frames of a camera at 1 Hz, the newer one, which is returned, ``age_s`` old."""
    now_ns = time.monotonic_ns()
    for ago_s in (age_s + 1, age_s):
        newest = replace(arrival(), arrived_ns=now_ns - round(ago_s * 1e9))
        mailbox.put(newest)
    return newest


def test_a_frame_that_is_due_is_waited_for() -> None:
    mailbox, fresh = Mailbox(), arrival()
    a_second_apart(mailbox, age_s=0.5)
    threading.Timer(0.02, mailbox.put, [fresh]).start()
    assert mailbox.take(1, patience_s=30.0) == [fresh]


@pytest.mark.parametrize(("age_s", "patience_s"), [(0.1, 0.2), (0.5, 0.0), (5.0, 30.0)])
def test_a_frame_that_is_not_due_soon_or_overdue_is_not_waited_for(age_s: float, patience_s: float) -> None:
    mailbox, began = Mailbox(), time.monotonic()
    newest = a_second_apart(mailbox, age_s)
    assert mailbox.take(1, patience_s) == [newest]
    assert time.monotonic() - began < 10.0


def test_a_frame_that_is_due_and_does_not_come_is_given_up() -> None:
    mailbox = Mailbox()
    newest = a_second_apart(mailbox, age_s=0.95)
    assert mailbox.take(1, patience_s=0.1) == [newest]


def test_a_mailbox_that_is_closed_does_not_wait_for_frames_that_are_due() -> None:
    mailbox, began = Mailbox(), time.monotonic()
    a_second_apart(mailbox, age_s=0.5)
    threading.Timer(0.02, mailbox.close).start()
    assert mailbox.take(1, patience_s=30.0) == []
    assert time.monotonic() - began < 10.0


def test_a_mailbox_that_is_emptied_while_a_frame_is_due_goes_on_waiting() -> None:
    mailbox, fresh, taken = Mailbox(), arrival(), []
    newest = a_second_apart(mailbox, age_s=0.5)
    taker = threading.Thread(target=lambda: taken.extend(mailbox.take(1, patience_s=1.0)), daemon=True)
    taker.start()
    taker.join(0.1)
    assert mailbox.empty() == [newest], "it is waiting for the next one"
    taker.join(1.5)
    assert taker.is_alive(), "the worker would have ended"
    mailbox.put(fresh)
    taker.join(5.0)
    assert taken == [fresh]


def test_a_closed_mailbox_hands_back_everything() -> None:
    mailbox, left, late = Mailbox(), arrival(), arrival()
    mailbox.put(left)
    assert mailbox.close() == [left]
    assert mailbox.put(late) is late
    assert mailbox.take(1) == []


def test_stamp_is_read_to_the_nanosecond() -> None:
    assert arrival(seconds=12.345).stamp_ns == 12_345_000_000
