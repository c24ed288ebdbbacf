"""What an attack wants of each pixel."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from support.neighbourly import generator, segmenter
from zmask_ros.attacks import Recipe
from zmask_ros.attacks.losses import attack_gradient
from zmask_ros.attacks.objectives import SURE_LEAD, Goal, goal_of
from zmask_ros.errors import AttackError


@pytest.fixture
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Logits [1, 4, 6, 6] with a gradient, labels with unlabelled ones, and a mask."""
    logits = torch.randn(1, 4, 6, 6, generator=generator(), requires_grad=True)
    labels = torch.randint(0, 4, (1, 6, 6), generator=generator(1), dtype=torch.uint8)
    labels[0, 0] = 255
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 5, :] = 1
    return logits, labels, mask


def test_a_targeted_attack_wants_one_class_everywhere(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, mask = scene
    pixels = Goal("targeted", 2).losses(logits, labels, mask)
    for y, x in np.ndindex(6, 6):
        counts = y not in (0, 5)
        assert bool(pixels.counted[0, y, x]) == counts
        assert bool(pixels.resisting[0, y, x]) == (counts and int(logits[0, :, y, x].argmax()) != 2)
        assert pixels.gain[0, y, x].item() == pytest.approx(logits[0, :, y, x].log_softmax(0)[2].item(), abs=1e-5)


def test_a_hiding_attack_wants_only_the_pixels_of_its_class(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, mask = scene
    pixels = Goal("hiding", 1).losses(logits, labels, mask)
    assert pixels.counted.any()
    for y, x in np.ndindex(6, 6):
        counts = y not in (0, 5) and int(labels[0, y, x]) == 1
        scores = logits[0, :, y, x].tolist()
        assert bool(pixels.counted[0, y, x]) == counts
        assert bool(pixels.resisting[0, y, x]) == (counts and int(np.argmax(scores)) == 1)
        lead = max(scores[:1] + scores[2:]) - scores[1]
        assert pixels.gain[0, y, x].item() == pytest.approx(lead, abs=1e-5)


@pytest.mark.parametrize("goal", [Goal(), Goal("targeted", 2), Goal("hiding", 1)])
@pytest.mark.parametrize("gamma", [None, 0.5, 1.0])
def test_following_the_gradient_wins_pixels(
    goal: Goal, gamma: float | None, scene: tuple[Tensor, Tensor, Tensor]
) -> None:
    _, labels, mask = scene
    patch = torch.zeros(1, 4, 6, 6, requires_grad=True)
    offset = 2 * torch.nn.functional.one_hot(labels.long().clamp(max=3), 4).permute(0, 3, 1, 2)
    first = attack_gradient(patch + offset, labels, mask, patch, gamma, goal)
    for _ in range(60):
        step = attack_gradient(patch + offset, labels, mask, patch, gamma, goal)
        with torch.no_grad():
            patch -= step.direction
    last = attack_gradient(patch + offset, labels, mask, patch, gamma, goal)
    assert last.loss > first.loss
    assert last.pixel_accuracy < first.pixel_accuracy


def test_a_target_must_be_a_class_of_the_network() -> None:
    assert goal_of(Recipe(objective="hiding", target="blue"), segmenter()) == Goal("hiding", 1)
    with pytest.raises(AttackError, match="red, blue"):
        goal_of(Recipe(objective="targeted", target="green"), segmenter())


LATER_LOSSES = ("cross_entropy", "resisting", "margin", "ratio", "focal")


@pytest.mark.parametrize("loss", LATER_LOSSES)
@pytest.mark.parametrize("goal", [Goal(), Goal("targeted", 2), Goal("hiding", 1)])
def test_every_loss_pushes_a_pixel_that_resists_to_where_the_goal_wants_it(goal: Goal, loss: str) -> None:
    # One pixel that resists: class 1 where it is to be left, class 1 where class 2 is wanted.
    logits = torch.tensor([0.5, 2.0, 1.0, -1.0]).reshape(1, 4, 1, 1).requires_grad_()
    labels, mask = torch.full((1, 1, 1), 1, dtype=torch.uint8), torch.zeros(1, 1, 1, 1)
    pixels = replace(goal, loss=loss).losses(logits, labels, mask)
    assert bool(pixels.resisting.all()) and bool(pixels.counted.all())
    (slope,) = torch.autograd.grad(pixels.gain.sum(), logits)
    assert slope[0, 1] < 0 and slope[0, 2] > 0


@pytest.mark.parametrize("loss", LATER_LOSSES)
def test_pixels_under_the_patch_and_without_labels_do_not_count(loss: str) -> None:
    logits = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[[255, 1], [2, 3]]], dtype=torch.uint8)
    mask = torch.tensor([[[[0.0, 0.0], [1.0, 0.0]]]])
    pixels = Goal(loss=loss).losses(logits, labels, mask)
    assert pixels.counted.tolist() == [[[False, True], [False, True]]]
    assert not bool((pixels.resisting & ~pixels.counted).any())


def test_losses_by_hand() -> None:
    logits = torch.tensor([3.0, 1.0, 0.0, -1.0]).reshape(1, 4, 1, 1)
    labels, mask = torch.zeros(1, 1, 1, dtype=torch.uint8), torch.zeros(1, 1, 1, 1)
    entropy = float(-logits[0, :, 0, 0].log_softmax(0)[0])
    expected = {"cross_entropy": entropy, "resisting": entropy, "margin": 1 - 3, "ratio": (1 - 3) / (3 - 0)}
    expected["focal"] = entropy * math.exp(-entropy) ** 2
    for loss, value in expected.items():
        assert float(Goal(loss=loss).losses(logits, labels, mask).gain) == pytest.approx(value), loss
    far = torch.tensor([0.0, 9.0, 0.0, 0.0]).reshape(1, 4, 1, 1)
    assert float(Goal(loss="margin").losses(far, labels, mask).gain) == SURE_LEAD
    assert float(Goal(loss="resisting").losses(far, labels, mask).gain) == 0
