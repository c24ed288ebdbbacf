"""From records to the figures of a report, JSON-ready: nothing here looks at an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zmask_ros.evaluation.metrics.detection import false_alarms_an_hour, recovery, roc
from zmask_ros.evaluation.metrics.intervals import Interval, bootstrap, rate_interval
from zmask_ros.evaluation.metrics.records import Column
from zmask_ros.evaluation.protocol.jobs import CLEAN_SET, attack_set, hard_set
from zmask_ros.evaluation.protocol.judges import CLEAN, NONE, ORACLE
from zmask_ros.evaluation.protocol.plan import ADAPTIVE, FULL, GRADED, Attack, Plan
from zmask_ros.evaluation.protocol.runner import Results

FRAMES_A_SECOND = 15.0
"""Of the camera that false alarms an hour are counted for."""
WORTH_COUNTING = 0.05
"""mIoU that an attack must cost the undefended network to count among those that must be found."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Summariser:
    """Makes figures of the results of a plan.

    Attributes:
        plan: what was done.
        results: what came out.
        ours: names of our profiles.
    """

    plan: Plan
    results: Results
    ours: tuple[str, ...]

    @property
    def defences(self) -> tuple[str, ...]:
        """Names of our profiles and of the compared defences."""
        return (*self.ours, *self.plan.compared)

    def summary(self) -> Figures:
        """All figures: clean frames, each attack, groups of attacks, adaptive families, benign-hard sets."""
        attacks = [self.attack(attack) for attack in self.plan.attacks]
        return {
            "clean": {name: self.clean(name) for name in self.defences},
            "attacks": attacks,
            "groups": self.groups(attacks),
            "families": {name: self.families(name, attacks) for name in self.ours},
            "hard": {name: self.hard(name) for name in self.plan.hard_sets},
            "worst_frames": self.worst_case(),
        }

    def clean(self, name: str) -> Figures:
        """What a defence does to clean frames."""
        own, plain = self._column(CLEAN_SET, name), self._column(CLEAN_SET, NONE)
        alarms = rate_interval(int(own.flagged.sum()), len(own))
        return {
            "frames": len(own),
            "threshold": self.results.thresholds[name],
            "miou": own.miou(),
            "miou_loss": plain.miou() - own.miou(),
            "false_alarm_rate": _shown(alarms),
            "false_alarms_an_hour": false_alarms_an_hour(alarms.value, FRAMES_A_SECOND),
            "masked": float(own.masked.mean()),
        }

    def attack(self, attack: Attack) -> Figures:
        """What one attack does, and what each defence makes of it; mIoU is over the pixels outside the patches."""
        frames = attack_set(attack.name)
        bounds = {name: self._column(frames, name) for name in (CLEAN, NONE, ORACLE)}
        names = [name for name in self.defences if (frames, name) in self.results.columns]
        recipe = attack.recipe
        return {
            "name": attack.name,
            "group": attack.group,
            "family": attack.family,
            "reference": attack.reference,
            "size": None if recipe is None else list(recipe.size),
            "patches": len(self.results.patches[attack.name]),
            "objective": None if recipe is None else recipe.objective,
            "beta": None if recipe is None else recipe.beta,
            "steps": None if recipe is None else recipe.steps,
            "seed": None if recipe is None else recipe.seed,
            "patch_share": bounds[NONE].mean("hidden_share"),
            "clean": bounds[CLEAN].miou(),
            "attacked": _shown(self._interval(bounds[NONE])),
            "oracle": bounds[ORACLE].miou(),
            "accuracy": {name: column.pixel_accuracy() for name, column in bounds.items()},
            "cost": bounds[CLEAN].miou() - bounds[NONE].miou(),
            "defences": {name: self._defended(frames, name) for name in names},
        }

    def groups(self, attacks: Sequence[Figures]) -> Figures:
        """Each defence over several attacks: those of full strength together, those that cost enough on average."""
        pools = {"full strength": [a for a in attacks if a["group"] == FULL]}
        pools["graded and full, costly"] = [
            a for a in attacks if a["group"] in (FULL, GRADED) and a["cost"] >= WORTH_COUNTING
        ]
        return {
            title: {
                "attacks": [attack["name"] for attack in members],
                "defences": {name: self._pooled(name, members) for name in self.defences},
            }
            for title, members in pools.items()
            if members
        }

    def families(self, name: str, attacks: Sequence[Figures]) -> list[Figures]:
        """Of each adaptive family its strongest patch, by the damage that remains under the defence ``name``.

        Damage is mIoU clean - mIoU attacked. ``ratio`` is the damage that remains over what the same attacker, with
        the same patches but without a defence to evade, does to the undefended network.
        """
        by_name = {attack["name"]: attack for attack in attacks}
        rows: dict[str, Figures] = {}
        for attack in attacks:
            if attack["group"] != ADAPTIVE:
                continue
            remains = attack["clean"] - attack["defences"][name]["miou"]
            free = by_name[attack["reference"]]["cost"] if attack["reference"] else attack["cost"]
            row = rows.setdefault(attack["family"], {"family": attack["family"], "runs": []})
            row["runs"].append(
                {
                    "attack": attack["name"],
                    "steps": attack["steps"],
                    "seed": attack["seed"],
                    "reference": attack["reference"],
                    "damage_free": free,
                    "damage_undefended": attack["cost"],
                    "damage_defended": remains,
                    "ratio": _ratio(remains, free),
                    "flagged": attack["defences"][name]["recall"],
                    "masked": attack["defences"][name]["masked"],
                }
            )
        for row in rows.values():
            row["worst"] = max(row["runs"], key=lambda run: run["damage_defended"])
        return list(rows.values())

    def hard(self, name: str) -> Figures:
        """False alarms of each defence on a benign-hard set, and the mIoU that they cost."""
        plain = self._column(hard_set(name), NONE)
        figures = {}
        for defence in self.defences:
            own = self._column(hard_set(name), defence)
            alarms = rate_interval(int(own.flagged.sum()), len(own))
            figures[defence] = {
                "false_alarm_rate": _shown(alarms),
                "masked": float(own.masked.mean()),
                "miou": own.miou(),
                "miou_loss": plain.miou() - own.miou(),
            }
        return {"frames": len(plain), "miou": plain.miou(), "defences": figures}

    def worst_case(self) -> Figures:
        """Mean pixel accuracy if each frame meets the attack that is worst for it, by judge."""
        worst = {}
        for name in (NONE, *self.ours):
            columns = [self._column(attack_set(attack.name), name) for attack in self.plan.attacks]
            if columns:
                worst[name] = float(np.nanmean(np.min([column.accuracies() for column in columns], axis=0)))
        return worst

    def _column(self, frames: str, judge: str) -> Column:
        return self.results.columns[frames, judge]

    def _groups_of(self, column: Column) -> list[str]:
        by_drive = self.plan.resampled == "drive"
        return [record.drive if by_drive else record.name for record in column.records]

    def _interval(self, column: Column) -> Interval:
        return bootstrap(column.miou, self._groups_of(column))

    def _defended(self, frames: str, name: str) -> Figures:
        own, none, best = (self._column(frames, judge) for judge in (name, NONE, ORACLE))

        def recovered(chosen: np.ndarray) -> float:
            return recovery(own.miou(chosen), none.miou(chosen), best.miou(chosen))

        found = rate_interval(int(own.flagged.sum()), len(own))
        return {
            "miou": own.miou(),
            "miou_interval": _shown(self._interval(own)),
            "pixel_accuracy": own.pixel_accuracy(),
            "recovery": _shown(bootstrap(recovered, self._groups_of(own))),
            "recall": found.value,
            "recall_interval": _shown(found),
            "masked": float(own.masked.mean()),
            "mask_iou": own.mean("mask_iou"),
            "mask_recall": own.mean("mask_recall"),
            **self._detection(name, [own]),
        }

    def _detection(self, name: str, attacked: Sequence[Column]) -> Figures:
        """ROC figures of the frames of ``attacked`` together against the clean test frames."""
        clean = self._column(CLEAN_SET, name)
        scores = np.concatenate([clean.scores, *(column.scores for column in attacked)])
        groups = sum((self._groups_of(column) for column in attacked), self._groups_of(clean))

        def area(chosen: np.ndarray) -> float:
            of_clean = chosen < len(clean)
            if of_clean.all() or not of_clean.any():
                return math.nan
            return roc(scores[chosen[of_clean]], scores[chosen[~of_clean]]).area

        curve = roc(clean.scores, scores[len(clean) :])
        return {
            "auc": _shown(bootstrap(area, groups)),
            "tpr_at_1_percent": curve.true_positive_rate_at(0.01),
            "tpr_at_1_permille": curve.true_positive_rate_at(0.001),
        }

    def _pooled(self, name: str, members: Sequence[Figures]) -> Figures:
        columns = [self._column(attack_set(attack["name"]), name) for attack in members]
        gained = sum(attack["defences"][name]["miou"] - attack["attacked"]["value"] for attack in members)
        possible = sum(attack["oracle"] - attack["attacked"]["value"] for attack in members)
        own = [attack["defences"][name] for attack in members]
        return {
            **self._detection(name, columns),
            "mean_auc": float(np.mean([figures["auc"]["value"] for figures in own])),
            "recall": float(np.mean([figures["recall"] for figures in own])),
            "recovery": _ratio(gained, possible),
            "mask_iou": float(np.mean([figures["mask_iou"] for figures in own])),
        }


def _shown(interval: Interval) -> Figures:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
