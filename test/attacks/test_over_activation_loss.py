"""The over-activation of the patch's own neurons."""

from __future__ import annotations

import pytest
import torch

from support import tiny_network
from support.neighbourly import generator
from zmask_ros.attacks.over_activation_loss import OverActivationLoss
from zmask_ros.defense import ActivationTaps, Profile


def test_over_activation_is_the_mean_z_score_below_the_patch(fitted: Profile) -> None:
    network = tiny_network.build(0)
    x = torch.randn(2, 3, 48, 64, generator=generator())
    mask = torch.zeros(2, 1, 48, 64)
    mask[:, :, 10:20, 30:50] = 1
    with torch.no_grad(), ActivationTaps(network, ["0"]) as taps:
        network(x)
        activation = taps["0"]
    moments = fitted.detector.statistics["shallow:0"].moments
    z = (activation.double() - moments.mean[0][:, None, None]).abs() / moments.std[0][:, None, None]
    expected = float(z[:, :, 10:20, 30:50].mean())
    assert float(OverActivationLoss(fitted)({"0": activation}, mask)) == pytest.approx(expected, rel=1e-5)
