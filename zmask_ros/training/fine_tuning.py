"""Adversarial fine-tuning of a segmentation network: what it says of a clean frame, it learns to say beside a patch.

Adversarial training against universal patches (after Madry et al., ICLR 2018, and, for universal perturbations of a
segmentation network, Mummadi et al., ICCV 2019), with a population of attackers who live while the network learns. No
labels are needed: the network as it was is the teacher (knowledge distillation, Hinton et al., 2015), so that clean
frames are segmented as before.

    (F1)  L = mean over clean pixels and attacked ones outside of the patch of  KL(teacher(clean) || network(shown))
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.attacks import stack_frames
from zmask_ros.attacks.recipe import CONSTRAINT, RESISTING
from zmask_ros.attacks.render import AttackedView
from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.profile.storage import profile_digest
from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.progress import Advance, no_advance
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversaries import ALIKE, Adversary, AdversaryKind
from zmask_ros.training.kept_state import digest_of, train
from zmask_ros.training.settings import FineTuningSettings

LIFETIME_STEPS = 100, 400
"""Of opponents: those that live longer find what those of few steps do not."""
OPPONENTS = (
    AdversaryKind(0.36, {"eot": ALIKE}, LIFETIME_STEPS),
    AdversaryKind(0.4, {}, LIFETIME_STEPS),
    AdversaryKind(0.36, {"eot": ALIKE, "loss": RESISTING}, LIFETIME_STEPS),
    AdversaryKind(0.4, {"objective": "targeted"}, LIFETIME_STEPS),
    AdversaryKind(0.25, {}, LIFETIME_STEPS),
    AdversaryKind(0.2, {"patches": 4}, LIFETIME_STEPS),
)
"""Who attacks the network while it learns."""
HIDING = {"adaptive": "flag", "evasion": CONSTRAINT}
"""What more they want where there is a profile: to stay below it."""
CLEAN_A_STEP = 1
"""Clean frames beside those with a patch."""
WARM_UP_SHARE = 0.1
"""Of the steps, in which the learning rate rises; afterwards it falls along half a cosine."""
MOST_LENGTH = 1.0
"""Of a step's gradient, beyond which it is shortened."""
SAVED_EVERY = 50
"""Steps between two states on disk."""


def fine_tune(
    segmenter: Segmenter,
    frames: Sequence[np.ndarray],
    settings: FineTuningSettings,
    profile: Profile | None = None,
    advance: Advance = no_advance,
    state: Path | None = None,
) -> Segmenter:
    """A copy of ``segmenter`` whose network has learned from patches that are made against it meanwhile.

    Args:
        segmenter: the network, in float32; it stays as it is. Its normalization layers keep their statistics.
        frames: clean ones, uint8 [h, w, 3] RGB at the network's input size.
        settings: how it learns.
        profile: of the network as it is: opponents stay below it; None: they know of no defense.
        advance: counts steps, each with its loss beside it.
        state: file that the state is kept in while it runs; where there is one already, it goes on from there and ends
            as if it had never stopped. The caller deletes it.

    Returns:
        the same segmenter with the network in its place, frozen; its digest is still the old one.

    Raises:
        ZmaskError: the network has no weights that could learn, cannot be differentiated, or its loss stops being a
            number.
        UnfitWorkError: ``state`` belongs to another fine-tuning.
    """
    tuning = train(
        lambda: FineTuning(segmenter, frames, settings, profile),
        settings.steps,
        state,
        lambda: {
            "network": segmenter.digest,
            "set of frames": digest_of(frames),
            "set of settings": repr((settings, OPPONENTS)),
            "profile": "none" if profile is None else profile_digest(profile),
        },
        SAVED_EVERY,
        advance,
        lambda loss: f"loss {loss:.3f}",
    )
    return tuning.result()


@dataclass(frozen=True)
class Shown:
    """What a step of a fine-tuning shows to the teacher and to the network.

    Attributes:
        clean: [B, 3, H, W], normalized: frames without a patch.
        logits: [B, K, H, W], what the network says of them; of some with a patch in them.
        counted: bool [B, H, W], pixels outside of patches.
    """

    clean: Tensor
    logits: Tensor
    counted: Tensor


