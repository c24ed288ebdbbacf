"""One look at patched images through the network, and where it is known, through the defence."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from zmask_ros.attacks.eot import Transforms
from zmask_ros.attacks.pasting import apply_patches
from zmask_ros.defense import ActivationTaps, Analysis, Defense, masked_logits
from zmask_ros.segmenters import Segmenter

AUXILIARY = "aux"


class AuxiliaryTap:
    """Context manager that keeps the auxiliary logits of the network's latest forward pass.

    Understands what `Segmenter.logits` does: of a dict it takes ``aux``, of a tuple what follows the main logits.
    The defence sees main logits only, so that these are heard at the network itself.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._handle: RemovableHandle | None = None
        self.outputs: tuple[Tensor, ...] = ()

    def __enter__(self) -> AuxiliaryTap:
        self._handle = self._network.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.remove()

    def _keep(self, network: nn.Module, inputs: Any, output: Any) -> None:
        further: Any = ()
        if isinstance(output, dict):
            further = [output.get(AUXILIARY)]
        elif isinstance(output, tuple | list):
            further = output[1:]
        self.outputs = tuple(o for o in further if isinstance(o, Tensor) and o.dim() == 4)


@dataclass(frozen=True)
class View:
    """What B patched images look like to the car; differentiable with respect to the patches.

    Attributes:
        x: [B, 3, H, W], the normalised images.
        masks: [B, N, H, W], 1 where each patch is.
        logits: [B, K, H, W], of the undefended network.
        auxiliaries: further logits [B, K, H, W]; none unless they were asked for.
        analysis: of the defence; None where it is not known.
        shallow: activations of the layers that it taps for S; empty where it is not known.
    """

    x: Tensor
    masks: Tensor
    logits: Tensor
    auxiliaries: tuple[Tensor, ...]
    analysis: Analysis | None
    shallow: dict[str, Tensor]

    @property
    def mask(self) -> Tensor:
        """[B, 1, H, W], 1 where any patch is."""
        return self.masks.amax(1, keepdim=True)


@dataclass(frozen=True)
class Viewer:
    """How patched images are looked at.

    Attributes:
        segmenter: the attacked network.
        defense: the defence that the attacker knows, if any.
        shape: [h, w] in 0..1 of the patches; None: rectangles.
        auxiliary: whether auxiliary outputs are wanted.
    """

    segmenter: Segmenter
    defense: Defense | None = None
    shape: Tensor | None = None
    auxiliary: bool = False

    def look(self, images: Tensor, patches: Tensor, layout: Sequence[Transforms]) -> View:
        """One forward pass of images [B, 3, H, W] in 0..1 with patches [N, 3, h, w] in them."""
        patched, masks = apply_patches(images, patches, layout, self.shape)
        x = self.segmenter.normalise(patched)
        with ExitStack() as stack:
            tap = stack.enter_context(AuxiliaryTap(self.segmenter.network)) if self.auxiliary else None
            if self.defense is None:
                logits, analysis, shallow = self.segmenter.logits(x), None, {}
            else:
                layers = self.defense.profile.detector.shallow.layers
                taps = stack.enter_context(ActivationTaps(self.segmenter.network, layers))
                logits, analysis = self.defense.analyze(x)
                shallow = {layer: taps[layer] for layer in layers}
        further = () if tap is None else tuple(full_size(o, masks) for o in tap.outputs)
        return View(x, masks, full_size(logits, masks), further, analysis, shallow)

    def defended_logits(self, view: View) -> Tensor:
        """[B, K, H, W]: what is segmented again under the mask, as if each image were masked (straight-through)."""
        assert self.defense is not None and view.analysis is not None
        hard = self.defense.mask(view.analysis, (view.x.shape[-2], view.x.shape[-1]))
        return full_size(masked_logits(self.segmenter, view.x, hard), view.masks)

    @torch.no_grad()
    def outcome(self, view: View) -> Tensor:
        """[B, K, H, W]: the logits that the car goes by: defended ones where the defence masks an image."""
        if self.defense is None or view.analysis is None:
            return view.logits
        masked = view.analysis.score > self.defense.thresholds.masking
        return torch.where(masked[:, None, None, None], self.defended_logits(view), view.logits)


def full_size(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits [B, K, h, w] at the size of ``masks`` [B, N, H, W]."""
    if logits.shape[-2:] == masks.shape[-2:]:
        return logits
    return functional.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
