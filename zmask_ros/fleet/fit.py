"""`zmask fit` on many machines: parts of bags are observed by the workers, and merged here in the order of the bags."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zmask_ros.defense import Profile, check_binding
from zmask_ros.errors import ZmaskError
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.bag_names import readable_anywhere, segmenter_anywhere
from zmask_ros.fleet.pool import PoolSettings, Pulse, RayPool, Run
from zmask_ros.fleet.results import ResultFolder
from zmask_ros.fleet.tally import FleetTally, Skipped
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.io.prefetch import prefetch
from zmask_ros.progress import Advance, Progress, silent
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.bag_fit import PART_FRAMES, Fit, Observing, PartwiseFit, part_messages, parts_of
from zmask_ros.training.cross_fitting import FEWEST_DRIVES
from zmask_ros.training.observations import Sample, pack, packed_remarks, unpack
from zmask_ros.training.settings import FitSettings
from zmask_ros.training.sources import clean_frames


@dataclass(frozen=True)
class BagReading:
    """How bags are read.

    Attributes:
        topic: the image topic; None takes the only one that there is in the first bag that can be read.
        every: take each N-th frame only.
        significant_bits: of 16-bit images, as `zmask_ros.io.images.codec.decode` takes them.
        cache: of bags that lie elsewhere.
    """

    topic: str | None
    every: int
    significant_bits: int
    cache: BagCache

    def opened(self, path: Path) -> CameraBags:
        """A bag, opened."""
        return CameraBags(path, self.topic, self.every, self.significant_bits)


@dataclass(frozen=True)
class FitTask:
    """A part of a bag.

    Attributes:
        bag: its name, as the user gave it.
        part: its number.
        place: where the bag is, for whoever reads it.
        ceilings: of its held-out frames, those with priorities above these are of no use.
    """

    bag: str
    part: int
    place: str = field(default="", compare=False)
    ceilings: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class FitWork:
    """What a worker needs to observe parts of bags.

    Attributes:
        segmenter, device: the network, and where it runs.
        observing: what is measured.
        reading: how.
    """

    segmenter: str
    device: str
    observing: Observing
    reading: BagReading

    def __call__(self) -> Run:
        """Load the network; what is returned observes a part, as a file of `pack`."""
        segmenter = load_segmenter(self.segmenter, self.device)
        for plan in self.observing.plans:
            check_binding(plan.binding, segmenter, tuple(plan.binding.shapes))
        reading = self.reading

        def run(task: FitTask, pulse: Pulse) -> bytes:
            report = ReadReport()
            with reading.cache.local(task.place, pulse.beat) as path, reading.opened(path) as bag:
                part = part_messages(task.part, reading.every)
                with prefetch(clean_frames(bag.frames(report, part), reading.every)) as frames:
                    # The drive has the name that the user gave it, wherever it was read.
                    named = (replace(frame, bag=task.bag) for frame in frames)
                    observed = self.observing.observe(segmenter, named, task.ceilings, pulse.frame)
                priorities = [[one.priority for one in own.sample.sampled] for own in observed]
                remarks = PartRemarks(report.read, parts_of(bag.total), report.warnings(), priorities)
            return pack(observed, asdict(remarks))

        return run


@dataclass(frozen=True)
class PartRemarks:
    """What a worker says of a part besides what it observed.

    Attributes:
        frames: that it read.
        parts: of the bag.
        warnings: sentences on what could not be read.
        priorities: of the held-out frames that it sent, by plan.
    """

    frames: int
    parts: int
    warnings: list[str]
    priorities: list[list[int]]


@dataclass
class _Bag:
    """A bag as the driver sees it: the remarks on the parts that are done, or why it is skipped."""

    name: str
    done: dict[int, PartRemarks] = field(default_factory=dict)
    skipped: str = ""

    @property
    def complete(self) -> bool:
        return 0 in self.done and len(self.done) == self.done[0].parts

    @property
    def frames(self) -> int:
        return sum(remarks.frames for remarks in self.done.values())

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(said for part in sorted(self.done) for said in self.done[part].warnings))


@dataclass(frozen=True)
class FleetFit:
    """What came of a fit, and how the work went."""

    fit: Fit
    tally: FleetTally


@dataclass(frozen=True)
class FleetFitRequest:
    """What is fitted.

    Attributes:
        bags: of clean drives, paths or addresses.
        reading: how they are read.
        segmenter, device: the network, and where it runs.
        settings: how.
        merged: profiles that it is to be merged with afterwards.
        start: see `PartwiseFit`.
        results: where the results of parts are kept until the profile is there.
    """

    bags: Sequence[str]
    reading: BagReading
    segmenter: str
    device: str
    settings: FitSettings
    results: Path
    merged: Sequence[Profile] = ()
    start: Profile | None = None


def fit_fleet(request: FleetFitRequest, pool_settings: PoolSettings, progress: Progress = silent) -> FleetFit:
    """Fit a profile on the workers of a Ray cluster: the one that `fit_bags` makes of the bags that can be read.

    Raises:
        ZmaskError: no bag can be read, the frames are too few or show nothing, or the workers cannot work.
    """
    began = time.perf_counter()
    reading, total = _survey(request)
    segmenter = load_segmenter(request.segmenter, request.device)
    fit = PartwiseFit(segmenter, request.settings.variant, request.start, total, len(request.bags))
    fit.check_mergeable(request.merged)
    work = FitWork(segmenter_anywhere(request.segmenter), request.device, fit.observing, reading)
    results = ResultFolder(request.results, _identity(work))
    merging = _Merging(request.bags, fit, results)
    with RayPool(work, pool_settings) as pool, progress(pool.titled("Fitting"), "bags", len(request.bags)) as advance:
        merging.run(pool, advance)
    if not merging.frames:
        first = next((f" The first: {bag.skipped}" for bag in merging.bags if bag.skipped), "")
        raise ZmaskError(f"Not one of the {len(request.bags)} bags could be read.{first}")
    seconds = time.perf_counter() - began
    profile = fit.finish(request.settings.false_alarm_rate, request.settings.trial, progress)
    done = Fit(profile, merging.frames, seconds, tuple(merging.warnings))
    skipped = tuple(Skipped(bag.name, bag.skipped) for bag in merging.bags if bag.skipped)
    return FleetFit(done, FleetTally(pool.workers, pool.retried, skipped))


class _Merging:
    """Results come in any order and wait on disk; they are merged in the order of the bags, each bag as a whole.

    So memory does not grow with the number of bags, and a bag of which a part is lost is not counted by half.
    """

    def __init__(self, bags: Sequence[str], fit: PartwiseFit, results: ResultFolder) -> None:
        self.bags = [_Bag(name) for name in bags]
        self._by_name = {bag.name: bag for bag in self.bags}
        self._fit, self._results = fit, results
        # A bag that is complete will be merged, so its frames count before that.
        self._wanted = [Sample[None]() for _ in fit.observing.plans]
        self._merged = 0
        self.frames = 0
        self.warnings: list[str] = []

    def run(self, pool: RayPool, advance: Advance) -> None:
        """Have all parts of all bags observed, and merge them."""
        tasks = deque[FitTask]()
        for bag in self.bags:
            if self._is_kept(bag, 0):
                tasks.extend(self._further_parts(bag))
                self._note_priorities(bag)
            else:
                tasks.append(FitTask(bag.name, 0))
        self._merge(advance, pool)

        def prepare(task: FitTask) -> FitTask:
            return replace(task, place=readable_anywhere(task.bag), ceilings=self._ceilings)

        for done in pool.run(tasks, prepare):
            bag = self._by_name[done.task.bag]
            if done.refusal:
                bag.skipped = bag.skipped or done.refusal
                others = [task for task in tasks if task.bag != bag.name]
                tasks.clear()
                tasks.extend(others)
            elif not bag.skipped:
                self._results.keep(self._results.place(bag.name, done.task.part), done.result)
                self._is_kept(bag, done.task.part)
                if done.task.part == 0:
                    tasks.extendleft(reversed(self._further_parts(bag)))
                self._note_priorities(bag)
            self._merge(advance, pool)

    @property
    def _ceilings(self) -> tuple[int, ...]:
        """Held-out frames with priorities above these, by plan, are of no use any more."""
        return tuple(sample.ceiling for sample in self._wanted)

    def _note_priorities(self, bag: _Bag) -> None:
        if bag.complete:
            for remarks in bag.done.values():
                for sample, priorities in zip(self._wanted, remarks.priorities, strict=True):
                    for priority in priorities:
                        sample.add(None, priority)
                # They have been counted.
                remarks.priorities.clear()

    def _is_kept(self, bag: _Bag, part: int) -> bool:
        """Whether a part is done, also by a driver before this one."""
        place = self._results.place(bag.name, part)
        if place.exists():
            bag.done[part] = PartRemarks(**packed_remarks(place))
        return place.exists()

    def _further_parts(self, bag: _Bag) -> list[FitTask]:
        parts = range(1, bag.done[0].parts)
        return [FitTask(bag.name, part) for part in parts if not self._is_kept(bag, part)]

    def _merge(self, advance: Advance, pool: RayPool) -> None:
        """Merge the bags whose turn it is, as far as they are done."""
        while self._merged < len(self.bags):
            bag = self.bags[self._merged]
            if bag.complete and not bag.frames and not bag.skipped:
                bag.skipped = "; ".join(["not one frame of it could be read", *bag.warnings])
            if bag.complete and not bag.skipped:
                for part in range(len(bag.done)):
                    self._fit.merge(unpack(self._results.place(bag.name, part)))
                self.frames += bag.frames
                self.warnings += [said if bag.name in said else f"{bag.name}: {said}" for said in bag.warnings]
            elif not bag.skipped:
                return
            self._merged += 1
            advance(1, self._note(pool))

    def _note(self, pool: RayPool) -> str:
        skipped = sum(bool(bag.skipped) for bag in self.bags)
        return pool.remark(self.frames, skipped)


def _survey(request: FleetFitRequest) -> tuple[BagReading, int]:
    """The topic, from the first bag that can be read; where drives are divided, how many frames there are, too."""
    reading, total, refusal = request.reading, 0, ""
    divided = len(request.bags) < FEWEST_DRIVES
    for name in request.bags:
        if reading.topic is not None and not divided:
            break
        try:
            with reading.cache.local(name) as path, reading.opened(path) as bag:
                reading, total = replace(reading, topic=bag.topic), total + bag.total
        except ZmaskError as error:
            refusal = refusal or str(error)
    if reading.topic is None:
        raise ZmaskError(f"Not one of the {len(request.bags)} bags could be read, the first: {refusal}")
    return reading, total if divided else 0


def _identity(work: FitWork) -> str:
    """What the results of parts depend on."""
    observing, reading = work.observing, work.reading
    plans: list[Any] = [
        [asdict(plan.binding), list(map(str, plan.branches)), plan.grid, plan.variant] for plan in observing.plans
    ]
    entries = [plans, observing.total, observing.drives >= FEWEST_DRIVES, PART_FRAMES]
    entries += [reading.topic, reading.every, reading.significant_bits]
    return hashlib.sha256(json.dumps(entries, default=str).encode()).hexdigest()
