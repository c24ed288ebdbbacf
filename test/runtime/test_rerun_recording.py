"""What a replay writes for the Rerun viewer, read by Rerun's own reader; and its bag by Rerun's and Foxglove's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from support import TESTS, bag_makers, tiny_network
from support.patched_street import attacked_image
from support.rerun_reader import STATIC, loaded, logged, pictures
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.runtime.camera import CameraResult, DefendedCamera
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay
from zmask_ros.runtime.rerun_recording import RerunRecording
from zmask_ros.segmenters import Segmenter, load_segmenter

rerun = pytest.importorskip("rerun", reason="the Rerun SDK is not installed")

TOPIC = "/front/image_raw"
IMAGES = [tiny_network.clean_image(0), attacked_image(), attacked_image(1), tiny_network.clean_image(1)]
STAMPS = [1_700_000_000_000_000_000 + index * 66_666_667 for index in range(len(IMAGES) + 1)]
SEEN = range(1, len(IMAGES) + 1)
"""The numbers of the frames that were seen; the one behind them was not."""
CLASSES = {"road": (128, 64, 128), "sky": (70, 130, 180), "car": (0, 0, 142)}


@dataclass(frozen=True)
class Recorded:
    """A replay of four frames that are seen and one that is not, with what it wrote and what is right."""

    done: Replayed
    rrd: Path
    bag: Path
    results: list[CameraResult]
    segmenter: Segmenter

    def pictures(self, entity: str, archetype: str) -> dict[int, np.ndarray]:
        """By the frames' numbers."""
        return pictures(
            logged(self.rrd, entity, f"{archetype}:format"), logged(self.rrd, entity, f"{archetype}:buffer")
        )

    def loaded(self, topic: str) -> list[np.ndarray]:
        """A topic of the bag that Rerun takes for depth, which it takes mono8 and 32FC1 for."""
        entity = f"/front/zmask/{topic}"
        made = pictures(loaded(self.bag, entity, "DepthImage:format"), loaded(self.bag, entity, "DepthImage:buffer"))
        return [made[stamp] for stamp in sorted(made)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, places: tuple[Path, Path]) -> Recorded:
    folder = tmp_path_factory.mktemp("rerun")
    with BagWriter(folder / "drive") as bag:
        for image, stamp in zip(IMAGES, STAMPS, strict=False):
            bag.write_image(TOPIC, image, "rgb8", stamp, "front")
        bag.write_serialized(TOPIC, bag_makers.IMAGE, bag_makers.image_bytes(9, encoding="rgb9"), STAMPS[-1])
    description, profile_file = places
    rrd, output = folder / "out.rrd", folder / "out.mcap"
    settings = ReplaySettings(folder / "drive", str(description), "cpu", profile=profile_file, rerun=rrd, output=output)
    done = replay(settings)
    segmenter = load_segmenter(str(description), "cpu")
    from zmask_ros.defense import load_profile

    camera = DefendedCamera(segmenter, load_profile(profile_file))
    results = [camera.process_image(image) for image in IMAGES]
    assert {result.state for result in results} == {FrameState.CLEAN, FrameState.ATTACK}
    return Recorded(done, rrd, output, results, segmenter)


def test_labels_are_segmentation_images_with_the_names_and_colors_of_the_classes(recorded: Recorded) -> None:
    labels = recorded.pictures("/camera/segmentation", "SegmentationImage")
    assert list(labels) == list(SEEN)
    for number, result in zip(SEEN, recorded.results, strict=True):
        assert result.pictures is not None and np.array_equal(labels[number], result.pictures.labels)
    (context,) = logged(recorded.rrd, "/camera", "AnnotationContext:context")[STATIC]
    named = {one["class_id"]: one["class_description"]["info"] for one in context}
    for index, (name, color) in enumerate(recorded.segmenter.classes.items()):
        assert named[index]["label"] == name
        assert named[index]["color"] == int.from_bytes(bytes((*color, 255)))


