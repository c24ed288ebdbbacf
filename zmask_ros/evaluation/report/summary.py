"""From records to the figures of a report; nothing here looks at an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from zmask_ros.attacks.convergence import Outcome
from zmask_ros.evaluation.metrics.detection import roc
from zmask_ros.evaluation.metrics.intervals import Interval, bootstrap, share_interval
from zmask_ros.evaluation.metrics.records import RecordSet, recovery
from zmask_ros.evaluation.metrics.worst_case import worst_case
from zmask_ros.evaluation.protocol.evaluators import CLEAN, NONE, ORACLE
from zmask_ros.evaluation.protocol.jobs import CLEAN_SET, attack_set, hard_set
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL, GRADED, Attack, EvaluationPlan
from zmask_ros.evaluation.protocol.runner import Results
from zmask_ros.evaluation.report import figures
from zmask_ros.evaluation.report.figures import COSTLY, FULL_STRENGTH, AttackFigures, Summary

FRAMES_PER_SECOND = 15.0
"""Of the camera that false alarms per hour are counted for."""
SECONDS_PER_HOUR = 3600.0
LEAST_COST = 0.05
"""mIoU that an attack must cost the undefended network to count among those that must be found."""


@dataclass(frozen=True)
class Summarizer:
    """Computes the figures of the results of a plan.

    Attributes:
        plan: What was done.
        results: What was measured.
        ours: Names of our profiles.
    """

    plan: EvaluationPlan
    results: Results
    ours: tuple[str, ...]

    def summary(self) -> Summary:
        """All figures."""
        baselines = (*self.ours, *self.plan.compared)
        attacks = tuple(self._attack(attack, baselines) for attack in self.plan.attacks)
        return Summary(
            clean={name: self._clean(name) for name in baselines},
            attacks=attacks,
            groups=self._groups(attacks, baselines),
            families={name: self._families(name, attacks) for name in self.ours},
            hard={name: self._hard(name, baselines) for name in self.plan.hard_sets},
            worst_frames={name: self._worst_frames(name) for name in (NONE, *self.ours) if attacks},
            worst_case=self._worst_case(),
        )

    def _clean(self, name: str) -> figures.CleanFigures:
        own, frames = self._unattacked(CLEAN_SET, name), len(self._records(CLEAN_SET, name))
        an_hour = own.false_alarm_rate.value * FRAMES_PER_SECOND * SECONDS_PER_HOUR
        threshold, rate = self.results.thresholds[name], own.false_alarm_rate
        return figures.CleanFigures(frames, threshold, own.miou, own.miou_loss, rate, an_hour, own.masked)

    def _unattacked(self, frames: str, name: str) -> figures.HardBaselineFigures:
        own, plain = self._records(frames, name), self._records(frames, NONE)
        masked, loss = float(own.masked.mean()), plain.miou() - own.miou()
        return figures.HardBaselineFigures(_flagged(own), masked, own.miou(), loss)

    def _attack(self, attack: Attack, baselines: Sequence[str]) -> AttackFigures:
        frames = attack_set(attack.name)
        bounds = {name: self._records(frames, name) for name in (CLEAN, NONE, ORACLE)}
        told: dict[str, Any] = {name: getattr(attack, name) for name in ("name", "group", "family", "reference")}
        for name in ("size", "objective", "beta", "steps", "seed"):
            told[name] = getattr(attack.recipe, name, None)
        return AttackFigures(
            **told,
            patches=len(self.results.patches[attack.name]),
            patch_share=bounds[NONE].hidden_share,
            clean=bounds[CLEAN].miou(),
            attacked=bootstrap(bounds[NONE].miou, self._resampled(bounds[NONE])),
            oracle=bounds[ORACLE].miou(),
            accuracy={name: records.pixel_accuracy() for name, records in bounds.items()},
            cost=bounds[CLEAN].miou() - bounds[NONE].miou(),
            baselines={
                name: self._defended(frames, name) for name in baselines if (frames, name) in self.results.records
            },
        )

    def _defended(self, frames: str, name: str) -> figures.DefendedFigures:
        own, none, best = (self._records(frames, evaluator) for evaluator in (name, NONE, ORACLE))

        found = _flagged(own)
        return figures.DefendedFigures(
            miou=own.miou(),
            miou_interval=bootstrap(own.miou, self._resampled(own)),
            pixel_accuracy=own.pixel_accuracy(),
            recovery=bootstrap(partial(recovery, own, none, best), self._resampled(own)),
            recall=found.value,
            recall_interval=found,
            masked=float(own.masked.mean()),
            mask_iou=own.mask_iou,
            mask_recall=own.mask_recall,
            roc=self._roc(name, [own]),
        )

    def _roc(self, name: str, attacked: Sequence[RecordSet]) -> figures.RocFigures:
        """Figures of the frames of ``attacked`` together against the clean test frames."""
        clean = self._records(CLEAN_SET, name)
        scores = np.concatenate([clean.scores, *(records.scores for records in attacked)])
        groups = [group for records in (clean, *attacked) for group in self._resampled(records)]

        def area(chosen: np.ndarray) -> float:
            of_clean = chosen < len(clean)
            if of_clean.all() or not of_clean.any():
                return math.nan
            return roc(scores[chosen[of_clean]], scores[chosen[~of_clean]]).area

        curve = roc(clean.scores, scores[len(clean) :])
        return figures.RocFigures(bootstrap(area, groups), *map(curve.true_positive_rate_at, (0.01, 0.001)))

    def _groups(self, attacks: Sequence[AttackFigures], baselines: Sequence[str]) -> dict[str, figures.GroupFigures]:
        pools = {
            FULL_STRENGTH: [attack for attack in attacks if attack.group == FULL],
            COSTLY: [attack for attack in attacks if attack.group in (FULL, GRADED) and attack.cost >= LEAST_COST],
        }
        return {
            title: figures.GroupFigures(
                tuple(attack.name for attack in members), {name: self._pooled(name, members) for name in baselines}
            )
            for title, members in pools.items()
            if members
        }

    def _pooled(self, name: str, attacks: Sequence[AttackFigures]) -> figures.PooledFigures:
        own = [attack.baselines[name] for attack in attacks]
        gained = sum(attack.baselines[name].miou - attack.attacked.value for attack in attacks)
        possible = sum(attack.oracle - attack.attacked.value for attack in attacks)
        return figures.PooledFigures(
            roc=self._roc(name, [self._records(attack_set(attack.name), name) for attack in attacks]),
            mean_auc=float(np.mean([defended.roc.auc.value for defended in own])),
            recall=float(np.mean([defended.recall for defended in own])),
            recovery=_ratio(gained, possible),
            mask_iou=float(np.mean([defended.mask_iou for defended in own])),
        )

    def _families(self, name: str, attacks: Sequence[AttackFigures]) -> tuple[figures.FamilyFigures, ...]:
        """The adaptive families against our profile ``name``."""
        costs = {attack.name: attack.cost for attack in attacks}
        runs: dict[str, list[figures.FamilyRun]] = {}
        for attack in (attack for attack in attacks if attack.group == ADAPTIVE):
            own = attack.baselines[name]
            remains, free = attack.clean - own.miou, costs[attack.reference] if attack.reference else attack.cost
            damages = free, attack.cost, remains, _ratio(remains, free)
            earlier = self._goes_on_from(attack.name, runs.get(attack.family or "", ()))
            steps = attack.steps if earlier is None or attack.steps is None else attack.steps + (earlier.steps or 0)
            outcome = Outcome(remains, own.recall, own.masked)
            change = None if earlier is None else outcome.change_from(_outcome(earlier))
            trained = attack.name, steps, attack.seed, attack.reference
            run = figures.FamilyRun(*trained, *damages, own.recall, own.masked, change)
            runs.setdefault(attack.family or attack.name, []).append(run)
        return tuple(
            figures.FamilyFigures(family, tuple(members), max(members, key=lambda run: run.damage_defended))
            for family, members in runs.items()
        )

    def _hard(self, name: str, baselines: Sequence[str]) -> figures.HardFigures:
        plain = self._records(hard_set(name), NONE)
        own = {baseline: self._unattacked(hard_set(name), baseline) for baseline in baselines}
        return figures.HardFigures(len(plain), plain.miou(), own)

    def _goes_on_from(self, attack: str, family: Sequence[figures.FamilyRun]) -> figures.FamilyRun | None:
        """The run of the family whose patches the attack starts from."""
        start = next(own.start for own in self.plan.attacks if own.name == attack)
        return next((run for run in family if run.attack == start), None)

    def _worst_case(self) -> dict[str, figures.WorstCase]:
        adaptive = [attack_set(attack.name) for attack in self.plan.attacks if attack.group == ADAPTIVE]
        if not adaptive:
            return {}
        clean = [self._records(frames, CLEAN) for frames in adaptive]
        return {name: worst_case([self._records(frames, name) for frames in adaptive], clean) for name in self.ours}

    def _worst_frames(self, name: str) -> float:
        accuracies = [self._records(attack_set(attack.name), name).accuracies() for attack in self.plan.attacks]
        return float(np.nanmean(np.min(accuracies, axis=0)))

    def _records(self, frames: str, evaluator: str) -> RecordSet:
        return self.results.records[frames, evaluator]

    def _resampled(self, records: RecordSet) -> list[str]:
        """What intervals of these records are drawn over, for each frame."""
        by_drive = self.plan.resampled == "drive"
        return [record.drive if by_drive else record.name for record in records.records]


def _outcome(run: figures.FamilyRun) -> Outcome:
    return Outcome(run.damage_defended, run.flagged, run.masked)


def _flagged(records: RecordSet) -> Interval:
    return share_interval(int(records.flagged.sum()), len(records))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
