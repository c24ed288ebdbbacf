"""`zmask prepare` on many machines: patches, and what each kind of patch does to a profile, are the units of work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zmask_ros.defense import Profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.patch_judge import PatchJudge
from zmask_ros.fleet.network import NamedNetwork
from zmask_ros.fleet.pool import Pulse, RayPool, Run
from zmask_ros.fleet.tally import FleetTally
from zmask_ros.progress import Progress
from zmask_ros.training.preparation.standing import PatchFigures
from zmask_ros.training.preparation.work import AttackedFrame, MadePatch, PatchOrder


@dataclass(frozen=True)
class JudgeOrder:
    """A kind of patch that is to be judged under a profile."""

    kind: str
    profile: Profile = field(compare=False)
    frames: Sequence[AttackedFrame] = field(compare=False)


@dataclass(frozen=True)
class PreparationWork:
    """What a worker needs for a preparation."""

    network: NamedNetwork

    def __call__(self) -> Run:
        """Load the network; what is returned makes patches, or judges some."""
        segmenter = self.network.load()
        judge = PatchJudge(segmenter)

        def run(order: PatchOrder | JudgeOrder, pulse: Pulse) -> MadePatch | PatchFigures:
            if isinstance(order, JudgeOrder):
                return judge(order.profile, order.frames)
            began = time.perf_counter()
            return MadePatch(order.kind, order.make(segmenter, pulse.frame), time.perf_counter() - began)

        return run


class FleetHands:
    """`Hands` whose work is done by the workers of a pool.

    Args:
        pool: of `PreparationWork`.
        progress: shows how far it is.
    """

    def __init__(self, pool: RayPool, progress: Progress) -> None:
        self._pool, self._progress = pool, progress

    def make(self, orders: Sequence[PatchOrder]) -> Iterator[MadePatch]:
        """The patches, as they come; an unfinished one is begun anew by the next call."""
        if not orders:
            return
        tasks = deque(replace(order, state=None) for order in orders)
        title = self._pool.titled(f"Patches: {', '.join(order.kind for order in orders)}")
        with self._progress(title, "patches", len(orders)) as advance:
            for done in self._pool.run(tasks):
                if done.refusal:
                    raise ZmaskError(f"The patch {done.task.kind} cannot be made: {done.refusal}")
                advance()
                yield done.result

    def judge(self, profile: Profile, frames: Mapping[str, Sequence[AttackedFrame]]) -> dict[str, PatchFigures]:
        """What each kind of patch does under ``profile``."""
        found: dict[str, PatchFigures] = {}
        for done in self._pool.run(deque(JudgeOrder(kind, profile, own) for kind, own in frames.items())):
            if done.refusal:
                raise ZmaskError(f"The patch {done.task.kind} cannot be judged: {done.refusal}")
            found[done.task.kind] = done.result
        return {kind: found[kind] for kind in frames}

    def tally(self) -> FleetTally:
        """How the work went."""
        return FleetTally(self._pool.workers, self._pool.retried, ())
