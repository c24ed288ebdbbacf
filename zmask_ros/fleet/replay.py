"""`zmask replay` on many machines: each bag is a drive, which one worker replays, and of which figures come back."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zmask_ros.errors import ZmaskError
from zmask_ros.flags.drift import DriftLevel
from zmask_ros.flags.flag import FrameState
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.bag_names import readable_anywhere, segmenter_anywhere
from zmask_ros.fleet.pool import PoolSettings, Pulse, RayPool, Run
from zmask_ros.fleet.results import ResultFolder
from zmask_ros.fleet.tally import FleetTally, Skipped
from zmask_ros.io.stamps import NANOSECONDS, duration_ns
from zmask_ros.progress import Advance, Progress, silent
from zmask_ros.runtime.replay import Replayed, ReplaySettings, load_defense, replay
from zmask_ros.runtime.replay_figures import percentile, replay_figures

QUANTILES = (1, 25, 50, 75, 99, 100)
"""Of the scores of a drive, per cent."""
MOST_MOMENTS = 20
"""Of a drive, those with the highest scores: a report stays readable."""
PAUSE_S = 1.0
"""Flagged frames that are further apart belong to two moments."""
HOUR_S = 3600.0


@dataclass(frozen=True)
class Moment:
    """Frames of a drive that follow each other and were flagged.

    Attributes:
        begin_s: seconds since the drive began.
        seconds: from the first to the last of them.
        stamp_ns: of the first.
        frames: number of flagged ones.
        score: the highest.
    """

    begin_s: float
    seconds: float
    stamp_ns: int
    frames: int
    score: float


@dataclass(frozen=True)
class DriveReport:
    """What was said of a drive.

    Attributes:
        bag: as the user named it.
        hours: that it took.
        threshold: the score above which frames were flagged.
        quantiles: of the scores of fully analyzed frames, at `QUANTILES`; None where there are none.
        figures: see `replay_figures`.
        moments: that were flagged, at most `MOST_MOMENTS`, in order.
        warnings: sentences on what could not be read, and on a profile that masks too much.
    """

    bag: str
    hours: float
    threshold: float
    quantiles: list[float | None]
    figures: dict[str, Any]
    moments: list[Moment]
    warnings: list[str]

    @property
    def alarms_an_hour(self) -> float:
        """Of a clean drive, its false alarms."""
        return self.figures["alarms"] / self.hours if self.hours else 0.0

    @property
    def urgency(self) -> tuple[float, ...]:
        """The larger, the more it needs a look: the profile does not fit, alarms, unknown frames, high scores."""
        figures = self.figures
        level, frames = DriftLevel[figures["profile_fit"]], max(figures["frames"], 1)
        misfit = float(level) if level in (DriftLevel.WARN, DriftLevel.ERROR) else 0.0
        unknown, flagged = figures["unknown"] / frames, figures["flagged"] / frames
        return misfit, self.alarms_an_hour, unknown, flagged, (self.quantiles[-2] or 0.0) / (self.threshold or 1.0)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"alarms_an_hour": self.alarms_an_hour}

    @staticmethod
    def of_json(entries: dict[str, Any]) -> DriveReport:
        """The report of which `to_json` made these entries."""
        own = {name: value for name, value in entries.items() if name != "alarms_an_hour"}
        return DriveReport(**(own | {"moments": [Moment(**moment) for moment in own["moments"]]}))


def drive_report(bag: str, replayed: Replayed) -> DriveReport:
    """The report of a replayed drive."""
    flags = replayed.flags
    scores = [flag.score for flag, whole in zip(flags, replayed.analyzed, strict=True) if whole]
    return DriveReport(
        bag=bag,
        hours=duration_ns(replayed.stamps_ns) / NANOSECONDS / HOUR_S,
        threshold=flags[-1].threshold if flags else 0.0,
        quantiles=[percentile(scores, share) for share in QUANTILES],
        figures=replay_figures(replayed),
        moments=_moments(replayed),
        warnings=replayed.warnings(),
    )


def _moments(replayed: Replayed) -> list[Moment]:
    begin = replayed.stamps_ns[0] if replayed.stamps_ns else 0
    found: list[Moment] = []
    for stamp, flag in zip(replayed.stamps_ns, replayed.flags, strict=True):
        if flag.state is not FrameState.ATTACK:
            continue
        at = (stamp - begin) / NANOSECONDS
        score = 0.0 if math.isnan(flag.score) else flag.score
        last = found[-1] if found else None
        if last is not None and 0 <= at - last.begin_s - last.seconds <= PAUSE_S:
            found[-1] = replace(last, seconds=at - last.begin_s, frames=last.frames + 1, score=max(last.score, score))
        else:
            found.append(Moment(at, 0.0, stamp, 1, score))
    highest = sorted(found, key=lambda moment: moment.score, reverse=True)[:MOST_MOMENTS]
    return sorted(highest, key=lambda moment: moment.begin_s)


@dataclass(frozen=True)
class ReplayTask:
    """A bag to replay: its name, and where it is for whoever reads it."""

    bag: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class ReplayWork:
    """What a worker needs to replay bags.

    Attributes:
        settings: of a bag that it is to be given yet.
        profile: the content of the profile's file; None: the one that comes with the segmenter.
        cache: of bags that lie elsewhere.
    """

    settings: ReplaySettings
    profile: bytes | None
    cache: BagCache

    def __call__(self) -> Run:
        """Load the network and the profile; what is returned replays a bag, and gives a `DriveReport`."""
        settings = self.settings
        with tempfile.TemporaryDirectory(prefix="zmask-profile-") as folder:
            path = None
            if self.profile is not None and settings.profile is not None:
                path = Path(folder) / settings.profile.name
                path.write_bytes(self.profile)
            loaded = load_defense(replace(settings, profile=path))

        def run(task: ReplayTask, pulse: Pulse) -> dict[str, Any]:
            @contextmanager
            def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
                yield pulse.frame

            with self.cache.local(task.place, pulse.beat) as path:
                replayed = replay(replace(settings, bag=path), progress, loaded)
            return drive_report(task.bag, replayed).to_json()

        return run


@dataclass(frozen=True)
class FleetReplay:
    """What came of the drives, those first that need a look most, and how the work went."""

    drives: tuple[DriveReport, ...]
    tally: FleetTally

    def figures(self) -> dict[str, Any]:
        """Of all drives together, JSON-ready."""
        hours = sum(drive.hours for drive in self.drives)
        counted = ("frames", "flagged", "masked", "alarms", "unknown")
        together = {name: sum(drive.figures[name] for drive in self.drives) for name in counted}
        misfits = sum(drive.urgency[0] > 0 for drive in self.drives)
        alarms = together["alarms"] / hours if hours else 0.0
        return {"drives": len(self.drives), "hours": hours, **together, "alarms_an_hour": alarms, "misfits": misfits}


def replay_fleet(
    bags: Sequence[str],
    settings: ReplaySettings,
    cache: BagCache,
    pool_settings: PoolSettings,
    results: Path,
    progress: Progress = silent,
) -> FleetReplay:
    """Replay bags on the workers of a Ray cluster.

    Args:
        bags: paths or addresses, each a drive.
        settings: of all of them; nothing is written but the report.
        cache: of bags that lie elsewhere.
        pool_settings: who works.
        results: where the results of bags are kept until the report is there.
        progress: shows how far it is.

    Raises:
        ZmaskError: no bag can be replayed, or the workers cannot work.
    """
    profile = _content(settings.profile)
    settings = replace(settings, segmenter=segmenter_anywhere(settings.segmenter))
    kept = ResultFolder(results, _identity(settings, profile))
    drives, skipped = {}, []
    tasks = deque[ReplayTask]()
    for name in bags:
        if kept.place(name).exists():
            drives[name] = DriveReport.of_json(json.loads(kept.place(name).read_bytes()))
        else:
            tasks.append(ReplayTask(name, readable_anywhere(name)))
    work = ReplayWork(settings, profile, cache)
    with RayPool(work, pool_settings) as pool, progress(pool.titled("Replaying"), "bags", len(bags)) as advance:
        advance(len(drives))
        frames = sum(drive.figures["frames"] for drive in drives.values())
        for done in pool.run(tasks):
            if done.refusal:
                skipped.append(Skipped(done.task.bag, done.refusal))
            else:
                kept.keep(kept.place(done.task.bag), json.dumps(done.result).encode())
                drives[done.task.bag] = DriveReport.of_json(done.result)
                frames += drives[done.task.bag].figures["frames"]
            advance(1, pool.remark(frames, len(skipped)))
    if not drives:
        raise ZmaskError(f"Not one of the {len(bags)} bags could be replayed, the first: {skipped[0].reason}")
    ordered = sorted((drives[name] for name in bags if name in drives), key=lambda drive: drive.urgency, reverse=True)
    return FleetReplay(tuple(ordered), FleetTally(pool.workers, pool.retried, tuple(skipped)))


def _content(profile: Path | None) -> bytes | None:
    if profile is None:
        return None
    if not profile.is_file():
        raise ZmaskError(f"There is no profile {profile}: fit one with zmask fit BAG -o {profile}.")
    return profile.read_bytes()


def _identity(settings: ReplaySettings, profile: bytes | None) -> str:
    """What the results of bags depend on."""
    own = asdict(settings) | {"profile": None if profile is None else hashlib.sha256(profile).hexdigest(), "bag": None}
    return hashlib.sha256(json.dumps(own, default=str, sort_keys=True).encode()).hexdigest()
