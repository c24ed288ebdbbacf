"""How images look with patches in them: to the network, and where it is known, to the defense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import apply_patches
from zmask_ros.defense import Analysis, Defense, masked_logits, tap
from zmask_ros.defense.streaming.cascade import Screening
from zmask_ros.segmenters import Segmenter, two_class_scores


@dataclass(frozen=True)
class AttackedView:
    """What B images with N patches in them look like to the car; differentiable with respect to the patches.

    Attributes:
        images: [B, 3, H, W] in 0..1, without the patches.
        x: [B, 3, H, W], the normalized images with the patches.
        masks: [B, N, H, W], 1 where each patch is.
        logits: [B, K, H, W], of the undefended network.
        auxiliaries: further logits [B, K, H, W]; none unless they were asked for.
        analysis: of the defense; None where it is not known.
        shallow: activations [B, C, h, w] of the layers that the defense taps for S; empty where it is not known.
        screened: the screen's analysis; None where it is not known.
    """

    images: Tensor
    x: Tensor
    masks: Tensor
    logits: Tensor
    auxiliaries: tuple[Tensor, ...]
    analysis: Analysis | None
    shallow: dict[str, Tensor]
    screened: Analysis | None = None

    @property
    def mask(self) -> Tensor:
        """[B, 1, H, W], 1 where any patch is."""
        return self.masks.amax(1, keepdim=True)


@dataclass(frozen=True)
class PatchRenderer:
    """Puts patches into images and runs the network and the defense on them.

    Attributes:
        segmenter: the attacked network.
        defense: the defense that the attacker knows, if any.
        shape: [h, w] in 0..1, how much each patch pixel hides; None: rectangles.
        auxiliary: whether auxiliary outputs are wanted.
        screening: that the attacker knows beside the defense, if any.
    """

    segmenter: Segmenter
    defense: Defense | None = None
    shape: Tensor | None = None
    auxiliary: bool = False
    screening: Screening | None = None

    def render(self, images: Tensor, patches: Tensor, layout: Sequence[Transforms]) -> AttackedView:
        """One forward pass of images [B, 3, H, W] in 0..1 with patches [N, 3, h, w] in them.

        ``layout`` holds N transformations of B images, one for each patch.
        """
        patched, masks = apply_patches(images, patches, layout, self.shape)
        x = self.segmenter.normalize(patched)
        with ExitStack() as stack:
            further = stack.enter_context(_auxiliary_outputs(self.segmenter)) if self.auxiliary else []
            if self.defense is None:
                logits, analysis, shallow, screened = self.segmenter.logits(x), None, {}, None
            else:
                layers = self.defense.profile.detector.shallow.layers
                further_layers = () if self.screening is None else self.screening.layers
                taps = stack.enter_context(tap(self.segmenter, tuple(dict.fromkeys(layers + further_layers))))
                logits, analysis = self.defense.analyze(x)
                shallow = {layer: taps[layer] for layer in layers}
                screened = None if self.screening is None else self.screening(taps)
        auxiliaries = tuple(_full_size(output, masks) for output in further)
        return AttackedView(images, x, masks, _full_size(logits, masks), auxiliaries, analysis, shallow, screened)

    def defended_logits(self, view: AttackedView) -> Tensor:
        """[B, K, H, W]: what is segmented again under the mask, as if each image were masked.

        Differentiable: the hard mask passes its gradient straight through to the soft region.
        """
        assert self.defense is not None and view.analysis is not None
        hard = self.defense.mask(view.analysis, (view.x.shape[-2], view.x.shape[-1]))
        return _full_size(masked_logits(self.segmenter, view.x, hard), view.masks)

    @torch.no_grad()
    def final_logits(self, view: AttackedView) -> Tensor:
        """[B, K, H, W]: the logits that the car goes by: defended ones where the defense masks an image."""
        if self.defense is None or view.analysis is None:
            return view.logits
        masked = view.analysis.score > self.defense.thresholds.masking
        return torch.where(masked[:, None, None, None], self.defended_logits(view), view.logits)


@contextmanager
def _auxiliary_outputs(segmenter: Segmenter) -> Iterator[list[Tensor]]:
    """A list that holds the auxiliary logits [B, K, h, w] of the network's latest forward pass.

    Understands the outputs that `Segmenter.logits` does: of a dict it takes ``aux``, of a tuple what follows the main
    logits. The defense passes main logits on only, so that these are taken at the network itself.
    """
    found: list[Tensor] = []

    def keep(network: nn.Module, inputs: Any, output: Any) -> None:
        further: Any = [output.get("aux")] if isinstance(output, dict) else ()
        if isinstance(output, tuple | list):
            further = output[1:]
        maps = [two_class_scores(tensor) for tensor in further if isinstance(tensor, Tensor) and tensor.dim() == 4]
        # Others are feature maps.
        found[:] = [scores for scores in maps if scores.shape[1] == len(segmenter.classes)]

    handle = segmenter.network.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def _full_size(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits [B, K, h, w] at the size of ``masks`` [B, N, H, W]."""
    if logits.shape[-2:] == masks.shape[-2:]:
        return logits
    return functional.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
