"""The defense over the camera topic of a recorded bag, without ROS: what `zmask replay` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from zmask_ros.defense import Profile, load_profile
from zmask_ros.defense.drift.observation import OBSERVED_EVERY
from zmask_ros.defense.engine import Deployment, deploy_described
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import AlarmRule
from zmask_ros.flags.camera_flags import CameraFlags
from zmask_ros.flags.drift import Drift
from zmask_ros.flags.flag import Flag, FrameState, camera_name, profile_identity
from zmask_ros.flags.precaution import excess_advice
from zmask_ros.flags.topics import TRANSPORTS
from zmask_ros.inference import Runtime
from zmask_ros.io.bags.reader import CameraBags, ReadReport, StampedMessage
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.io.files import check_apart, check_place
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.io.images.video import Video
from zmask_ros.io.prefetch import prefetch
from zmask_ros.io.stamps import stamp_ns
from zmask_ros.progress import Progress, silent
from zmask_ros.resources import shipped_profile
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.runtime.flag_bag import FlagBag
from zmask_ros.runtime.patch_truth import FoundPatches, PatchTruth
from zmask_ros.runtime.picture_topics import draw_overlay
from zmask_ros.runtime.rerun_recording import RerunRecording
from zmask_ros.segmenters import build_segmenter, choose_device, read_description

# What an image topic has after the namespace of its camera.
_TRANSPORTED = tuple(f"/{transport}" for transport in TRANSPORTS)
IMAGE_SUFFIXES = (*(f"/image_raw{end}" for end in _TRANSPORTED), "/image_raw", "/image", *_TRANSPORTED)
DEFAULT_RATE_HZ = 15.0


@dataclass(frozen=True)
class ReplaySettings:
    """What is replayed, with what, and what is written.

    Attributes:
        bag: the recorded drive.
        segmenter: name, or YAML file.
        device: auto, cpu, cuda or cuda:N.
        runtime: what the network runs in; None: what its description says.
        graphs: folder that `zmask export` wrote; None: the description's.
        topic: the image topic; None takes the only one there is.
        every: replay each N-th frame only.
        observed_every: each so many-th frame of the bag is observed, to tell whether the profile fits.
        significant_bits: of 16-bit images, as `zmask_ros.io.images.codec.decode` takes them.
        profile: None takes the one that comes with the segmenter.
        threshold: the score above which a frame is flagged; None takes the profile's.
        streaming: screen clean frames, and take a known patch out in one pass, as the node does by default.
        output: bag to write, or None.
        overwrite: replace a bag that is there already.
        video: video of the overlays to write, or None.
        rerun: recording for the Rerun viewer to write, or None.
        view: open the Rerun viewer, and show each frame in it.
    """

    bag: Path
    segmenter: str
    device: str = "auto"
    runtime: Runtime | None = None
    graphs: Path | None = None
    topic: str | None = None
    every: int = 1
    observed_every: int = OBSERVED_EVERY
    significant_bits: int = AUTO_BITS
    profile: Path | None = None
    threshold: float | None = None
    streaming: bool = False
    output: Path | None = None
    overwrite: bool = False
    video: Path | None = None
    rerun: Path | None = None
    view: bool = False


@dataclass
class Replayed:
    """What was said of a drive.

    Attributes:
        flags: of its frames, in order.
        stamps_ns: of the frames, in nanoseconds.
        analyzed: of each frame, whether it was analyzed as a whole, and not left to the screening.
        drifts: how far the camera was from the profile after each frame.
        tracked: how many frames had a known patch, which was taken out in the one pass.
        alarms: how often the camera's alarm was raised.
        seconds: by the wall clock, reading and writing included.
        report: how reading went.
        engine: what the network ran in.
        engine_reason: why that was torch although an engine was tried; otherwise empty.
        precaution_rate: of clean frames, the share that the masking threshold was set for; None: it was set for none.
        patches: what was found of the patches whose places the bag tells; None: it tells none.
    """

    flags: list[Flag] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    analyzed: list[bool] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    tracked: int = 0
    alarms: int = 0
    seconds: float = 0.0
    report: ReadReport = field(default_factory=ReadReport)
    engine: str = ""
    engine_reason: str = ""
    precaution_rate: float | None = None
    patches: FoundPatches | None = None

    def warnings(self) -> list[str]:
        """What could not be read, and whether far more was masked than the profile leads to expect; in sentences."""
        clean = [flag.mask_fraction > 0.0 for flag in self.flags if flag.state is FrameState.CLEAN]
        excess = excess_advice(sum(clean) / max(1, len(clean)), len(clean), self.precaution_rate)
        return [*self.report.warnings(), *([excess] if excess else [])]


@dataclass(frozen=True)
class LoadedDefense:
    """A network as it is run, with its profile, of which a `profile_identity` tells the flags."""

    deployment: Deployment
    profile: Profile
    identity: str


def load_defense(settings: ReplaySettings) -> LoadedDefense:
    """What the settings name: the network, in what it is to run in, and its profile.

    Raises:
        ZmaskError: there is no such segmenter or profile, or it does not run in that.
    """
    description, device = read_description(settings.segmenter), choose_device(settings.device)
    path = settings.profile or shipped_profile(description.name)
    profile = load_profile(path)
    load = partial(build_segmenter, description, settings.device)
    deployment = deploy_described(description, load, device, profile, settings.runtime, settings.graphs)
    return LoadedDefense(deployment, profile, profile_identity(path))


def replay(settings: ReplaySettings, progress: Progress = silent, loaded: LoadedDefense | None = None) -> Replayed:
    """Run the defense over the frames of one camera topic, as fast as the machine allows.

    Args:
        settings: what is replayed, and what is written.
        progress: shows how far it is.
        loaded: what ``settings`` name, where it was loaded already.

    Raises:
        ZmaskError: something cannot be read or used, or a place cannot be written to; one sentence.
    """
    if settings.video is not None:
        check_place(settings.video)
    if settings.output is not None:
        check_apart(settings.output, settings.bag)
    done = Replayed()
    with ExitStack() as stack:
        bags = stack.enter_context(CameraBags(settings.bag, settings.topic, settings.every))
        loaded = loaded or load_defense(settings)
        camera = _ReplayedCamera(settings, loaded, bags.topic)
        write = stack.enter_context(_output(settings, bags, camera))
        truth = stack.enter_context(PatchTruth(settings.bag, bags.topics, camera.namespace))
        advance = stack.enter_context(progress("Replaying", "frames", bags.total))
        began = time.perf_counter()
        for message in stack.enter_context(prefetch(bags.messages(done.report))):
            result, flag = camera.process(message.message)
            done.flags.append(flag)
            done.stamps_ns.append(stamp_ns(message.message.header))
            done.analyzed.append(result.analyzed)
            done.drifts.append(camera.drift)
            done.tracked += result.tracked
            truth.add(done.stamps_ns[-1], result)
            write(message, result, flag)
            advance()
        _check_seen(done, bags.topic)
    done.alarms = camera.flags.alarm.raised
    done.precaution_rate, done.patches = camera.precaution_rate, truth.found
    done.engine, done.engine_reason = loaded.deployment.segmenter.engine, loaded.deployment.reason
    done.seconds = time.perf_counter() - began
    return done


def _check_seen(done: Replayed, topic: str) -> None:
    """A drive of which nothing was seen is not a clean one."""
    if all(flag.state is FrameState.UNKNOWN for flag in done.flags):
        reasons = "; ".join([done.flags[0].reason.rstrip("."), *done.report.warnings()])
        raise ZmaskError(f"Not one of the {len(done.flags)} frames of {topic} could be analyzed, the first: {reasons}.")


class _ReplayedCamera:
    """The camera of an image topic: its frames go the way that they go in the node."""

    def __init__(self, settings: ReplaySettings, loaded: LoadedDefense, topic: str) -> None:
        segmenter, profile = loaded.deployment.segmenter, loaded.profile
        self.namespace = next((topic.removesuffix(end) for end in IMAGE_SUFFIXES if topic.endswith(end)), topic)
        self.palette = segmenter.palette
        self.classes = segmenter.classes
        self.flags = CameraFlags(camera_name(self.namespace), AlarmRule(profile.vote))
        # As often as the node observes frames, in time.
        observed_every = max(1, settings.observed_every // settings.every)
        self._defended = DefendedCamera(segmenter, profile, observed_every=observed_every)
        if settings.threshold is not None:
            self._defended.defense.threshold = settings.threshold
        self._profile = loaded.identity
        self._significant_bits = settings.significant_bits
        self._stream = CameraStream() if settings.streaming else CameraStream(state=None)

    def process(self, message: Any) -> tuple[CameraResult, Flag]:
        """Defend one frame and flag it; none waits for its turn, since none is read before its turn."""
        began, stamp = time.perf_counter(), stamp_ns(message.header)
        sequence = self.flags.received()
        self.flags.jumped_back(stamp)
        result = self._defended.process(message, self._stream, self._significant_bits).after_waiting(0.0)
        latency_ms = (time.perf_counter() - began) * 1e3
        return result, self.flags.flag(result, self._profile, sequence, stamp, latency_ms)

    @property
    def precaution_rate(self) -> float | None:
        """Of clean frames, the share that the masking threshold in use was set for."""
        return self._defended.defense.precaution_rate

    @property
    def drift(self) -> Drift:
        """How far it is from the profile now."""
        return self._stream.drift


@contextmanager
def _output(
    settings: ReplaySettings, bags: CameraBags, camera: _ReplayedCamera
) -> Iterator[Callable[[StampedMessage, CameraResult, Flag], None]]:
    """What writes a frame into the bag, the video and the Rerun recording, as far as they are wanted."""
    with ExitStack() as stack:
        bag: FlagBag | None = None
        video: Video | None = None
        recording: RerunRecording | None = None
        if settings.output is not None:
            writer = stack.enter_context(BagWriter(settings.output, overwrite=settings.overwrite))
            bag = FlagBag(writer, camera.namespace, camera.palette, bags.camera_info())
        if settings.video is not None:
            video = stack.enter_context(Video(settings.video, bags.rate_hz() or DEFAULT_RATE_HZ))
        if settings.rerun is not None or settings.view:
            made = RerunRecording(settings.bag.name, camera.classes, settings.rerun, settings.view)
            recording = stack.enter_context(made)

        def write(message: StampedMessage, result: CameraResult, flag: Flag) -> None:
            if bag is not None:
                bag.write(message, result, flag)
            if video is not None and result.pictures is not None:
                video.add(draw_overlay(result, result.pictures, camera.palette))
            if recording is not None:
                recording.add(stamp_ns(message.message.header), result, flag)

        yield write
