"""Which messages a flag recorder keeps, and which flags it misses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zmask_ros.io.bags.attack_capture import Capture, MissingFlags
from zmask_ros.io.bags.raw_messages import RawMessage

IMAGE = "sensor_msgs/msg/Image"
TOPIC = "/front/image_raw"
LARGE = 100 * 2**20


def flag(number: int) -> RawMessage:
    return RawMessage("/zmask/attack", "zmask_ros/msg/AttackFlag", number, b"flag")


def small(number: int, size: int = 1) -> RawMessage:
    return RawMessage(TOPIC, IMAGE, number, bytes(size))


@given(
    attacks=st.sets(st.integers(0, 60), max_size=6),
    before=st.integers(0, 20),
    after=st.integers(0, 20),
)
def test_flags_are_written_always_and_pictures_around_attacks(attacks: set[int], before: int, after: int) -> None:
    capture = Capture(before, after, LARGE)
    written = []
    for now in range(60):
        written += capture.picture(small(now), now)
        written += capture.flag(flag(now), now in attacks, now)
    assert [message.received_ns for message in written if message.topic != TOPIC] == list(range(60))
    assert [message.received_ns for message in written if message.topic == TOPIC] == [
        now for now in range(60) if any(attack - before <= now <= attack + after for attack in attacks if attack < 60)
    ]
    assert capture.given_up == 0


@given(numbers=st.permutations(range(5, 25)), lost=st.sets(st.integers(6, 23)))
def test_numbers_that_do_not_come_are_missed_whatever_the_order(numbers: list[int], lost: set[int]) -> None:
    check = MissingFlags()
    for sent, number in enumerate(number for number in numbers if number not in lost):
        check.add(number, 25 + sent)
    assert check.missing == len(lost)


def test_what_was_missed_is_not_forgotten_when_numbers_begin_anew() -> None:
    check = MissingFlags()
    assert check.missing == 0
    for number in (1, 2, 4, 1, 2, 3, 5):
        check.add(number, number)
    assert check.missing == 2


def test_the_memory_is_bounded_by_giving_up_the_oldest() -> None:
    capture = Capture(1000, 0, 500)
    for now in range(20):
        assert capture.picture(small(now, 100), now) == []
    assert [message.received_ns for message in capture.flag(flag(20), True, 20)] == [15, 16, 17, 18, 19, 20]
    assert capture.given_up == 15