class FineTuning:
    """An adversarial fine-tuning between two of its steps; see `fine_tune`."""

    def __init__(
        self,
        segmenter: Segmenter,
        frames: Sequence[np.ndarray],
        settings: FineTuningSettings,
        profile: Profile | None = None,
    ) -> None:
        self._teacher, self._settings = segmenter, settings
        self._student = replace(segmenter, network=copy.deepcopy(segmenter.network))
        self._weights = [own for own in nn.Module.parameters(self._student.network) if own.is_floating_point()]
        for weight in self._weights:
            weight.requires_grad_()
        if not self._weights:
            raise ZmaskError(f"The network '{segmenter.name}' has no weights that could learn.")
        self._defense = None if profile is None else Defense(self._student, profile)
        hiding = {} if profile is None else HIDING
        self._kinds = [replace(own, entries=own.entries | hiding) for own in OPPONENTS]
        self._stack = stack_frames(segmenter, ((frame, None) for frame in frames))
        self._draws = torch.Generator().manual_seed(settings.seed)
        self._next_seed = settings.seed
        self._opponents = [self._begin(kind, number) for number, kind in enumerate(self._kinds)]
        self._optimizer = torch.optim.Adam(self._weights, lr=settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._share)
        self.steps = 0

    def step(self) -> float:
        """A step of one opponent, and one of the network on what he shows and on a clean frame; its loss."""
        try:
            return self._step()
        except ZmaskError:
            raise
        # A user's network may raise anything where it is differentiated, or gets several images at once.
        except Exception as error:
            raise ZmaskError(
                f"The network '{self._teacher.name}' cannot learn ({describe_error(error)}): its layers have to be "
                "differentiable, and there has to be memory for three images at once."
            ) from error

    def _step(self) -> float:
        number = self.steps % len(self._opponents)
        own = self._opponents[number]
        loss = self._loss(self._shown(own.step(self._stack)))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ZmaskError("The network's outputs are no numbers any more: choose a lower learning rate.")
        gradients = torch.autograd.grad(loss, self._weights, allow_unused=True)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        nn.utils.clip_grad_norm_(self._weights, MOST_LENGTH)
        self._optimizer.step()
        self._schedule.step()
        if own.finished:
            self._opponents[number] = self._begin(own.kind, number)
        self.steps += 1
        return value

    def result(self) -> Segmenter:
        """The segmenter with the network as it is now, frozen."""
        network = copy.deepcopy(self._student.network)
        for weight in nn.Module.parameters(network):
            weight.requires_grad_(False)
            weight.grad = None
        return replace(self._student, network=network)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, apart from what it was begun with, for `restore`.

        To be written at once: the next step changes it.
        """
        return {
            "steps": self.steps,
            "next seed": self._next_seed,
            "draws": self._draws.get_state(),
            "opponents": [own.state() for own in self._opponents],
            "weights": [weight.detach().cpu() for weight in self._weights],
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a fine-tuning that was begun in the same way, as if it had never stopped."""
        self.steps, self._next_seed = state["steps"], state["next seed"]
        self._draws.set_state(state["draws"])
        self._opponents = [
            Adversary.restored(self._defense, self._student, kind, number, own)
            for number, (kind, own) in enumerate(zip(self._kinds, state["opponents"], strict=True))
        ]
        with torch.no_grad():
            for weight, kept in zip(self._weights, state["weights"], strict=True):
                weight.copy_(kept)
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])

    def _begin(self, kind: AdversaryKind, number: int) -> Adversary:
        seed, self._next_seed = self._next_seed, self._next_seed + 1
        return Adversary.begin(self._defense, self._student, kind, number, seed)

    def _share(self, step: int) -> float:
        """Of the learning rate, in this step."""
        warm_up = max(1.0, WARM_UP_SHARE * self._settings.steps)
        falling = (step - warm_up) / max(1.0, self._settings.steps - warm_up)
        return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(max(falling, 0.0), 1.0))))

    def _shown(self, attacked: AttackedView) -> Shown:
        """What an opponent shows, and clean frames beside it."""
        chosen = torch.randint(len(self._stack), (CLEAN_A_STEP,), generator=self._draws)
        clean = self._student.normalize(self._stack.batch(chosen, self._student.device)[0])
        logits = self._student.logits(clean)
        everywhere = torch.ones_like(logits[:, 0], dtype=torch.bool)
        return Shown(
            torch.cat([self._student.normalize(attacked.images), clean]),
            torch.cat([attacked.logits, logits]),
            torch.cat([attacked.mask[:, 0] == 0, everywhere]),
        )

    def _loss(self, shown: Shown) -> Tensor:
        """(F1)."""
        with torch.no_grad():
            wanted = self._teacher.logits(shown.clean).log_softmax(1)
        said = shown.logits.log_softmax(1)
        divergence = F.kl_div(said, wanted, reduction="none", log_target=True).sum(1)
        return (divergence * shown.counted).sum() / shown.counted.sum().clamp_min(1)
