"""What of a bag is played, in which order and when, and with which quality of service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from support.bag_makers import TOPIC, picture, stamp_ns, write_drive, write_rosbag1, write_rosbag2
from zmask_ros.io.bags.offered_qos import OfferedQos, read_offered_qos
from zmask_ros.io.bags.playback import Playback, PlayedTime
from zmask_ros.io.bags.raw_messages import BagError
from zmask_ros.io.bags.writer import BagWriter

STRING = "std_msgs/msg/String"
BEST_EFFORT = OfferedQos(reliable=False)
LATCHED = OfferedQos(lasting=True)


def profile(reliable: bool, lasting: bool) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        7,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if lasting else QosDurability.VOLATILE,
        QosTime(0, 0),
        QosTime(0, 0),
        QosLiveliness.AUTOMATIC,
        QosTime(0, 0),
        False,
    )


def write_offers(path: Path, storage: StoragePlugin, version: Any) -> Path:
    store = get_typestore(Stores.ROS2_JAZZY)
    offers = {"/best": [(False, False)] * 2, "/latched": [(True, True)], "/mixed": [(False, False), (True, False)]}
    with Writer(path, version=version, storage_plugin=storage) as writer:
        for name, offered in {**offers, "/untold": []}.items():
            profiles = [profile(*one) for one in offered]
            connection = writer.add_connection(name, STRING, typestore=store, offered_qos_profiles=profiles)
            writer.write(connection, 1, store.serialize_cdr(store.types[STRING](data=name), STRING))
    return path


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_topics_are_played_as_they_were_recorded(tmp_path: Path, storage: StoragePlugin, version: int) -> None:
    bag = write_offers(tmp_path / "bag", storage, version)
    played = Playback(bag)
    offered = {topic.name: played.offered(topic) for topic in played.topics}
    played.close()
    assert offered == {"/best": BEST_EFFORT, "/latched": LATCHED, "/mixed": OfferedQos(), "/untold": OfferedQos()}


def test_a_file_alone_says_it_as_well(tmp_path: Path) -> None:
    bag = write_offers(tmp_path / "bag", StoragePlugin.MCAP, 9)
    played = Playback(next(bag.glob("*.mcap")))
    offered = {topic.name: played.offered(topic) for topic in played.topics}
    played.close()
    assert (offered["/best"], offered["/latched"]) == (BEST_EFFORT, LATCHED)


@pytest.mark.parametrize("text", ["", "- {", "- {history: 1}", "- {reliability: 1}", "12", "[]", "null"])
def test_what_cannot_be_understood_says_nothing(text: str) -> None:
    assert read_offered_qos(text) is None


def write_interleaved(path: Path, count: int = 6) -> Path:
    """Two topics that take turns, and one that is written last and was received first."""
    with BagWriter(path) as writer:
        store = get_typestore(Stores.ROS2_JAZZY)
        for index in range(count):
            topic = "/even" if index % 2 == 0 else "/odd"
            writer.write_message(topic, STRING, store.types[STRING](data=str(index)), stamp_ns(index))
        writer.write_message("/early", STRING, store.types[STRING](data="early"), stamp_ns(-1))
    return path


def test_messages_come_in_the_order_of_their_reception(tmp_path: Path) -> None:
    played = Playback(write_interleaved(tmp_path / "bag"))
    times = [message.received_ns for message in played.messages()]
    assert times == [stamp_ns(index) for index in range(-1, 6)]
    assert [message.received_ns for message in played.messages()] == times, "a loop plays the same"
    assert (played.start_ns, played.count, played.damage) == (stamp_ns(-1), 7, [])
    played.close()


def test_the_time_of_a_bag_begins_with_its_first_message_also_where_that_is_not_played(tmp_path: Path) -> None:
    played = Playback(write_interleaved(tmp_path / "bag"), ["/odd"])
    assert (played.start_ns, played.count) == (stamp_ns(-1), 3)
    played.close()


def test_topics_can_be_left_out_by_their_whole_name(tmp_path: Path) -> None:
    bag = write_interleaved(tmp_path / "bag")
    for expression, expected in {
        "/e.*": ["/odd"],
        "even": ["/early", "/even", "/odd"],
        "(/e.*)|(/o)": ["/odd"],
    }.items():
        played = Playback(bag, exclude=[expression])
        assert [topic.name for topic in played.topics] == expected
        played.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["/none"],), r"has no topic /none; it has /early, /even, /odd\."),
        (((), [".*"]), "can be played: it has no messages on the topics that were asked for"),
        (((), ["/x", "("]), r"^'\(' is not a regular expression: "),
    ],
)
def test_what_cannot_be_played_is_refused(tmp_path: Path, arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(BagError, match=words):
        Playback(write_interleaved(tmp_path / "bag"), *arguments)


def test_a_bag_of_ros_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=rf"can be played: {TOPIC} is serialized as 'ros1', and is not played\.$"):
        Playback(write_rosbag1(tmp_path / "drive.bag", 2, None))


def test_single_messages_are_uncompressed_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    bag = write_rosbag2(tmp_path / "bag", 3, StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    plain = Playback(write_rosbag2(tmp_path / "plain", 3, StoragePlugin.SQLITE3))
    played = Playback(bag)
    assert [one.data for one in played.messages()] == [one.data for one in plain.messages()]
    plain.close()
    played.close()
    data = zstandard.ZstdCompressor().compress(bytes(range(256)))
    with Writer(tmp_path / "damaged", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, STRING, typestore=get_typestore(Stores.ROS2_JAZZY))
        writer.write(connection, 1, data[:-20])
        writer.write(connection, 2, data)
    damaged = Playback(tmp_path / "damaged")
    assert [one.received_ns for one in damaged.messages()] == [2]
    assert damaged.damage == ["1 messages are damaged and were passed over"]
    damaged.close()


def test_pictures_are_played_as_they_lie_in_the_bag(tmp_path: Path) -> None:
    played = Playback(write_drive(tmp_path / "drive.mcap", 2))
    assert [picture(index).tobytes() in one.data for index, one in enumerate(played.messages())] == [True, True]
    played.close()


@given(st.integers(0, 2**62), st.floats(0.01, 100.0), st.integers(0, 10**12), st.integers(0, 10**12))
def test_time_goes_at_the_rate_and_messages_are_due_at_their_time(
    start_ns: int, rate: float, passed_ns: int, after_ns: int
) -> None:
    now = 12345
    played = PlayedTime(start_ns, rate, lambda: now)
    assert played.now_ns == start_ns
    now += passed_ns
    assert abs(played.now_ns - (start_ns + passed_ns * rate)) <= 1 + 1e-9 * passed_ns * rate + start_ns * 2e-16
    due_s = played.seconds_until(start_ns + after_ns)
    assert due_s == pytest.approx((after_ns / rate - passed_ns) / 1e9, abs=1e-6, rel=1e-9)
