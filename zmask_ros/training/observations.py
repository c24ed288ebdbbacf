"""What the frames of clean drives gave, in a form that merges.

Drives are observed apart, also in other processes, and put together in their order: the result is the same whichever of
them was observed first, and wherever.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.training.cross_fitting import FEWEST_DRIVES, Group, GroupedFrame, GroupedMoments
from zmask_ros.training.stretches import Drive, Stretches

SAMPLE_FRAMES = 300
MOST_DRIVES = 16
"""Whose moments are kept apart: memory does not grow with their number."""
NO_CEILING = 1 << 64
"""Above every priority."""
RESULT, REMARKS = "zmask_observations", "remarks"
"""In the metadata of a file."""

Item = TypeVar("Item")


def priority_of(image: np.ndarray, index: int) -> int:
    """A number in 0..2^64, exclusive, that is as good as random, and follows from a frame and its place in its drive.

    So a sample is the same whoever takes it, and in whatever order.
    """
    digest = hashlib.blake2b(index.to_bytes(8, "little"), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "little")


@dataclass(frozen=True)
class Sampled(Generic[Item]):
    """An item of a sample, its priority, and its place in the order in which all items came."""

    priority: int
    place: int
    item: Item

    def __lt__(self, other: Sampled[Item]) -> bool:
        """Whether it leaves the sample before ``other`` does."""
        return (self.priority, self.place) > (other.priority, other.place)


class Sample(Generic[Item]):
    """A uniform sample of bounded size: the items with the lowest priorities. Samples merge.

    Args:
        capacity: most items.
        ceiling: items of a higher priority are not wanted.

    Attributes:
        seen: how many items came, whether they were taken or not.
    """

    def __init__(self, capacity: int = SAMPLE_FRAMES, ceiling: int = NO_CEILING) -> None:
        self._capacity, self._given_ceiling = capacity, ceiling
        self._kept: list[Sampled[Item]] = []
        self.seen = 0

    @property
    def sampled(self) -> list[Sampled[Item]]:
        """The sample, in the order in which it came: neighbors in time stay neighbors."""
        return sorted(self._kept, key=lambda one: one.place)

    @property
    def items(self) -> list[Item]:
        """Its items, in that order."""
        return [one.item for one in self.sampled]

    @property
    def ceiling(self) -> int:
        """An item of a higher priority will not be taken."""
        full = len(self._kept) == self._capacity
        return min(self._given_ceiling, self._kept[0].priority) if full else self._given_ceiling

    def add(self, item: Item, priority: int) -> None:
        """Take ``item`` where its priority is among the lowest."""
        self._take(Sampled(priority, self.seen, item))
        self.seen += 1

    def merge(self, other: Sample[Item]) -> None:
        """Take what ``other`` has seen, as if it came now."""
        for one in other.sampled:
            self._take(replace(one, place=self.seen + one.place))
        self.seen += other.seen

    def _take(self, one: Sampled[Item]) -> None:
        if one.priority > self._given_ceiling:
            return
        if len(self._kept) < self._capacity:
            heapq.heappush(self._kept, one)
        else:
            heapq.heappushpop(self._kept, one)


class Observations:
    """All that a fit keeps of clean frames; its size does not grow with their number.

    Args:
        prior: statistics of earlier footage that count as much as those of all frames together.
        fewest_drives: see `GroupedMoments`.
        ceiling: see `Sample`.

    Attributes:
        moments: of the frames in the statistics.
        sample: of the held-out frames.
        stretches: of the drives.
        drives: their numbers.
        used, held_out: number of frames of each drive in the statistics, and held out of them.
        blank: number of frames that show nothing.
    """

    def __init__(
        self,
        prior: Mapping[str, LayerStatistics] | None = None,
        fewest_drives: int = FEWEST_DRIVES,
        ceiling: int = NO_CEILING,
    ) -> None:
        self.moments = GroupedMoments(prior, fewest_drives)
        self.sample = Sample[GroupedFrame](ceiling=ceiling)
        self.stretches = Stretches()
        self.drives: dict[Drive, int] = {}
        self.used: Counter[Drive] = Counter()
        self.held_out: Counter[Drive] = Counter()
        self.blank = 0

    @property
    def frames(self) -> int:
        """How many there were."""
        return self.used.total() + self.held_out.total()

    def group(self, drive: Drive, stretch: int) -> Group:
        """The group of a stretch of a drive."""
        return Group(self.drives.setdefault(drive, len(self.drives)) % MOST_DRIVES, stretch)

    def merge(self, other: Observations) -> None:
        """Take what ``other`` has seen, of at most `MOST_DRIVES` drives, as if its frames came now."""
        numbers = {number: self.group(drive, 0).drive for drive, number in other.drives.items()}
        for group, by_key in other.moments.items():
            for key, moments in by_key.items():
                self.moments.add(Group(numbers[group.drive], group.stretch), key, moments)
        self.sample.merge(_renumbered(other.sample, numbers))
        self.stretches.merge(other.stretches)
        self.used.update(other.used)
        self.held_out.update(other.held_out)
        self.blank += other.blank


def _renumbered(sample: Sample[GroupedFrame], numbers: Mapping[int, int]) -> Sample[GroupedFrame]:
    same = Sample[GroupedFrame]()
    for one in sample.sampled:
        group = replace(one.item.group, drive=numbers[one.item.group.drive])
        same._take(replace(one, item=replace(one.item, group=group)))
    same.seen = sample.seen
    return same


def pack(several: Sequence[Observations], remarks: Mapping[str, Any]) -> bytes:
    """Observations as a safetensors file, for another process or for the disk, with remarks, which are JSON-ready."""
    tensors: dict[str, Tensor] = {}
    described = [_pack(own, f"{number}/", tensors) for number, own in enumerate(several)]
    return save(tensors, {RESULT: json.dumps(described), REMARKS: json.dumps(remarks)})


def packed_remarks(path: Path) -> dict[str, Any]:
    """The remarks in a file that `pack` made."""
    with safe_open(path, framework="pt") as file:
        remarks: dict[str, Any] = json.loads(file.metadata()[REMARKS])
        return remarks


def unpack(path: Path) -> list[Observations]:
    """The observations in a file that `pack` made."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()[RESULT])
        return [_unpack(own, f"{number}/", file.get_tensor) for number, own in enumerate(described)]


