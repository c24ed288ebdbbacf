"""Over-activation of the patch's own neurons: what graded patches and decoys are made with.

After Rossolini et al., AAAI 2023: ``argmin (1 - b) L_OZ + b L_Adv``, with L_OZ the mean z-score over the patch's
neurons in shallow layers. A patch of small b is a weak attack that is also hard to see in the heat maps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.defense.profile.profile import Profile


class OverActivationLoss(nn.Module):
    """``L_OZ``: mean over the shallow layers of the mean ``|A - mu| / sigma`` of the neurons below the patch."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self.layers = profile.detector.shallow.layers
        for number, layer in enumerate(self.layers):
            statistics = profile.detector.statistics[statistics_key("shallow", layer)]
            # Row 0 are the activations themselves, before any pooling.
            sigma = statistics.moments.std[0]
            inverse = torch.where(statistics.alive, 1 / sigma.clamp_min(1e-12), 0.0)
            self.register_buffer(f"mean_{number}", statistics.mean.float()[:, None, None])
            self.register_buffer(f"weight_{number}", (inverse / statistics.alive.sum().clamp_min(1)).float())

    def forward(self, activations: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Scalar, at least 0, from the layers' activations [B, C, h, w] and the patch's mask [B, 1, H, W]."""
        return torch.stack([self._layer(n, activations[layer], mask) for n, layer in enumerate(self.layers)]).mean()

    def _layer(self, number: int, activation: Tensor, mask: Tensor) -> Tensor:
        deviation = (activation - self.get_buffer(f"mean_{number}")).abs()
        score = torch.einsum("bchw,c->bhw", deviation, self.get_buffer(f"weight_{number}"))
        # A neuron counts by how much of its cell the patch covers.
        share = functional.adaptive_avg_pool2d(mask.to(score), (score.shape[-2], score.shape[-1]))[:, 0]
        return (score * share).sum() / share.sum().clamp_min(1e-6)
