"""The gradients that patches follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from zmask_ros.attacks.losses import attack_gradient, smoothness, smoothness_gradient


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
