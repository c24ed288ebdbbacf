"""`zmask replay`: the defence over a bag, without ROS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_table, progress, warn
from zmask_ros.defense import load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import Alarm, AlarmRule
from zmask_ros.flags.flag import STATE_CODES, AttackRecord, FrameState, RegionRecord, camera_name, profile_identity
from zmask_ros.flags.topics import ATTACK_TOPIC, CAMERA_INFO_TOPIC
from zmask_ros.io.bags.camera_info import CameraInfoFields
from zmask_ros.io.bags.reader import CameraBags, ReadReport, StampedMessage
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.io.files import check_place
from zmask_ros.io.images.video import Video
from zmask_ros.io.prefetch import ahead
from zmask_ros.io.stamps import stamp_ns
from zmask_ros.resources import shipped_profile
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.runtime.picture_topics import PICTURE_TOPICS, UNDEFENDED, draw_overlay
from zmask_ros.segmenters import load_segmenter

IMAGE_SUFFIXES = ("/image_raw/compressed", "/image_raw", "/image", "/compressed")
DEFAULT_RATE_HZ = 15.0


@dataclass
class Tally:
    """What came of a replay, and the camera's alarm on the way."""

    alarm: Alarm
    states: list[FrameState] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    masked: int = 0
    tracked: int = 0
    analysed: int = 0
    first_unknown: str = ""

    def add(self, result: CameraResult, stamp_ns: int, milliseconds: float) -> None:
        self.alarm.add(result.state, stamp_ns)
        self.states.append(result.state)
        self.stamps_ns.append(stamp_ns)
        self.frame_ms.append(milliseconds)
        self.masked += bool(result.mask_fraction > 0)
        self.tracked += result.tracked
        self.analysed += result.analysed
        if result.state is FrameState.UNKNOWN:
            self.first_unknown = self.first_unknown or result.reason
        else:
            # A glance's score is another head's: it says nothing about the thresholds.
            self.scores += [result.score] if result.analysed else []

    def summary(self, seconds: float) -> dict[str, Any]:
        """JSON-ready; ``seconds`` is the wall time of all frames, reading and writing included."""
        drive_s = (max(self.stamps_ns) - min(self.stamps_ns)) / 1e9 if self.stamps_ns else 0.0
        p50, p99 = _percentiles(self.scores)
        ms50, ms99 = _percentiles(self.frame_ms)
        return {
            "frames": len(self.states),
            "flagged": self.states.count(FrameState.ATTACK),
            "masked": self.masked,
            "alarms": self.alarm.raised,
            "unknown": self.states.count(FrameState.UNKNOWN),
            "segmented_once": self.tracked,
            "analysed_as_a_whole": self.analysed,
            "score_p50": p50,
            "score_p99": p99,
            "frame_ms_p50": ms50,
            "frame_ms_p99": ms99,
            "frames_per_s": len(self.states) / max(seconds, 1e-9),
            "times_real_time": drive_s / max(seconds, 1e-9),
        }


