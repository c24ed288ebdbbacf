"""Soft regions."""

import pytest
import torch

from zmask_ros.defense.masking.soft_region import hard_mask


def test_the_hard_mask_passes_the_gradient_of_the_soft_one():
    soft = torch.full((1, 1, 2, 2), 0.7, requires_grad=True)
    hard = hard_mask(soft, (4, 4))
    assert set(hard.detach().flatten().tolist()) == {1.0}
    hard.sum().backward()
    assert soft.grad is not None
    assert soft.grad.sum().item() == pytest.approx(16)
