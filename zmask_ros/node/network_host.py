"""One network for all cameras: loaded once, with each camera's profile, and kept going when it fails.

Only here the node imports torch, and only when the network is loaded.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.flags.flag import profile_identity
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.node.device_errors import is_device_error, is_out_of_memory
from zmask_ros.node.mailbox import Arrival
from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.resources import shipped_profile

if TYPE_CHECKING:
    from zmask_ros.defense import Profile
    from zmask_ros.inference import Runtime
    from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
    from zmask_ros.segmenters import Segmenter

GRAY = 127
SMALL_BATCH_S = 30.0
"""After memory ran out, batches stay smaller for so long."""

Report = Callable[[Sequence[str], Exception], None]
Reloading = Callable[[], AbstractContextManager[None]]
Say = Callable[[str], object]


class NetworkHost:
    """The network on its device, and the defense of each camera with it.

    Cameras that share a profile share a defense, and their frames one pass. Not for several threads at once.

    Args:
        settings: the parameters of the node.
        profiles: path of each camera's profile by its name; empty for the segmenter's shipped one.
        report: called with every error of the network and the cameras whose frames were being processed.
        reloading: entered while everything is loaded again after an error of the device.
        significant_bits: of each camera's 16-bit images by its name; of those that are left out, all.
        say: called with what is loaded, which takes seconds, before it is.
        warn: called with why the network runs in torch, where an engine was tried.

    Attributes:
        segmenter: the network as it is loaded now; a new object after an error of the device.
        threads: of the network on a CPU.

    Raises:
        ZmaskError: torch is missing, or the segmenter, the device or a profile cannot be used; one sentence.
    """

    def __init__(
        self,
        settings: DefenseParameters,
        profiles: dict[str, str],
        report: Report,
        reloading: Reloading = nullcontext,
        significant_bits: Mapping[str, int] | None = None,
        say: Say = lambda _: None,
        warn: Say = lambda _: None,
    ) -> None:
        self._settings = settings
        self._profiles = profiles
        # Of a frame that is segmented once, there is no undefended segmentation.
        self._streaming = settings.mode == "streaming" and not settings.publish_undefended
        self._report = report
        self._significant_bits = significant_bits or {}
        self._reloading = reloading
        self._say, self._warn = say, warn
        self._overrides = 0.0, 0.0
        self._batch_limit = settings.max_batch
        self._small_batch_until = 0.0
        self._reinitialized = False
        self._load()

    @property
    def batch_limit(self) -> int:
        """How many frames may be worked on together now: fewer for a while after memory ran out."""
        if self._batch_limit < self._settings.max_batch and time.monotonic() > self._small_batch_until:
            self._batch_limit = self._settings.max_batch
        return self._batch_limit

    def defended(self, camera: str) -> DefendedCamera:
        """The defense of this camera."""
        return self._defended[self._paths[camera]]

    def profile_path(self, camera: str) -> Path:
        """Where this camera's profile was read from."""
        return self._paths[camera]

    def profile_identity(self, camera: str) -> str:
        """By which flags name this camera's profile."""
        return self._identities[self._paths[camera]]

    def set_thresholds(self, attack: float, masking: float) -> None:
        """Use these for all cameras, or where one is 0 each profile's own."""
        self._overrides = attack, masking
        for defended in self._defended.values():
            defense, detector = defended.defense, defended.defense.profile.detector
            defense.threshold = attack if attack > 0.0 else detector.threshold.value
            defense.precaution = masking if masking > 0.0 else detector.masking_threshold

    def reload_profiles(self) -> None:
        """Read all profiles again; after an error those from before stay in use.

        Raises:
            ZmaskError: one of them cannot be used.
        """
        self._defend()

    def release(self) -> None:
        """Let go of everything and free its memory; it cannot be used after that."""
        self._defended.clear()
        del self.segmenter, self._in_torch
        self._free_memory()

    def process(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, CameraResult]]:
        """The result of each frame, those of cameras with the same profile together. Errors become UNKNOWN results."""
        for path in self._defended:
            batch = [arrival for arrival in arrivals if self._paths[arrival.camera] == path]
            if batch:
                yield from zip(batch, self._results(path, batch), strict=True)

    def _load(self) -> None:
        if "torch" not in sys.modules:
            self._say("loading torch")
        try:
            import torch
        except ImportError as error:
            raise ZmaskError(
                f"{sys.executable} cannot import torch ({error}): install it for this Python with "
                "'pip install -r requirements/torch.txt', or build the package with the Python that has it."
            ) from error
        from zmask_ros.segmenters import read_description

        if self._settings.num_threads:
            torch.set_num_threads(self._settings.num_threads)
        # Asked for here: while a frame is defended, another thread may be told less.
        self.threads = torch.get_num_threads()
        self._description = read_description(self._settings.segmenter)
        # Once for all profiles, and not at all where exported graphs are in its place.
        self._in_torch = cache(self._load_in_torch)
        self._defend()

    def _defend(self) -> None:
        """Make each profile's defense, and run it once: the first pass of a network is slower than all others."""
        from zmask_ros.defense import load_profile
        from zmask_ros.runtime.camera import CameraStream, DefendedCamera

        paths = {
            camera: Path(path).expanduser() if path else shipped_profile(self._description.name)
            for camera, path in self._profiles.items()
        }
        self._say(f"loading {', '.join(sorted({path.name for path in paths.values()}))}, and running the network once")
        interval_s = self._settings.keyframe_interval_s
        every = self._settings.drift_every_frames
        defended = {}
        for path in dict.fromkeys(paths.values()):
            profile = load_profile(path)
            deployed = self._deploy(profile)
            defended[path] = DefendedCamera(deployed, profile, interval_s, every)
        for camera in defended.values():
            camera.process_image(np.full((*self._description.input_size, 3), GRAY, np.uint8))
        self.segmenter = next(iter(defended.values())).segmenter
        self._identities = {path: profile_identity(path) for path in defended}
        self._paths: dict[str, Path] = paths
        self._defended: dict[Path, DefendedCamera] = defended
        # What was learned with other profiles or weights is worth nothing now.
        self._streams: dict[str, CameraStream] = {
            camera: CameraStream() if self._streaming else CameraStream(state=None) for camera in paths
        }
        self.set_thresholds(*self._overrides)

    def _load_in_torch(self) -> Segmenter:
        from zmask_ros.segmenters import build_segmenter

        self._say(f"loading the network of {self._settings.segmenter}")
        return build_segmenter(self._description, self._settings.device)

    def _deploy(self, profile: Profile) -> Segmenter:
        """The network in what it is to run in beside a profile."""
        from zmask_ros.defense.engine import deploy_described
        from zmask_ros.segmenters import choose_device

        runtime, graphs = cast("Runtime | None", self._settings.runtime or None), self._settings.graphs
        device = choose_device(self._settings.device)
        folder = Path(graphs).expanduser() if graphs else None
        deployment = deploy_described(self._description, self._in_torch, device, profile, runtime, folder)
        if deployment.reason:
            self._warn(f"the network runs in torch: {deployment.reason}")
        return deployment.segmenter

    def _results(self, path: Path, batch: list[Arrival]) -> list[CameraResult]:
        try:
            return self._attempt(path, batch)
        except Exception as error:
            return self._recover(path, batch, error)

    def _attempt(self, path: Path, batch: list[Arrival]) -> list[CameraResult]:
        messages, streams = [a.message for a in batch], [self._streams[a.camera] for a in batch]
        bits = [self._significant_bits.get(a.camera, AUTO_BITS) for a in batch]
        results = self._defended[path].process_batch(messages, streams, bits)
        self._reinitialized = False
        return results

    def _recover(self, path: Path, batch: list[Arrival], error: Exception) -> list[CameraResult]:
        """After an error of the device, load everything again and retry; after others, halve the batch.

        A single frame that found no memory is retried once; what fails again is unknown.
        """
        self._report([arrival.camera for arrival in batch], error)
        if is_device_error(error):
            return self._once_more(path, batch, error) if self._reinitialize() else self._unknown(path, batch, error)
        if is_out_of_memory(error):
            self._free_memory()
        if len(batch) > 1:
            half = len(batch) // 2
            if is_out_of_memory(error):
                self._batch_limit, self._small_batch_until = half, time.monotonic() + SMALL_BATCH_S
            return self._results(path, batch[:half]) + self._results(path, batch[half:])
        if is_out_of_memory(error):
            return self._once_more(path, batch, error)
        return self._unknown(path, batch, error)

    def _once_more(self, path: Path, batch: list[Arrival], error: Exception) -> list[CameraResult]:
        try:
            return self._attempt(path, batch)
        except Exception as again:
            self._report([arrival.camera for arrival in batch], again)
            return self._unknown(path, batch, again)

    def _unknown(self, path: Path, batch: list[Arrival], error: Exception) -> list[CameraResult]:
        return [self._defended[path].unknown(f"internal error: {describe_error(error)}") for _ in batch]

    def _reinitialize(self) -> bool:
        """Load everything again; not a second time before a frame has come through."""
        if self._reinitialized:
            return False
        self._reinitialized = True
        try:
            with self._reloading():
                self._free_memory()
                self._load()
        except Exception as error:
            self._report(list(self._paths), error)
            return False
        return True

    def _free_memory(self) -> None:
        import torch

        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
