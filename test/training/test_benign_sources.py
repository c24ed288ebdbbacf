"""Benign pictures of other cameras: from files, folders and bags; what is learned from is not compared on."""

import cv2
import numpy as np
import pytest

from support import tiny_network
from support.commands import record
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.training import benign_sources
from zmask_ros.training.benign_sources import BenignSources


@pytest.fixture
def folder(tmp_path):
    """Eight pictures and a text."""
    place = tmp_path / "roads"
    place.mkdir()
    for number in range(8):
        cv2.imwrite(str(place / f"{number}.png"), tiny_network.clean_image(number)[:, :, ::-1])
    (place / "SOURCES.md").write_text("of other cameras")
    return place


def numbers(images):
    """Which clean images they are."""
    return [next(n for n in range(200) if np.array_equal(own, tiny_network.clean_image(n))) for own in images]


def test_they_come_from_files_folders_and_bags_and_the_last_of_each_are_compared_on(segmenter, folder, tmp_path):
    bag = record(tmp_path / "other.mcap", map(tiny_network.clean_image, range(100, 112)))
    sources = BenignSources((folder, bag, folder / "1.png"))
    sources.check()
    found = sources.read(segmenter)
    assert numbers(found.taught) == [1, 0, 1, 2, 3, 4, 5, *range(100, 109)]
    assert numbers(found.compared) == [6, 7, 109, 110, 111]
    assert len(found.all) == 21


def test_of_many_some_are_chosen_evenly(segmenter, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(benign_sources, "MOST_PICTURES", 8)
    bag = record(tmp_path / "other.mcap", map(tiny_network.clean_image, range(100, 160)))
    found = BenignSources((folder, bag)).read(segmenter)
    chosen = sorted(numbers(found.all))
    assert len(chosen) == 8 and chosen[0] == 0 and chosen[3] == 7 and chosen[4] == 100 and chosen[-1] >= 150


@pytest.mark.parametrize("name", ["broken.png", "missing", "missing.png", "empty", "clip.mp4"])
def test_what_is_neither_is_refused_before_anything_is_read(folder, tmp_path, name):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "clip.mp4").write_bytes(b"no bag")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZmaskError, match=name):
        BenignSources((folder, tmp_path / name)).check()


def test_of_a_bag_with_two_cameras_the_topic_that_was_asked_for_is_read(segmenter, tmp_path):
    two_cameras = tmp_path / "two.mcap"
    with BagWriter(two_cameras) as bag:
        for index in range(8):
            topic = "/right/image_raw" if index >= 4 else "/left/image_raw"
            bag.write_image(topic, tiny_network.clean_image(index), "rgb8", 10**9 * (index + 1), "camera")
    with pytest.raises(ZmaskError, match="image topics: /left/image_raw"):
        BenignSources((two_cameras,)).check()
    found = BenignSources((two_cameras,), "/right/image_raw").read(segmenter)
    assert numbers(found.all) == [4, 5, 6, 7]
