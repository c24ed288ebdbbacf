"""`zmask evaluate` on many machines: a job of the plan, one patch or one cell of a table, is the unit of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.evaluators import NamedProfile
from zmask_ros.evaluation.protocol.frames import Parts
from zmask_ros.evaluation.protocol.jobs import TrainingJob
from zmask_ros.evaluation.protocol.plan import EvaluationPlan
from zmask_ros.evaluation.protocol.runner import Evaluation, Pace, Results
from zmask_ros.evaluation.protocol.workbench import Outcome, Piece, Workbench
from zmask_ros.fleet.network import NamedNetwork, recipe_anywhere
from zmask_ros.fleet.pool import PoolSettings, Pulse, RayPool, Run
from zmask_ros.fleet.tally import FleetTally
from zmask_ros.progress import Advance, Progress, silent


@dataclass(frozen=True)
class EvaluationWork:
    """What a worker needs to do jobs of an evaluation: the arguments of a `Workbench`, with the network by its name."""

    network: NamedNetwork
    profiles: tuple[NamedProfile, ...]
    parts: Parts
    plan: EvaluationPlan

    def __call__(self) -> Run:
        """Load the network; what is returned does a `Piece`."""
        bench = Workbench(self.network.load(), self.profiles, self.parts, self.plan)

        def run(piece: Piece, pulse: Pulse) -> Outcome:
            if isinstance(piece.job, TrainingJob):
                return bench.train(piece, pulse.frame)
            return bench.evaluate(piece, pulse.frame)

        return run


@dataclass(frozen=True)
class FleetEvaluation:
    """What was measured, and how the work went."""

    results: Results
    tally: FleetTally


def evaluate_fleet(
    evaluation: Evaluation,
    network: NamedNetwork,
    pace: Pace,
    pool_settings: PoolSettings,
    progress: Progress = silent,
) -> FleetEvaluation:
    """Do what an evaluation lacks on the workers of a Ray cluster; the results are those of `Evaluation.run`.

    Raises:
        ZmaskError: a job cannot be done, or the workers cannot work. The results of others are kept.
    """
    work = EvaluationWork(network, evaluation.bench.evaluators.profiles, evaluation.parts, evaluation.plan)
    with RayPool(work, pool_settings) as pool:

        def titled(description: str, unit: str, total: int | None) -> AbstractContextManager[Advance]:
            return progress(pool.titled(description), unit, total)

        results = evaluation.run(pace, titled, _OnPool(pool))
    return FleetEvaluation(results, FleetTally(pool.workers, pool.retried, ()))


class _OnPool:
    """An `Executor` whose pieces of work are done by the workers of a pool."""

    def __init__(self, pool: RayPool) -> None:
        self._pool = pool

    def __call__(self, pieces: deque[Piece], advance: Advance) -> Iterator[tuple[Piece, Outcome | None]]:
        steps, refused = 0, []
        for done in self._pool.run(pieces, _readable_anywhere):
            if done.refusal:
                refused.append(f"{done.task.name}: {done.refusal.rstrip('.')}")
                continue
            steps += done.task.steps
            advance(done.task.steps * done.task.step_seconds, self._pool.remark(steps, len(refused), "steps"))
            yield done.task, done.result
        if refused:
            raise ZmaskError(
                f"{len(refused)} pieces of work could not be done, the first: {refused[0]}. "
                "What was done is kept: the same command goes on with the rest."
            )


def _readable_anywhere(piece: Piece) -> Piece:
    if not isinstance(piece.job, TrainingJob):
        return piece
    return replace(piece, job=replace(piece.job, recipe=recipe_anywhere(piece.job.recipe)))