def _percentiles(values: list[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    p50, p99 = np.percentile(values, (50, 99))
    return float(p50), float(p99)


@click.command()
@click.argument("bag", type=click.Path(path_type=Path))
@options.topic
@options.segmenter
@click.option("--profile", type=click.Path(path_type=Path), help="Profile; by default the segmenter's shipped one.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Bag to write: OUT.mcap, or a folder.")
@click.option("--video", type=click.Path(path_type=Path), help="Video of the overlay: OUT.mp4.")
@click.option("--threshold", type=click.FloatRange(min=0), help="Flag above this score instead of the profile's.")
@click.option(
    "--streaming",
    is_flag=True,
    help="Glance at clean frames, and take a known patch out in one pass, as the node does by default.",
)
@options.every
@options.device
@click.option("--force", is_flag=True, help="Replace a bag that is there already.")
@options.as_json
def command(
    bag: Path,
    topic: str | None,
    segmenter: str,
    profile: Path | None,
    output: Path | None,
    video: Path | None,
    threshold: float | None,
    streaming: bool,
    every: int,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Run the defence over the camera topic of BAG, as fast as the machine allows; no ROS needed.

    The bag that is written has the topics that the node publishes, with the header stamps of the input, and the
    input image itself, so that RViz or Foxglove can show them side by side. Of frames that were segmented once only,
    with --streaming, there is no undefended segmentation.

    \b
      zmask replay drive_7 --topic /camera/image_raw -o out.mcap --video out.mp4
    """
    if video is not None:
        check_place(video)
    if output is not None:
        _check_apart(output, bag)
    with ExitStack() as stack:
        camera_bags = stack.enter_context(CameraBags(bag, topic, every))
        network = load_segmenter(segmenter, device)
        place = profile or shipped_profile(network.name)
        defended = DefendedCamera(network, load_profile(place))
        if threshold is not None:
            defended.threshold = threshold
        sink = stack.enter_context(_sink(defended, camera_bags, output, video, force))
        sink.profile = profile_identity(place)
        tally = Tally(Alarm(AlarmRule(defended.defense.profile.vote)))
        stream = CameraStream() if streaming else None
        report, began = ReadReport(), time.perf_counter()
        advance = stack.enter_context(progress("Replaying", "frames", camera_bags.total))
        for message in stack.enter_context(ahead(camera_bags.messages(report))):
            started = time.perf_counter()
            result = defended.process(message.message, stream)
            tally.add(result, stamp_ns(message.message.header), (time.perf_counter() - started) * 1e3)
            sink.write(message, result, tally)
            advance()
    _tell(report, tally, tally.summary(time.perf_counter() - began), as_json)


def _check_apart(output: Path, bag: Path) -> None:
    """Refuse a place whose replacement would take the bag away that is being read."""
    written, read = output.resolve(), bag.resolve()
    if written.is_relative_to(read) or read.is_relative_to(written):
        raise ZmaskError(f"{output} is the bag that is replayed, or lies in it or around it: name another place.")


class Sink:
    """Writes what the node would publish for each frame into a bag and a video, where they are wanted."""

    def __init__(self, defended: DefendedCamera, namespace: str, bag: BagWriter | None, video: Video | None) -> None:
        self._palette = defended.segmenter.palette
        self._namespace = namespace
        self._bag = bag
        self._video = video
        self.camera_info: CameraInfoFields | None = None
        self.profile = ""

    def write(self, message: StampedMessage, result: CameraResult, tally: Tally) -> None:
        """Write all topics of one frame, which is the last in ``tally``."""
        if self._bag is not None:
            self._write_bag(self._bag, message, result, tally)
        if self._video is not None and result.pictures is not None:
            self._video.add(draw_overlay(result, result.pictures, self._palette))

    def _write_bag(self, bag: BagWriter, message: StampedMessage, result: CameraResult, tally: Tally) -> None:
        stamp = tally.stamps_ns[-1]
        frame_id, received = message.message.header.frame_id, message.received_ns
        bag.write_message(message.topic, message.msgtype, message.message, received)
        record = AttackRecord(
            state=STATE_CODES[result.state.value],
            alarm=STATE_CODES[tally.alarm.state.value],
            camera=camera_name(self._namespace),
            reason=result.reason,
            score=result.score,
            threshold=result.threshold,
            masking_threshold=result.thresholds.masking,
            mask_fraction=result.mask_fraction,
            regions=tuple(RegionRecord(**vars(region)) for region in result.regions),
            latency_ms=tally.frame_ms[-1],
            stages_ms=result.stages_ms,
            profile=self.profile,
            sequence=len(tally.states),
            received=len(tally.states),
            processed=len(tally.scores),
            failed=len(tally.states) - len(tally.scores),
        )
        bag.write_attack(self._topic(ATTACK_TOPIC), record, stamp, frame_id, received)
        if self.camera_info is not None:
            bag.write_camera_info(self._topic(CAMERA_INFO_TOPIC), self.camera_info, stamp, frame_id, received)
        if result.pictures is None:
            return
        for topic in PICTURE_TOPICS if result.tracked else (*PICTURE_TOPICS, UNDEFENDED):
            picture = topic.draw(result, result.pictures, self._palette)
            bag.write_image(self._topic(topic.name), picture, topic.encoding, stamp, frame_id, received)

    def _topic(self, name: str) -> str:
        return f"{self._namespace}/{name}"


@contextmanager
def _sink(
    defended: DefendedCamera, bags: CameraBags, output: Path | None, video: Path | None, force: bool
) -> Iterator[Sink]:
    with ExitStack() as stack:
        bag = stack.enter_context(BagWriter(output, overwrite=force)) if output else None
        film = stack.enter_context(Video(video, bags.rate_hz() or DEFAULT_RATE_HZ)) if video else None
        sink = Sink(defended, _namespace(bags.topic), bag, film)
        sink.camera_info = bags.camera_info()
        yield sink


def _namespace(topic: str) -> str:
    """The camera's namespace: the image topic without its last part(s)."""
    for suffix in IMAGE_SUFFIXES:
        if topic.endswith(suffix):
            return topic.removesuffix(suffix)
    return topic


def _tell(report: ReadReport, tally: Tally, summary: dict[str, Any], as_json: bool) -> None:
    for sentence in report.truncated:
        warn(sentence)
    if report.broken:
        warn(f"{report.broken} messages could not be deserialised, the first: {report.first_broken}")
    if tally.first_unknown:
        warn(f"{summary['unknown']} frames are unknown, the first: {tally.first_unknown}")
    if as_json:
        print_json(summary)
        return
    print_table("Replay", {name: figure(value) for name, value in summary.items()})
