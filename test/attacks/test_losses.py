"""What patches are optimised for: goals, smoothness, colours that can be printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from support.neighbourly import generator, segmenter
from zmask_ros.attacks import Recipe
from zmask_ros.attacks.losses import attack_gradient, smoothness, smoothness_gradient
from zmask_ros.attacks.objectives import Goal, goal_of
from zmask_ros.attacks.printing import non_printability, non_printability_gradient, read_palette
from zmask_ros.errors import AttackError


def test_the_attack_gradient_equals_the_formula() -> None:
    torch.manual_seed(0)
    patch = torch.rand(3, 4, 4, requires_grad=True)
    weights = torch.randn(5, 3 * 4 * 4)
    field, offset = torch.linspace(-1, 1, 36).reshape(1, 1, 6, 6), torch.randn(1, 5, 6, 6)

    def network() -> Tensor:
        return (weights @ patch.flatten()).reshape(1, 5, 1, 1) * field + offset

    logits = network()
    labels = torch.randint(0, 5, (1, 6, 6), dtype=torch.uint8)
    labels[0, 0] = 255
    labels[0, 2:, :3] = logits[0, :, 2:, :3].argmax(0).to(torch.uint8)
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 5, :] = 1

    ok, wrong, correct = torch.zeros(()), torch.zeros(()), 0
    for y, x in np.ndindex(6, 6):
        if y in (0, 5):
            continue
        loss = -logits[0, :, y, x].log_softmax(0)[int(labels[0, y, x])]
        if logits[0, :, y, x].argmax() == labels[0, y, x]:
            ok, correct = ok + loss, correct + 1
        else:
            wrong = wrong + loss
    gradients = [torch.autograd.grad(group, patch, retain_graph=True)[0] for group in (ok, wrong)]
    unit = [g / g.norm() for g in gradients]

    fixed = attack_gradient(network(), labels, mask, patch, gamma=0.7)
    assert correct > 0
    assert fixed.pixel_accuracy == pytest.approx(correct / 24)
    assert fixed.loss == pytest.approx((ok + wrong).item() / 24, rel=1e-5)
    torch.testing.assert_close(fixed.direction, -(0.7 * unit[0] + 0.3 * unit[1]), rtol=1e-4, atol=1e-6)

    dynamic = attack_gradient(network(), labels, mask, patch)
    share = correct / 24
    torch.testing.assert_close(dynamic.direction, -(share * unit[0] + (1 - share) * unit[1]), rtol=1e-4, atol=1e-6)


def test_smoothness_and_its_gradient() -> None:
    patch = torch.tensor([[[0.0, 1.0], [3.0, 3.0]]])
    assert smoothness(patch).item() == pytest.approx(9 + 4 + 1 + 0)
    gradient = smoothness_gradient(patch)
    assert gradient.norm().item() == pytest.approx(1.0)
    assert smoothness(patch - 0.1 * gradient) < smoothness(patch)
    assert not smoothness_gradient(torch.full((3, 4, 4), 0.3)).any()


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


def test_non_printability_is_the_mean_product_of_distances() -> None:
    palette = torch.rand(3, 3, generator=generator())
    patch = torch.rand(3, 4, 5, generator=generator(1))
    products = [np.prod([np.linalg.norm(patch[:, y, x] - c) for c in palette]) for y, x in np.ndindex(4, 5)]
    assert non_printability(patch, palette).item() == pytest.approx(np.mean(products), rel=1e-5)
    assert non_printability(palette[1].reshape(3, 1, 1), palette).item() < 1e-4


def test_the_non_printability_gradient_is_finite_for_huge_palettes_and_leads_to_their_colours() -> None:
    palette = torch.rand(400, 3, generator=generator()) * 0.1
    patch = torch.rand(3, 6, 6, generator=generator(1)) * 0.05
    patch[:, 0, 0] = palette[7]
    # The product of 400 such distances is far below what float32 can hold.
    gradient = non_printability_gradient(patch, palette)
    assert torch.isfinite(gradient).all()
    assert gradient.norm().item() == pytest.approx(1.0, rel=1e-4)
    black_and_white = torch.tensor([[0.0, 0, 0], [1, 1, 1]])
    moved = torch.rand(3, 8, 8, generator=generator(2))
    before = non_printability(moved, black_and_white)
    for _ in range(100):
        moved = (moved - 0.05 * non_printability_gradient(moved, black_and_white)).clamp(0, 1)
    assert non_printability(moved, black_and_white) < 0.5 * before


def test_palettes_come_from_the_package_from_csv_and_from_json(tmp_path: Path) -> None:
    built_in = read_palette()
    assert len(built_in) >= 24 and built_in.min() >= 0 and built_in.max() <= 1
    (tmp_path / "a.csv").write_text("# mine\nred,green,blue\n255,0,51\n")
    (tmp_path / "a.json").write_text("[[255, 0, 51]]")
    for name in ("a.csv", "a.json"):
        torch.testing.assert_close(read_palette(tmp_path / name), torch.tensor([[1.0, 0.0, 0.2]]))


@pytest.mark.parametrize("text", ["", "1,2\n", "red,green\n1,2\n", "1,2,300\n", "1,2,x\n"])
def test_palettes_of_something_else_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(AttackError, match="palette"):
        read_palette(path)
    with pytest.raises(AttackError, match="cannot be read"):
        read_palette(tmp_path / "none.csv")
