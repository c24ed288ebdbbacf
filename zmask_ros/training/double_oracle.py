"""The head's half of a double oracle: its best answer to all patches that attackers have found so far.

In a double oracle (McMahan et al., ICML 2003) each side in turn answers the best that the other has: an attacker makes
a patch against the head as it is, to the end, and the head learns from that patch and from all before it. Nothing is
forgotten, the patches that know nothing of the defense least of all.

What the network shows a head does not depend on the head's weights. It is computed once for each image, so a step of
the head takes milliseconds where a step of an attack takes a second. It is cross-fitted: a frame is seen under the
statistics of all drives but its own, as the next drive will be.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zmask_ros.attacks import paste_at_random, to_uint8
from zmask_ros.data.textures.benign import in_other_light
from zmask_ros.defense.evidence.head import EvidenceHead, Head
from zmask_ros.defense.evidence.overactivation import Activations
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.progress import Advance, Progress, no_advance, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversarial import HeadTraining, attacked_loss, benign_loss, loss_note
from zmask_ros.training.adversaries import SEEN
from zmask_ros.training.benign_batches import BENIGN_VIEWS, benign_pictures_for
from zmask_ros.training.clean_fit import CleanMeasurements
from zmask_ros.training.cross_fitting import Group, GroupedFrame
from zmask_ros.training.examples import coverage

PICTURES_A_FRAME = 2
"""Benign pictures, of many kinds: with too few of each a head takes other posters for patches."""
BENIGN_A_FRAME = 1.5 + PICTURES_A_FRAME
"""Benign images a clean frame: itself, with each of its pictures, and every second one in other light."""
PATCHED_SHARE = 0.5
"""Of the clean frames, those that patches are shown on."""
RANDOM_PATCHES = 2
"""Of all so far, that each step of the head sees beside the newest and those that know nothing of the defense."""
BENIGN_A_STEP = 6
"""From the drives, with benign pictures, and of other cameras, as many of each: none of them gets lost among others."""


@dataclass(frozen=True)
class ShownImages:
    """What N images show a head, whatever its weights are.

    Attributes:
        seen: of each group of its features, float16 [N, C, h, w]; see `EvidenceHead.seen`.
        share: of each cell that adversarial patches cover, float16 [N, 1, *grid], 0..1.
    """

    seen: tuple[Tensor, ...]
    share: Tensor

    def __len__(self) -> int:
        return len(self.share)

    def only(self, index: int) -> ShownImages:
        """The image with this index, in float32."""
        chosen = slice(index, index + 1)
        return ShownImages(tuple(own[chosen].float() for own in self.seen), self.share[chosen].float())

    @staticmethod
    def of(head: EvidenceHead, taps: Activations, patches: np.ndarray) -> ShownImages:
        """One image, from the taps of its forward pass and the pixels of adversarial patches, bool [H, W]."""
        seen = tuple(own.half().cpu() for own in head.seen(taps))
        return ShownImages(seen, coverage(patches, head.features.grid).half())

    @staticmethod
    def joined(parts: Sequence[ShownImages]) -> ShownImages:
        """All of them in order."""
        groups = zip(*(part.seen for part in parts), strict=True)
        return ShownImages(tuple(torch.cat(own) for own in groups), torch.cat([part.share for part in parts]))


PastedImage = tuple[np.ndarray, np.ndarray, Group]
"""An image, uint8 [h, w, 3] RGB, the pixels of an adversarial patch, bool [h, w], and the group of its clean frame."""


@torch.inference_mode()
def bytes_an_image(measured: CleanMeasurements, frame: GroupedFrame) -> int:
    """Memory that `HeadOracle` takes for each image, by the clean one of ``frame``."""
    segmenter, head = measured.segmenter, measured.heads_without()(frame.group)
    with tap(segmenter, head.branch.layers) as taps:
        segmenter.logits(segmenter.prepare(frame.image))
        shown = ShownImages.of(head, taps, np.zeros(frame.image.shape[:2], bool))
    return sum(own.nbytes for own in (*shown.seen, shown.share))


class HeadOracle:
    """Trains a head on all patches that it has been shown.

    Args:
        measured: what clean frames gave, with the head's layers and kind.
        frames: clean ones to show patches and benign pictures on.
        takes_part: whether the frames of a group have a part in the statistics.
        others: benign images of other cameras, uint8 [h, w, 3] RGB at the network's input size; each is seen under the
            statistics that one of the frames is seen under.
        seed: of every random choice.
        progress: shows how far it is.
    """

    def __init__(
        self,
        measured: CleanMeasurements,
        frames: Sequence[GroupedFrame],
        takes_part: Callable[[Group], bool],
        others: Sequence[np.ndarray] = (),
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        self._segmenter: Segmenter = measured.segmenter
        self._frames, self._seed, self._progress = frames, seed, progress
        self._heads = measured.heads_without(takes_part)
        self._patches: dict[str, ShownImages] = {}
        self._lasting: list[str] = []
        benign = {
            "clean images": (self._clean_images(), len(frames) + math.ceil(len(frames) / 2)),
            "benign pictures": (self._with_pictures(), PICTURES_A_FRAME * len(frames)),
            "other roads": (self._of_other_cameras(others), len(others)),
        }
        self._benign = [self._show(name, images, count) for name, (images, count) in benign.items() if count]

    @property
    def shown(self) -> Collection[str]:
        """Names of the patches so far."""
        return self._patches.keys()

    def show(self, name: str, patches: Tensor, lasting: bool = False) -> None:
        """Add a patch, or P that are seen together, float [P, 3, h, w] in 0..1; what is ``lasting``, in every step."""
        frames = self._frames[:: round(1 / PATCHED_SHARE)]
        places = torch.Generator().manual_seed(self._seed + zlib.crc32(name.encode()))
        pictures = to_uint8(patches)
        images = ((*paste_at_random(own.image, pictures, SEEN, places), own.group) for own in frames)
        self._patches[name] = self._show(name, images, len(frames))
        if lasting:
            self._lasting.append(name)

    def forget_all_but(self, names: Collection[str]) -> None:
        """Keep the patches with these names only: what is shown of each takes memory."""
        self._patches = {name: own for name, own in self._patches.items() if name in names}

    def answer(self, head: Head, steps: int, learning_rate: float, advance: Advance = no_advance) -> Head:
        """A head that has learned from all patches so far.

        Args:
            head: its beginning, of the layers and the kind of the measurements.
            steps: of the optimizer.
            learning_rate: of the first step.
            advance: counts steps, each with the loss beside it.
        """
        learner = EvidenceHead(head, self._heads(self._frames[0].group).features)
        trainer = HeadTraining(learner, steps, learning_rate=learning_rate)
        random = np.random.default_rng([self._seed, *(zlib.crc32(name.encode()) for name in self._patches)])
        each = range(BENIGN_A_STEP // len(self._benign))
        for _ in range(steps):
            attacked = ShownImages.joined([_one_of(self._patches[name], random) for name in self._chosen(random)])
            benign = ShownImages.joined([_one_of(images, random) for images in self._benign for _ in each])
            heat = learner.heat_of_seen(attacked.seen)
            of_patches = [attacked_loss(*pair) for pair in zip(heat.split(1), attacked.share.split(1), strict=True)]
            of_benign = benign_loss(learner.heat_of_seen(benign.seen))
            loss = trainer.descend(torch.stack(of_patches).mean() + of_benign)
            advance(note=loss_note(loss))
        return trainer.averaged()

    def _chosen(self, random: np.random.Generator) -> list[str]:
        """The patches of a step."""
        names = list(self._patches)
        last = [name for name in names[-1:] if name not in self._lasting]
        return [*self._lasting, *last, *(names[int(random.integers(len(names)))] for _ in range(RANDOM_PATCHES))]

    @torch.inference_mode()
    def _show(self, name: str, images: Iterable[PastedImage], count: int) -> ShownImages:
        """Pass the images through the network once."""
        shown = []
        taps = tap(self._segmenter, self._heads(self._frames[0].group).branch.layers)
        with self._progress(f"Showing the head: {name}", "images", count) as advance:
            for image, patch, group in images:
                head = self._heads(group)
                with taps as tapped:
                    self._segmenter.logits(self._segmenter.prepare(image))
                    shown.append(ShownImages.of(head, tapped, patch))
                advance()
        return ShownImages.joined(shown)

    def _clean_images(self) -> Iterator[PastedImage]:
        """Each frame, and every second one in other light."""
        random = np.random.default_rng(self._seed)
        for number, frame in enumerate(self._frames):
            yield frame.image, _no_patch(frame.image), frame.group
            if number % 2 == 0:
                yield in_other_light(frame.image, random), _no_patch(frame.image), frame.group

    def _with_pictures(self) -> Iterator[PastedImage]:
        """Each frame with benign pictures, one after the other."""
        random, places = np.random.default_rng(self._seed), torch.Generator().manual_seed(self._seed)
        images = [frame.image for frame in self._frames]
        pictures = benign_pictures_for(self._segmenter.input_size, images, self._seed)
        for frame in self._frames:
            for _ in range(PICTURES_A_FRAME):
                picture = pictures[int(random.integers(len(pictures)))]
                pasted, _ = paste_at_random(frame.image, picture, BENIGN_VIEWS, places)
                yield pasted, _no_patch(frame.image), frame.group

    def _of_other_cameras(self, others: Sequence[np.ndarray]) -> Iterator[PastedImage]:
        for image, frame in zip(others, itertools.cycle(self._frames)):
            yield image, _no_patch(image), frame.group


def _no_patch(image: np.ndarray) -> np.ndarray:
    """No pixel of ``image`` [h, w, 3] belongs to an adversarial patch, bool [h, w]."""
    return np.zeros(image.shape[:2], bool)


def _one_of(images: ShownImages, random: np.random.Generator) -> ShownImages:
    return images.only(int(random.integers(len(images))))
