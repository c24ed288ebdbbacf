"""The gradient that attackers follow through the shipped network and its defence, held against differences."""

import pytest
import torch

from zmask_ros.attacks.adaptive import log_heat
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import Defense, load_profile
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import load_segmenter

STEP = 1e-6


@pytest.fixture(scope="module")
def defense():
    segmenter = load_segmenter("lraspp_camvid", "cpu")
    defense = Defense(segmenter, load_profile(shipped_profile("lraspp_camvid"))).double()
    segmenter.network.double()
    return defense


@pytest.fixture(scope="module")
def image(defense):
    x = defense.segmenter.prepare(StreetDrive(7, duration_s=1.0)[0].image).double()
    noise = torch.randn(1, 3, 120, 120, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[..., 100:220, 200:320] = noise
    return x


@pytest.mark.parametrize(
    "of",
    [
        lambda logits, analysis: analysis.score.sum(),
        lambda logits, analysis: log_heat(analysis).mean(),
        lambda logits, analysis: analysis.mask.sum(),
        lambda logits, analysis: logits.square().mean(),
    ],
    ids=["score", "log heat", "mask", "logits"],
)
def test_it_is_the_numerical_one(defense, image, of):
    x = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(of(*defense.analyze(x)), x)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        above, below = (of(*defense.analyze(image + sign * STEP * direction)) for sign in (1, -1))
    assert float((above - below) / (2 * STEP)) == pytest.approx(float(gradient.norm()), rel=1e-3)
    assert float(gradient.norm()) > 0
