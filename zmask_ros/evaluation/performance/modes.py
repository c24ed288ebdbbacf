"""What the defense costs in each of torch's modes: as it is, compiled with CUDA graphs, in half precision.

These are questions of a GPU. There the operations of a frame are short, and starting each of them, and waiting on the
host for what they say, may cost more than they do. All of it also runs on a CPU, where nothing is waited for.

The networks have random weights and the head is not trained: what they say is meaningless, but their cost is the same.
So thresholds decide what becomes of a frame, and the patch that is known is learned from where it was pasted.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from zmask_ros.defense import KEYFRAME_INTERVAL_S, CameraState, Defense, Profile, tap
from zmask_ros.defense.evidence.grid import area_resample
from zmask_ros.defense.masking.soft_region import OPEN
from zmask_ros.defense.streaming.sighting import Sighting
from zmask_ros.defense.streaming.tracking import Tracker
from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.evaluation.performance.benchmark import CAMERA_RATE_HZ, CASES, attacked_frames, clean_frames
from zmask_ros.evaluation.performance.scaling import (
    TORCHVISION,
    torchvision_segmenter,
    untrained_profile,
    with_untrained_screen,
)
from zmask_ros.evaluation.performance.timing import (
    WARM_UP,
    Contender,
    Defend,
    PairedTimes,
    Quartiles,
    streaming_defend,
    time_pairs,
    timed_in_turn,
)
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.segmenters.labels import labels_of
from zmask_ros.segmenters.precision import compile_blocks

NETWORKS = ("lraspp_mobilenet_v3_large", "deeplabv3_resnet50")
SIZES = ((1280, 720), (2048, 1024))
"""Widths and heights of the images, which are the network's input as they are."""
CAMERAS = 4
"""Number of frames in a batch."""
PROFILED_FRAMES = 10
FAR = 1e30
"""A threshold that no score reaches, but that of a patch which is known."""
THRESHOLDS = {"clean": math.inf, "full": math.inf, "two_pass": -math.inf, "tracked": FAR}
LONG_NS = 10**18
FRAME = "zmask: one frame"
SYNCHRONIZATIONS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
COPY = "Memcpy DtoH"
"""Beginning of the name of a copy from the device to the host."""


@dataclass(frozen=True)
class Mode:
    """How torch runs a network.

    Attributes:
        precision: as torch calls it.
        graphs: whether its blocks are compiled, with CUDA graphs where there is CUDA.
    """

    precision: str
    graphs: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{'compiled, CUDA graphs' if self.graphs else 'eager'}, {self.precision}"


MODES = tuple(Mode(own, graphs) for graphs in (False, True) for own in ("float32", "float16", "bfloat16"))
EAGER = MODES[0]


@dataclass(frozen=True)
class Waits:
    """What makes the host wait for the device, in a frame on average.

    Attributes:
        synchronizations: calls that wait.
        copies: copies from the device to the host.
    """

    synchronizations: float
    copies: float


@dataclass(frozen=True)
class BatchTimes:
    """Medians of milliseconds for one frame of each of `CAMERAS` cameras.

    Attributes:
        plain: of the plain network, all in one batch.
        defended: of the defense, analyzed as a whole, all in one batch.
        one_by_one: of the defense, one frame after the other.
    """

    plain: float
    defended: float
    one_by_one: float