def _pack(own: Observations, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What is no tensor, JSON-ready; the others go to ``tensors``."""
    moments = [(group, key, one) for group, by_key in own.moments.items() for key, one in by_key.items()]
    for number, (_, _, one) in enumerate(moments):
        tensors[f"{prefix}mean/{number}"], tensors[f"{prefix}m2/{number}"] = one.mean.contiguous(), one.m2.contiguous()
    sampled = own.sample.sampled
    if sampled:
        tensors[f"{prefix}frames"] = torch.from_numpy(np.stack([one.item.image for one in sampled]))
    finished = own.stretches.finished
    layers = list(finished[0][1]) if finished else []
    for number, layer in enumerate(layers):
        tensors[f"{prefix}stretches/{number}"] = torch.stack([means[layer] for _, means in finished])
    return {
        "drives": [[*drive, own.used[drive], own.held_out[drive]] for drive in own.drives],
        "moments": [[group.drive, group.stretch, key, one.count] for group, key, one in moments],
        "seen": own.sample.seen,
        "sampled": [[one.priority, one.place, one.item.group.drive, one.item.group.stretch] for one in sampled],
        "layers": layers,
        "stretches": [own.drives[drive] for drive, _ in finished],
        "blank": own.blank,
    }


def _unpack(entries: dict[str, Any], prefix: str, tensor: Any) -> Observations:
    own = Observations()
    for bag, topic, used, held_out in entries["drives"]:
        own.group((bag, topic), 0)
        own.used[bag, topic], own.held_out[bag, topic] = used, held_out
    for number, (drive, stretch, key, count) in enumerate(entries["moments"]):
        moments = Moments(count, tensor(f"{prefix}mean/{number}"), tensor(f"{prefix}m2/{number}"))
        own.moments.add(Group(drive, stretch), key, moments)
    images = tensor(f"{prefix}frames").numpy() if entries["sampled"] else ()
    for image, (priority, place, drive, stretch) in zip(images, entries["sampled"], strict=True):
        own.sample._take(Sampled(priority, place, GroupedFrame(image, Group(drive, stretch))))
    own.sample.seen = entries["seen"]
    drives = list(own.drives)
    by_layer = {layer: tensor(f"{prefix}stretches/{number}") for number, layer in enumerate(entries["layers"])}
    for place, drive in enumerate(entries["stretches"]):
        own.stretches.finish(drives[drive], {layer: means[place] for layer, means in by_layer.items()})
    own.blank = entries["blank"]
    return own
