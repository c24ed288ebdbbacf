"""What a preparation keeps on disk while it runs, so that the next call goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import io
import math
import shutil
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from zmask_ros.defense import Profile
from zmask_ros.errors import ZmaskError
from zmask_ros.io.files import make_folder, replace_file


@dataclass(frozen=True, eq=False)
class Best:
    """A profile, by what makes it differ from the one that fitting gave.

    Attributes:
        head: weights of its head by name.
        precaution_rate: share of clean frames that may be masked without being flagged; None: none.
        steps: of training behind the head.
        against: adaptive patches that were made against it by kind, float [3, h, w] in 0..1; none: it is compared on
            those against what fitting gave.
        patched: what nearly all frames score with patches that its head has learned from; None: it has learned nothing.
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
        patch_steps, shown_frames: of each patch, and clean frames that the head is shown; None: not decided yet.
        patches: finished ones by kind, float [3, h, w] in 0..1.
        patch_seconds: that the last of them took, an adaptive one.
        compare_seconds: that a comparison takes.
        best, best_merit: the best profile so far, and how good it is; None: none was compared yet.
        best_figures, best_alarms: what that is made of: `PatchFigures` by kind, and the share of false alarms.
        rounds: of head and attacker so far.
        stale: comparisons in a row that found no better one.
        last: the head of the last lesson; None: it has not been given.
        anew: finished patches against the best and the last, once there are no more rounds, by kind and by whom.
        learned: patches that the head learns from, in the order in which it met them, as ``patches``.
        head, steps: the last head, and the steps behind it; None: it has not begun to learn.
        oracle_seconds, lesson_seconds: that it took to show the head what is benign, and to teach it when it began.
        round_seconds: that the last round of head and attacker took.
    """

    spent: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    patch_steps: int | None = None
    shown_frames: int | None = None
    patches: dict[str, Tensor] = field(default_factory=dict)
    patch_seconds: float = 0.0
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
        head = profile.detector.head
        assert head is not None
        return self._path / f"screened_{head.digest[:16]}.zmask.safetensors"

    def load(self) -> PreparationState | None:
        """What was kept; None: nothing.

        Raises:
            ZmaskError: it is damaged, or belongs to another preparation.
        """
        if not self._file.exists():
            return None
        try:
            kept = torch.load(self._file, weights_only=True)
            belonged_to: dict[str, str] = kept["belongs_to"]
            heads = {name: None if own is None else Best(**own) for name, own in kept["heads"].items()}
            state = PreparationState(**kept["state"], best=heads["best"], last=heads["last"])
        # An older version kept other things.
        except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
            raise ZmaskError(f"{self._path} cannot be gone on with: delete it and begin anew.") from error
        if belonged_to.keys() != self._belongs_to.keys():
            raise ZmaskError(f"{self._path} is of another version: delete it and begin anew.")
        for what, digest in self._belongs_to.items():
            if belonged_to[what] != digest:
                raise ZmaskError(
                    f"{self._path} was begun with another {what}: go on with the same, or delete that folder."
                )
        return state

    def save(self, state: PreparationState) -> None:
        """Keep ``state``, in the place of what was kept before.

        Raises:
            ZmaskError: the place cannot be written to.
        """
        make_folder(self._path)
        heads = {name: None if own is None else _columns(own) for name, own in state.heads.items()}
        own = {name: value for name, value in _columns(state).items() if name not in heads}
        content = io.BytesIO()
        torch.save({"belongs_to": self._belongs_to, "state": own, "heads": heads}, content)
        replace_file(self._file, content.getvalue())

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._path, ignore_errors=True)


def _columns(own: Best | PreparationState) -> dict[str, Any]:
    return {column.name: getattr(own, column.name) for column in fields(own)}
