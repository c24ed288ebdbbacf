"""Losses of adaptive attackers, who know the defense: on its evidence, its score and its mask.

A saturated sigmoid has no slope, and an attack that stops there proves nothing about the defense (Athalye et al.,
ICML 2018). So besides the score and the mask themselves every loss here has a part before the fusion block's sigmoids:
the logarithm of the heat ``H_S H_D``, which has a slope of the same size wherever there is heat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from zmask_ros.attacks.render import AttackedView
from zmask_ros.defense import Analysis
from zmask_ros.defense.masking.soft_region import OPEN

MARGIN = 0.5
"""How far below the threshold a score is pushed, as a difference of logarithms: transformations vary."""
PEAK_SHARE = 0.01
"""Share of the working grid whose hottest pixels stand for the score where the fusion block is saturated."""
LEAST_WEIGHT = 0.1
"""Weight of the coldest pixels of the view against the hottest one, where all of it is to be masked."""
TINY = 1e-6


def flag_loss(analysis: Analysis, threshold: float) -> Tensor:
    """Scalar to descend: how far images are above the threshold, on a logarithmic scale; 0 where none is near it.

    For each image with the score ``s`` and the threshold ``t``, where ``log(s / t) + MARGIN > 0``: that excess, plus
    the mean logarithm of its hottest evidence.
    """
    excess = _log_excess(analysis, threshold) + MARGIN
    return torch.where((excess > 0).detach(), excess + _log_peak(analysis), 0.0).mean()


def excess_loss(analysis: Analysis, threshold: float, margin: float) -> Tensor:
    """Scalar to descend: mean over the images of how far ``log(s / t)`` is above ``-margin``, 0 where it is below."""
    return (_log_excess(analysis, threshold) + margin).clamp_min(0).mean()


def constraint_loss(analysis: Analysis, threshold: float, margin: float) -> Tensor:
    """Scalar to descend: the hinge of `excess_loss`, half its square, and where it is above 0 the hottest evidence.

    The square is what an augmented Lagrangian adds: images far above the limit count more.
    """
    excess = (_log_excess(analysis, threshold) + margin).clamp_min(0)
    return (excess + excess**2 / 2 + torch.where((excess > 0).detach(), _log_peak(analysis), 0.0)).mean()


def share_above(limits: Iterable[tuple[Analysis, float]], margin: float) -> float:
    """Share of the images, 0..1, whose ``log(s / t)`` is above ``-margin`` in any of several analyses."""
    excesses = torch.stack([_log_excess(analysis, threshold) for analysis, threshold in limits])
    return float((excesses.amax(0) > -margin).float().mean())


def alarm_loss(analysis: Analysis, threshold: float) -> Tensor:
    """Scalar to descend: how far images are below the threshold; the opposite of `flag_loss`, with the same margin."""
    excess = _log_excess(analysis, threshold) - MARGIN
    return -torch.where((excess < 0).detach(), excess + _log_peak(analysis), 0.0).mean()


def mask_evasion_loss(view: AttackedView, region: Tensor) -> Tensor:
    """Scalar to descend: the heat on the patch where it is masked; 0 where no patch is masked any more.

    Args:
        view: of B images; the defense is known.
        region: the soft region that the defense masks, [B, 1, h, w] on the working grid.
    """
    covered = _patch_share(view, region) * (region > OPEN).to(region)
    return (covered * (_log_heat(view) + region)).sum() / covered.sum().clamp_min(1.0)


def overmasking_loss(view: AttackedView, region: Tensor) -> Tensor:
    """Scalar to descend: minus the heat on what is neither patch nor masked yet.

    Args:
        view: of B images; the defense is known.
        region: the soft region that the defense masks, [B, 1, h, w] on the working grid.
    """
    heat = _log_heat(view)
    # What is warm already opens first: weighed alike, all the cold pixels would drown it.
    warmth = (heat - heat.amax((-2, -1), keepdim=True)).exp().detach()
    weight = (1 - _patch_share(view, region)) * (region <= OPEN).to(region) * (warmth + LEAST_WEIGHT)
    return -(weight * (heat + region)).sum() / weight.sum().clamp_min(TINY)


def log_heat(analysis: Analysis) -> Tensor:
    """[B, 1, h, w]: ``log H_S + log H_D``, the logarithm of the evidence before the fusion block."""
    evidence = analysis.evidence
    return (evidence.shallow + TINY).log() + (evidence.deep + TINY).log()


def _log_heat(view: AttackedView) -> Tensor:
    assert view.analysis is not None
    return log_heat(view.analysis)


def _log_excess(analysis: Analysis, threshold: float) -> Tensor:
    """[B]: logarithm of each score over the threshold."""
    return (analysis.score + TINY).log() - math.log(max(threshold, TINY))


def _log_peak(analysis: Analysis) -> Tensor:
    """[B]: mean log heat of the hottest pixels."""
    heat = log_heat(analysis).flatten(1)
    return heat.topk(max(1, round(PEAK_SHARE * heat.shape[1])), dim=1).values.mean(1)


def _patch_share(view: AttackedView, region: Tensor) -> Tensor:
    """[B, 1, h, w]: how much of each pixel of the working grid the patches cover, 0..1."""
    return functional.adaptive_avg_pool2d(view.mask.to(region), (region.shape[-2], region.shape[-1]))
