"""The fusion block and the score, against slow and obvious ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import obvious
from support.tensors import random_tensor, seeds
from zmask_ros.defense.evidence.fusion import FusionBlock, attack_score


@settings(deadline=None, max_examples=20)
@given(seeds, st.lists(st.floats(-4, 4), min_size=8, max_size=8))
def test_fusion_and_score_equal_the_obvious_ones(seed, scalars):
    shallow, deep = (random_tensor(seed + i, 1, 1, 9, 11).abs() for i in range(2))
    mask = FusionBlock(torch.tensor(scalars))(shallow, deep)
    expected, score = obvious.fusion_and_score(shallow[0, 0].double().numpy(), deep[0, 0].double().numpy(), scalars)
    np.testing.assert_allclose(mask[0, 0].numpy(), expected, atol=1e-4)
    assert attack_score(shallow, deep, mask).item() == pytest.approx(score, rel=1e-3, abs=1e-4)


def test_the_gate_follows_the_deep_evidence():
    block = FusionBlock(torch.tensor([4.0, -4.0, 8.0, 0.0, 4.0, -4.0, 8.0, 0.0]))
    deep = torch.tensor([0.1, 1.0, 10.0])
    assert block.gate(deep).tolist() == pytest.approx([0, 0.5, 1], abs=0.01)
