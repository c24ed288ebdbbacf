"""What a preparation keeps on disk while it runs, so that the next call goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import math
import shutil
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from zmask_ros.defense import Profile
from zmask_ros.training.kept_state import read_state, unfit, write_state


@dataclass(frozen=True, eq=False)
class Best:
    """A profile, by what makes it differ from the one that fitting gave.

    Attributes:
        head: weights of its head by name.
        precaution_rate: share of clean frames that may be masked without being flagged; None: none.
        steps: of training behind the head.
        against: adaptive patches that were made against it by kind, float [P, 3, h, w] in 0..1; none: it is compared on
            those against what fitting gave.
        patched: what nearly all frames score with patches that its head has learned from, or, where it is of other
            networks, with one that was tried on this one; None: nobody knows.
    """

    head: dict[str, Tensor]
    precaution_rate: float | None
    steps: int
    against: dict[str, Tensor] = field(default_factory=dict)
    patched: float | None = None

    @property
    def key(self) -> tuple[str, float | None]:
        """What tells it from the others of a preparation."""
        return self.digest, self.precaution_rate

    @cached_property
    def digest(self) -> str:
        """Of the head's weights."""
        return hashlib.sha256(b"".join(self.head[name].numpy().tobytes() for name in sorted(self.head))).hexdigest()


@dataclass
class PreparationState:
    """A preparation between two of its steps: plain values and tensors.

    Attributes:
        spent: seconds so far.
        stages: seconds of each stage.
        patched: what nearly all frames score with the patch that was tried after fitting; None: none was.
        patch_steps, shown_frames: of each patch, and clean frames that the head is shown; None: not decided yet.
        patches: finished ones by kind, float [P, 3, h, w] in 0..1: P that are seen together.
        knowing_seconds: that those of them took that know the defense, by kind.
        compare_seconds: that a comparison takes.
        best, best_merit: the best profile so far, and how good it is; None: none was compared yet.
        best_figures, best_alarms: what that is made of: `PatchFigures` by kind, and the share of false alarms.
        rounds: of head and attackers so far.
        stale: comparisons in a row that found no better one.
        last: the head of the last lesson; None: it has not been given.
        anew: finished patches against the best and the last, once there are no more rounds, by kind and by whom.
        learned: patches that the head learns from, in the order in which it met them, as ``patches``.
        head, steps: the last head, and the steps behind it; None: it has not begun to learn.
        oracle_seconds, lesson_seconds: that it took to show the head what is benign, and to teach it when it began.
        round_seconds: that the last round of head and attackers took.
        refused: why the check did not take the best head; empty: it took it, or there was none.
        screen_steps: of the screen's training that has begun.
    """

    spent: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    patched: float | None = None
    patch_steps: int | None = None
    shown_frames: int | None = None
    patches: dict[str, Tensor] = field(default_factory=dict)
    knowing_seconds: dict[str, float] = field(default_factory=dict)
    compare_seconds: float = 0.0
    best: Best | None = None
    best_merit: float = -math.inf
    best_figures: dict[str, tuple[float, ...]] = field(default_factory=dict)
    best_alarms: float = 0.0
    rounds: int = 0
    stale: int = 0
    last: Best | None = None
    anew: dict[str, Tensor] = field(default_factory=dict)
    learned: dict[str, Tensor] = field(default_factory=dict)
    head: dict[str, Tensor] | None = None
    steps: int = 0
    oracle_seconds: float = 0.0
    lesson_seconds: float = 0.0
    round_seconds: float = 0.0
    refused: str = ""
    screen_steps: int = 0

    @property
    def patch_seconds(self) -> float:
        """That a patch takes which knows the defense; 0 before there is one."""
        return fmean(self.knowing_seconds.values()) if self.knowing_seconds else 0.0

    @property
    def heads(self) -> dict[str, Best | None]:
        """Those that are kept, by name."""
        return {"best": self.best, "last": self.last}


class WorkFolder:
    """The folder of one preparation.

    Args:
        path: of the folder, made where it does not exist.
        belongs_to: digests of what the preparation is made with, by words that a sentence can use.
    """

    def __init__(self, path: Path, belongs_to: dict[str, str]) -> None:
        self._path, self._belongs_to = path, belongs_to
        self._file = path / "state.pt"

    def attack(self, kind: str) -> Path:
        """Where the state of an unfinished patch is."""
        return self._path / f"{kind.replace(', ', '_')}.attack.safetensors"

    def screened(self, profile: Profile) -> Path:
        """Where a profile is that has got its screen."""
        return self._path / f"screened_{_head_digest(profile)}.zmask.safetensors"

    def screening(self, profile: Profile) -> Path:
        """Where the state of an unfinished screen for a profile is."""
        return self._path / f"screening_{_head_digest(profile)}.pt"

    def load(self) -> PreparationState | None:
        """What was kept; None: nothing.

        Raises:
            ZmaskError: it is damaged, or belongs to another preparation.
        """
        kept = read_state(self._file, self._belongs_to, self._path)
        if kept is None:
            return None
        try:
            heads = {name: None if own is None else Best(**own) for name, own in kept["heads"].items()}
            return PreparationState(**kept["preparation"], best=heads["best"], last=heads["last"])
        # An older version kept other things.
        except (KeyError, TypeError) as error:
            raise unfit(self._path) from error

    def save(self, state: PreparationState) -> None:
        """Keep ``state``, in the place of what was kept before.

        Raises:
            ZmaskError: the place cannot be written to.
        """
        heads = {name: None if own is None else _columns(own) for name, own in state.heads.items()}
        own = {name: value for name, value in _columns(state).items() if name not in heads}
        write_state(self._file, {"preparation": own, "heads": heads}, self._belongs_to)

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._path, ignore_errors=True)


def _head_digest(profile: Profile) -> str:
    head = profile.detector.head
    assert head is not None
    return head.digest[:16]


def _columns(own: Best | PreparationState) -> dict[str, Any]:
    return {column.name: getattr(own, column.name) for column in fields(own)}