@dataclass(frozen=True)
class ModeTimes:
    """A network in one mode.

    Attributes:
        network: its builder.
        size: of the images, WIDTHxHEIGHT.
        mode: name of the mode.
        cases: times of each case in the eager network in float32 and, as those of an engine, in this mode.
        waits: by case.
        batch: None where it was not measured.
        reason: why nothing was measured; otherwise empty.
    """

    network: str
    size: str
    mode: str
    cases: Mapping[str, PairedTimes] = field(default_factory=dict)
    waits: Mapping[str, Waits] = field(default_factory=dict)
    batch: BatchTimes | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Rounded figures, JSON-ready."""
        told: dict[str, Any] = {"network": self.network, "size": self.size, "mode": self.mode}
        if self.reason:
            return told | {"reason": self.reason}
        told["cases"] = {case: _figures(times, self.waits[case]) for case, times in self.cases.items()}
        if self.batch is not None:
            told["batch"] = {"cameras": CAMERAS} | {
                f"{name}_ms": round(value, 3) for name, value in vars(self.batch).items()
            }
        return told


def own_times(times: PairedTimes) -> PairedTimes:
    """The times in the mode itself."""
    return times if times.engine is None else times.engine


def _figures(times: PairedTimes, waits: Waits) -> dict[str, float]:
    own = own_times(times)
    figures = {
        "plain_ms": Quartiles.of(own.plain).median,
        "defended_ms": Quartiles.of(own.defended).median,
        "ratio": own.ratio.median,
        "over_eager_plain": times.to_plain(own.defended).median,
        "plain_over_eager_plain": times.to_plain(own.plain).median,
        "synchronizations": waits.synchronizations,
        "copies_to_host": waits.copies,
    }
    counts = {"frames": len(own.plain), "segmented_twice": own.twice, "tracked": own.tracked, "analyzed": own.analyzed}
    return {name: round(value, 4) for name, value in figures.items()} | counts


def measure_modes(
    device: str,
    sizes: Sequence[tuple[int, int]],
    frames: int,
    picture: np.ndarray,
    progress: Progress = silent,
) -> list[ModeTimes]:
    """Measure `NETWORKS` in all of `MODES`.

    Args:
        device: where.
        sizes: widths and heights of the images.
        frames: of each case, >= 1.
        picture: uint8 [h, w, 3] RGB, pasted into the attacked frames.
        progress: counts modes.
    """
    found = []
    with progress("Timing modes", "modes", len(NETWORKS) * len(sizes) * len(MODES)) as advance:
        for builder, (width, height) in itertools.product(NETWORKS, sizes):
            subject = ModeSubject.of(torchvision_segmenter(builder, (height, width), device), frames, picture)
            for mode in MODES:
                found.append(subject.measure(mode))
                advance(note=f"{builder}, {width}x{height}, {mode.name}")
    return found


@dataclass(frozen=True)
class ModeSubject:
    """A network that is measured in several modes.

    Attributes:
        segmenter: eager, float32.
        profile: with a head and a screen that are not trained.
        images: of each case, uint8 [h, w, 3].
        known: a camera that has just seen the patch of the tracked case.
    """

    segmenter: Segmenter
    profile: Profile
    images: Mapping[str, Sequence[np.ndarray]]
    known: CameraState

    @staticmethod
    def of(segmenter: Segmenter, frames: int, picture: np.ndarray) -> ModeSubject:
        """A network of `TORCHVISION`, with so many frames of each case."""
        height, width = segmenter.input_size
        layers, clean = TORCHVISION[segmenter.name], clean_frames(frames, width, height)
        profile = with_untrained_screen(segmenter, untrained_profile(segmenter, clean, layers), clean, layers)
        attacked = attacked_frames(clean, picture)
        # A patch that stands still costs what one does that moves, and is found again in any network.
        still = [attacked[0]] * frames
        images = {"clean": clean, "full": clean, "two_pass": attacked, "tracked": still}
        return ModeSubject(segmenter, profile, images, known_patch(segmenter, profile, clean[0], attacked[0]))

    def measure(self, mode: Mode) -> ModeTimes:
        """All cases in one mode; with a reason instead where the network cannot be run in it."""
        height, width = self.segmenter.input_size
        told = self.segmenter.name, f"{width}x{height}", mode.name
        try:
            segmenter = in_mode(self.segmenter, mode)
            cases = {case: self._time(segmenter, case, mode) for case in CASES}
            waits = {case: self._waits(segmenter, case) for case in CASES}
            return ModeTimes(*told, cases, waits, self._batch(segmenter))
        # A missing compiler, too little memory, and operations that a precision lacks are reported in many ways.
        except Exception as error:
            return ModeTimes(*told, reason=describe_error(error)[:200])
        finally:
            torch.compiler.reset()

    def _time(self, segmenter: Segmenter, case: str, mode: Mode) -> PairedTimes:
        other = None if mode == EAGER else Contender(segmenter, self.defend(segmenter, case))
        return time_pairs(self.segmenter, self.defend(self.segmenter, case), self.images[case], engine=other)

    def defend(self, segmenter: Segmenter, case: str) -> Defend:
        """The defense of a network in one of `CASES`."""
        defense = Defense(segmenter, self.profile)
        defense.threshold = THRESHOLDS[case]
        if case == "clean":
            return streaming_defend(defense, CAMERA_RATE_HZ, KEYFRAME_INTERVAL_S)
        return streaming_defend(defense, CAMERA_RATE_HZ, math.inf, self.known) if case == "tracked" else defense

    def _waits(self, segmenter: Segmenter, case: str) -> Waits:
        defend, images = self.defend(segmenter, case), itertools.cycle(self.images[case])
        for image in itertools.islice(images, WARM_UP):
            defend(segmenter.prepare(image))
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if segmenter.device.type == "cuda" else [])]
        with profile(activities=kinds, acc_events=True) as profiler:
            for image in itertools.islice(images, PROFILED_FRAMES):
                with record_function(FRAME):
                    defend(segmenter.prepare(image))
        return count_waits(profiler.events())

    def _batch(self, segmenter: Segmenter) -> BatchTimes:
        clean, defense = self.images["full"], self.defend(segmenter, "full")
        batch = [clean[index % len(clean)] for index in range(CAMERAS)]

        @torch.inference_mode()
        def plain(images: Sequence[np.ndarray]) -> Tensor:
            return labels_of(segmenter.scores(_together(segmenter, images)), segmenter.input_size)

        def defended(images: Sequence[np.ndarray]) -> object:
            return defense(_together(segmenter, images))

        def one_by_one(images: Sequence[np.ndarray]) -> object:
            return [defense(segmenter.prepare(image)) for image in images]

        calls = plain, defended, one_by_one
        for _ in range(WARM_UP):
            for call in calls:
                call(batch)
        times = timed_in_turn(segmenter.device, calls, [batch] * len(clean))
        return BatchTimes(*(Quartiles.of(own).median for own in zip(*times, strict=True)))


def _together(segmenter: Segmenter, images: Sequence[np.ndarray]) -> Tensor:
    """Images as one batch [B, 3, h, w]."""
    return torch.cat([segmenter.prepare(image) for image in images])


class _GraphedSegmenter(Segmenter):
    """A segmenter whose blocks run as CUDA graphs, each of which keeps its output until the next frame."""

    def prepare(self, image: np.ndarray) -> Tensor:
        """As `Segmenter.prepare`; from here on, what graphs put out for the last frame may be written over."""
        torch.compiler.cudagraph_mark_step_begin()
        return super().prepare(image)


def in_mode(segmenter: Segmenter, mode: Mode) -> Segmenter:
    """A network that is eager and in float32, in another mode."""
    if mode == EAGER:
        return segmenter
    network = nn.Module.to(copy.deepcopy(segmenter.network), getattr(torch, mode.precision))
    if mode.graphs:
        compile_blocks(network, "reduce-overhead")
    kind = _GraphedSegmenter if mode.graphs else Segmenter
    return kind(segmenter.description, network, segmenter.digest, segmenter.device)


@torch.inference_mode()
def known_patch(segmenter: Segmenter, profile: Profile, clean: np.ndarray, attacked: np.ndarray) -> CameraState:
    """A camera that has seen a patch for long, last at time 0, and can find it again.

    Args:
        segmenter: the network.
        profile: of it.
        clean: an image without the patch, uint8 [H, W, 3].
        attacked: the same with it.

    Raises:
        ZmaskError: the patch looks like the street to this network.
    """
    tracker = Tracker(profile).to(segmenter.device)
    pasted = torch.from_numpy((clean != attacked).any(2)[None, None]).to(segmenter.device, torch.float32)
    region = area_resample(pasted, tracker.grid) > OPEN
    with tap(segmenter, (tracker.layer,)) as taps:
        segmenter.scores(segmenter.prepare(attacked))
        track = tracker.learn(tracker.features(taps[tracker.layer]), region, 10 * FAR, heat=1.0)
    if track is None:
        raise ZmaskError(f"The patch cannot be told from the street in layer {tracker.layer}: use another --patch.")
    return CameraState(Sighting(region, -LONG_NS, 0, (10 * FAR,)), track, keyframe_ns=-1, last_ns=0)


def count_waits(events: Iterable[Any]) -> Waits:
    """What makes the host wait, of the events of a profile in which each frame has one called `FRAME`."""
    events = list(events)
    # A range that the host marks is shown on the device as well.
    on_host = torch.autograd.DeviceType.CPU
    frames = [event.time_range for event in events if event.name == FRAME and event.device_type == on_host]

    def within(event: Any) -> bool:
        # The profiler waits for the device itself where it ends.
        return any(frame.start <= event.time_range.start <= frame.end for frame in frames)

    waits = sum(within(event) for event in events if event.name in SYNCHRONIZATIONS)
    copies = sum(event.name.startswith(COPY) for event in events)
    return Waits(waits / len(frames), copies / len(frames))
