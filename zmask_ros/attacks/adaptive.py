"""What attackers who know the defence follow: losses on its evidence, its score and its mask.

A saturated sigmoid has no slope, and an attack that stops there proves nothing about the defence (Athalye et al.,
ICML 2018). So besides the score and the mask themselves every loss here has a part before the fusion block's sigmoids:
the logarithm of the heat ``H_S H_D``, which has a slope of the same size wherever there is heat.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from zmask_ros.attacks.render import View
from zmask_ros.defense import Analysis
from zmask_ros.defense.masking.soft_region import OPEN

MARGIN = 0.5
"""How far below the threshold a score is pushed, as a difference of logarithms: transformations vary."""
PEAK_SHARE = 0.01
"""Share of the working grid whose hottest pixels stand for the score where the fusion block is saturated."""
LEAST_WEIGHT = 0.1
"""Of the coldest pixels of the view against the hottest one, where all of it is to be masked."""
TINY = 1e-6


def flag_loss(analysis: Analysis, threshold: float) -> Tensor:
    """Scalar to descend: how far images are above the threshold, on a logarithmic scale; 0 where none is near it.

    Of each image whose score is above ``exp(-MARGIN) threshold``: the excess of the score's logarithm, and the
    logarithm of its hottest evidence.
    """
    excess = _log_excess(analysis, threshold) + MARGIN
    return torch.where((excess > 0).detach(), excess + _log_peak(analysis), 0.0).mean()


def alarm_loss(analysis: Analysis, threshold: float) -> Tensor:
    """Scalar to descend: how far images are below the threshold; the opposite of `flag_loss`, with the same margin."""
    excess = _log_excess(analysis, threshold) - MARGIN
    return -torch.where((excess < 0).detach(), excess + _log_peak(analysis), 0.0).mean()


def exposure_loss(view: View, region: Tensor) -> Tensor:
    """Scalar to descend: the heat on the patch where it is masked; 0 where no patch is masked any more.

    Args:
        view: of B images.
        region: the defence's soft region to mask, [B, 1, h, w].
    """
    covered = _share(view.mask, region) * (region > OPEN).to(region)
    return (covered * (_heat(view) + region)).sum() / covered.sum().clamp_min(1.0)


def blindness_loss(view: View, region: Tensor) -> Tensor:
    """Scalar to descend: less the heat on what is not patch and is not masked yet; shapes as in `exposure_loss`."""
    heat = _heat(view)
    # What is warm already opens first: weighed alike, all the cold pixels would drown it.
    warmth = (heat - heat.amax((-2, -1), keepdim=True)).exp().detach()
    weight = (1 - _share(view.mask, region)) * (region <= OPEN).to(region) * (warmth + LEAST_WEIGHT)
    return -(weight * (heat + region)).sum() / weight.sum().clamp_min(TINY)


def _log_excess(analysis: Analysis, threshold: float) -> Tensor:
    """[B]: logarithm of each score over the threshold."""
    return (analysis.score + TINY).log() - math.log(max(threshold, TINY))


def _log_peak(analysis: Analysis) -> Tensor:
    """[B]: mean log heat of the hottest pixels."""
    heat = log_heat(analysis).flatten(1)
    return heat.topk(max(1, round(PEAK_SHARE * heat.shape[1])), dim=1).values.mean(1)


def log_heat(analysis: Analysis) -> Tensor:
    """[B, 1, h, w]: logarithm of the evidence before the fusion block."""
    evidence = analysis.evidence
    return (evidence.shallow + TINY).log() + (evidence.deep + TINY).log()


def _heat(view: View) -> Tensor:
    assert view.analysis is not None
    return log_heat(view.analysis)


def _share(mask: Tensor, like: Tensor) -> Tensor:
    """How much of each pixel of the working grid a mask [B, 1, H, W] covers."""
    return functional.adaptive_avg_pool2d(mask.to(like), (like.shape[-2], like.shape[-1]))
