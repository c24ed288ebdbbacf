"""No bag is read short without a word, and none is called damaged that is whole; ZMASK_BAGS says how many are tried."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType

from support.bag_habits import TOPIC, Habits, McapHabits, SqliteHabits, picture, stamp_ns, whole_bags, write_bag
from zmask_ros.io.bags.contents import bag_contents
from zmask_ros.io.bags.reader import BagError, CameraBags, Frame, ReadReport

EXAMPLES = int(os.environ.get("ZMASK_BAGS", "40"))
_ONE_FILE: dict[str, Any] = {"folder": "", "parts": 1, "metadata": None, "twin": ""}
_ONE_DATABASE = Habits(
    storage=SqliteHabits(layout=3, index=True, log=""),
    count=1,
    set_back=0,
    typename="sensor_msgs/msg/Image",
    definition="whole",
    others=(),
    **_ONE_FILE,
)
_WITH_ATTACHMENT = replace(
    _ONE_DATABASE,
    storage=McapHabits(
        chunks=True,
        chunk_size=1,
        compression=CompressionType.ZSTD,
        index=IndexType.CHUNK,
        unindexed="",
        repeat_channels=True,
        repeat_schemas=False,
        statistics=True,
        summary_offsets=False,
        checksums=False,
        profile="",
        attachment=True,
    ),
    definition="empty",
)
_TRIED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(path: Path) -> tuple[list[Frame], ReadReport]:
    report = ReadReport()
    with CameraBags(path, TOPIC) as bags:
        return list(bags.frames(report)), report


def assert_right(frames: list[Frame], habits: Habits) -> None:
    """Each frame is one of the drive, and none comes twice."""
    indices = [next(i for i in range(habits.count) if stamp_ns(habits, i) == frame.stamp_ns) for frame in frames]
    assert len(set(indices)) == len(indices)
    for index, frame in zip(indices, frames, strict=True):
        assert np.array_equal(frame.image, picture(index))


@_TRIED
@given(whole_bags())
def test_a_whole_bag_is_read_whole_and_without_a_word(habits: Habits) -> None:
    with tempfile.TemporaryDirectory() as place:
        bag = write_bag(Path(place), habits)
        contents = bag_contents(bag)
        frames, report = read(bag)
    assert report.warnings() == []
    assert contents.damage == ()
    assert [topic.messages for topic in contents.topics if topic.is_read] == [habits.count]
    assert len(frames) == habits.count
    assert_right(frames, habits)


@_TRIED
@given(whole_bags(), st.floats(0, 1), st.data())
def test_a_bag_of_which_something_is_lost_is_not_read_short_without_a_word(
    habits: Habits, share: float, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        bag = write_bag(Path(place), habits)
        files = sorted(file for file in bag.parent.rglob("*") if file.is_file())
        damaged = data.draw(st.sampled_from(files))
        loss = data.draw(st.sampled_from(["cut", "zeros"] if len(files) == 1 else ["cut", "zeros", "removed"]))
        note(f"{damaged.name} {loss}")
        lose(damaged, loss, share)
        try:
            frames, report = read(bag)
        except BagError:
            return
    # Zeros in a picture are seen where there is a checksum, and not every bag has one.
    if loss != "zeros":
        assert_right(frames, habits)
    if len(frames) < habits.count:
        assert report.warnings() or is_lost_without_a_trace(habits, damaged, loss)


@_TRIED
# All messages are before the place where it is cut.
@example(_ONE_DATABASE, _ONE_DATABASE, 0.4375, 0.0)
# What follows makes up for the length that is lost.
@example(_ONE_DATABASE, _ONE_DATABASE, 0.4375, 1.0)
# An attachment is cut by as much as the next file's first records are long.
@example(_WITH_ATTACHMENT, _ONE_DATABASE, 0.359375, 1.0)
@given(whole_bags(), whole_bags(), st.floats(0, 1), st.floats(0, 1))
def test_files_one_behind_the_other_in_one_are_not_read_short_without_a_word(
    first: Habits, second: Habits, share_of_first: float, share_of_second: float
) -> None:
    # A log is one database's.
    storage = replace(first.storage, log="") if isinstance(first.storage, SqliteHabits) else first.storage
    first, second = (replace(habits, **_ONE_FILE, storage=storage) for habits in (first, second))
    with tempfile.TemporaryDirectory() as place:
        bag, other = (write_bag(Path(tempfile.mkdtemp(dir=place)), habits) for habits in (first, second))
        for path, share in ((bag, share_of_first), (other, share_of_second)):
            # Half of them are whole.
            if share < 0.5:
                lose(path, "cut", 0.2 + share)
        bag.write_bytes(bag.read_bytes() + other.read_bytes())
        try:
            contents = bag_contents(bag)
            _, report = read(bag)
        except BagError:
            return
    assert contents.damage and report.warnings()


def lose(path: Path, loss: str, share: float) -> None:
    size = path.stat().st_size
    if loss == "removed":
        path.unlink()
    elif loss == "cut":
        os.truncate(path, int(size * share))
    else:
        with path.open("r+b") as stream:
            stream.seek(int(size * share))
            stream.write(bytes(min(100, size - int(size * share))))


def is_lost_without_a_trace(habits: Habits, damaged: Path, loss: str) -> bool:
    """Nothing in the world counts what was there.

    A file that is gone and that no metadata.yaml counts; a write-ahead log, whose checksums make SQLite take what is
    behind a damaged part for what was never finished; bytes of a database or of an mcap without checksums and counts.
    """
    if habits.metadata is not None and habits.metadata.topics in ("right", "short types"):
        return False
    if loss == "removed" or damaged.name.endswith(("-wal", "-shm")):
        return True
    has_checksums = isinstance(habits.storage, McapHabits) and habits.storage.checksums
    return loss == "zeros" and not has_checksums