def test_pictures_are_what_the_defense_gives(recorded: Recorded) -> None:
    masks = recorded.pictures("/camera/mask", "SegmentationImage")
    heats = recorded.pictures("/camera/heat", "DepthImage")
    images = logged(recorded.rrd, "/camera/image", "EncodedImage:blob")
    assert list(masks) == list(heats) == list(images) == list(SEEN)
    for number, image, result in zip(SEEN, IMAGES, recorded.results, strict=True):
        assert result.pictures is not None
        assert np.array_equal(masks[number], result.pictures.mask > 0)
        assert heats[number].shape == (12, 16)
        assert heats[number].mean() == pytest.approx(result.pictures.heat.mean(), rel=1e-2, abs=1e-4)
        jpeg = cv2.imdecode(np.array(images[number][0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert jpeg.shape == image.shape and np.abs(jpeg.astype(int) - image).mean() < 8


def test_boxes_are_where_regions_are(recorded: Recorded) -> None:
    centers = logged(recorded.rrd, "/camera/regions", "Boxes2D:centers")
    halves = logged(recorded.rrd, "/camera/regions", "Boxes2D:half_sizes")
    assert any(halves[number] for number in SEEN)
    for number, result in zip(SEEN, recorded.results, strict=True):
        found = zip(centers[number], halves[number], strict=True)
        boxes = [(x - w, y - h, 2 * w, 2 * h) for (x, y), (w, h) in found]
        assert boxes == [(one.x, one.y, one.width, one.height) for one in result.regions]


def test_scores_and_thresholds_lie_at_the_stamps_of_the_messages(recorded: Recorded) -> None:
    scores = logged(recorded.rrd, "/scores/score", "Scalars:scalars", "stamp")
    assert sorted(scores) == sorted([*STAMPS[:-1], bag_makers.stamp_ns(9)])
    assert [score for (score,) in scores.values()] == pytest.approx(
        [flag.score for flag in recorded.done.flags], nan_ok=True
    )
    for name in ("threshold", "masking_threshold"):
        said = logged(recorded.rrd, f"/scores/{name}", "Scalars:scalars").values()
        assert [value for (value,) in said] == [getattr(flag, name) for flag in recorded.done.flags]


def test_states_and_reasons_are_there_where_they_change(recorded: Recorded) -> None:
    for name in ("state", "alarm"):
        states = [getattr(flag, name).name for flag in recorded.done.flags]
        changes = {i + 1: [state] for i, state in enumerate(states) if i == 0 or state != states[i - 1]}
        assert logged(recorded.rrd, f"/flag/{name}", "StateChange:state") == changes
    said = logged(recorded.rrd, "/flag/said", "TextLog:text")
    assert "UNKNOWN" in said[len(IMAGES) + 1][0] and "rgb9" in said[len(IMAGES) + 1][0]


def test_a_frame_that_was_not_seen_clears_the_picture_of_the_one_before(recorded: Recorded) -> None:
    assert logged(recorded.rrd, "/camera", "Clear:is_recursive") == {len(IMAGES) + 1: [True]}


def test_everything_is_laid_out(recorded: Recorded) -> None:
    (blueprint,) = rerun.chunk.RrdReader(recorded.rrd).blueprints()
    batches = [one.to_record_batch() for one in rerun.chunk.RrdReader(recorded.rrd).stream(store=blueprint).to_chunks()]
    name = "ViewBlueprint:class_identifier"
    kinds = sorted(kind for one in batches if name in one.schema.names for (kind,) in one.column(name).to_pylist())
    assert kinds == ["2D"] * 4 + ["StateTimeline", "TextLog", "TimeSeries"]


def test_foxglove_reads_the_bag_and_finds_the_labels(recorded: Recorded) -> None:
    read: dict[str, list[np.ndarray]] = {}
    with recorded.bag.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            if channel.topic.endswith(("segmentation", "zmask/mask")):
                assert message.encoding == "mono8"
                pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
                read.setdefault(channel.topic, []).append(pixels[:, : message.width])
            elif channel.topic.endswith("attack"):
                read.setdefault("states", []).append(np.array(message.state))
    assert [int(state) for state in read["states"]] == [int(flag.state) for flag in recorded.done.flags]
    assert np.array_equal(read["/front/zmask/segmentation"], [one.pictures.labels for one in recorded.results])
    assert np.array_equal(read["/front/zmask/mask"], [one.pictures.mask for one in recorded.results])


def test_rerun_loads_the_bag_and_finds_the_labels(recorded: Recorded) -> None:
    assert np.array_equal(recorded.loaded("segmentation"), [one.pictures.labels for one in recorded.results])
    assert np.array_equal(recorded.loaded("mask"), [one.pictures.mask for one in recorded.results])
    assert recorded.loaded("heat")[1].max() == recorded.results[1].pictures.heat.max()
    colored = loaded(recorded.bag, "/front/zmask/segmentation_color", "Image:buffer")
    palette = recorded.segmenter.palette
    for result, (buffer,) in zip(recorded.results, colored.values(), strict=True):
        assert np.array_equal(np.array(buffer, np.uint8), palette[result.pictures.labels].reshape(-1))


def flag_of(result: CameraResult, number: int) -> Flag:
    return Flag(
        **{name: getattr(result, name) for name in CameraResult.__mro__[1].__dataclass_fields__}, sequence=number
    )


def test_after_ctrl_c_the_frames_so_far_are_kept(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "out.rrd"
    with pytest.raises(KeyboardInterrupt), RerunRecording("drive", CLASSES, path) as recording:  # noqa: PT012
        recording.add(1, recorded.results[0], flag_of(recorded.results[0], 1))
        raise KeyboardInterrupt
    assert list(logged(path, "/scores/score", "Scalars:scalars")) == [1]
    rerun.chunk.RrdReader(path).store()
    assert [file.name for file in tmp_path.iterdir()] == ["out.rrd"]


@pytest.mark.parametrize("error", [ZmaskError, KeyboardInterrupt])
def test_nothing_is_left_of_a_recording_without_frames_or_with_an_error(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error), RerunRecording("drive", CLASSES, tmp_path / "out.rrd"):
        raise error("no")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing_and_the_command_ends(
    recorded: Recorded, places: tuple[Path, Path], tmp_path: Path
) -> None:
    description, profile = places
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    with BagWriter(tmp_path / "drive") as bag:
        for stamp in STAMPS:
            bag.write_image(TOPIC, noise, "rgb8", stamp, "front")
    (out := tmp_path / "out").mkdir()
    command = ["zmask", "replay", tmp_path / "drive", "--segmenter", description, "--profile", profile]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 300 && exec "$@"', "bash", *command, "--device", "cpu", "--rerun", out / "out.rrd"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
    )
    assert (done.returncode, list(out.iterdir())) == (2, []), done.stderr
    assert "could not be written whole: is the disk full?" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_the_sdk_is_missing_a_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ZmaskError, match="The Rerun SDK is not installed: pip install"):
        RerunRecording("drive", CLASSES, tmp_path / "out.rrd")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZmaskError, match=r"A Rerun recording ends in \.rrd; 'drive.mcap' does not"):
        RerunRecording("drive", CLASSES, tmp_path / "drive.mcap")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a display")
def test_without_a_display_no_viewer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ZmaskError, match="There is no display for the Rerun viewer: write a file with --rerun"):
        RerunRecording("drive", CLASSES, view=True)
