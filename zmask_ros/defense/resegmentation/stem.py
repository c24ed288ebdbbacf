"""Segmenting masked images without repeating what no mask has changed.

A mask changes a part of the image, and the first modules of a network, its stem, see only a few pixels around each
pixel: their output for the image without a mask still holds away from the mask. Only near it they run again, and the
network resumes from their output. Nothing is approximated; whether a network can be taken apart so is tried when it is
loaded, by `stem_search`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import bounding_box
from zmask_ros.defense.resegmentation.inpainting import inpaint, inpaint_window
from zmask_ros.defense.segmentation_network import SegmentationNetwork
from zmask_ros.segmenters.labels import at_size

SIZES = 6
"""Number of lengths, along each side of the image, of windows that a stem runs on again."""


@dataclass(frozen=True)
class StemModule:
    """One of the modules of a stem.

    Attributes:
        module: it takes the output of the one before, and nothing else in the network does.
        shape: channels, height and width of its output.
        stride: pixels of the image from one cell of its output to the next.
        reach: how far from a cell it and those before it see, in pixels of the image.
    """

    module: nn.Module
    shape: tuple[int, int, int]
    stride: int
    reach: int


@dataclass(frozen=True)
class Stem:
    """The first modules of a network, at least one; see `stem_search.find_stem`."""

    modules: tuple[StemModule, ...]

    @property
    def last(self) -> StemModule:
        """The module whose output is the stem's."""
        return self.modules[-1]

    def __call__(self, window: Tensor) -> Tensor:
        """The stem's output for a window of an image; wrong within its reach of a border that is not the image's."""
        for step in self.modules:
            window = step.module(window)
        return window

    def update(self, output: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """The stem's output for images that are inpainted, computed only near the masked pixels.

        Args:
            output: the stem's output for the images without a mask, [B, C, H, W].
            x: the normalized images, [B, 3, h, w].
            mask: [B, 1, h, w], 0 or 1.

        Returns:
            [B, C, H, W].
        """
        updated = output.clone()
        for own_output, image, own_mask in zip(updated.split(1), x.split(1), mask.split(1), strict=True):
            box = bounding_box(own_mask)
            if box[0].stop == 0:
                continue
            rows, columns = (_Span.of(side, n, self.last) for side, n in zip(box, image.shape[-2:], strict=True))
            window = image[..., rows.pixels, columns.pixels].clone()
            window[..., rows.masked, columns.masked] = inpaint_window(image, own_mask, *box)
            changed = self(window.to(output.dtype, memory_format=torch.channels_last))
            own_output[..., rows.cells, columns.cells] = changed[..., rows.changed, columns.changed]
        return updated

    @contextmanager
    def resume_from(self, output: Tensor, x: Tensor) -> Iterator[Tensor]:
        """Context manager in which the network, called from any thread, resumes from ``output`` and skips the stem.

        Args:
            output: of the stem, [B, C, H, W].
            x: images, [B, 3, h, w]; only their shape and type count.

        Yields:
            What to call the network with. It is NaN, like all outputs within the stem, so that nothing else of the
            network can have looked at the image or at them unnoticed.
        """
        nothing, batch = output.new_full((), math.nan), len(output)
        results = [nothing.expand(batch, *step.shape) for step in self.modules[:-1]] + [output]
        for step, result in zip(self.modules, results, strict=True):
            step.module.forward = _returning(result)  # type: ignore[method-assign]
        try:
            yield nothing.to(x.dtype).expand(x.shape)
        finally:
            for step in self.modules:
                del step.module.forward


def _returning(result: Tensor):  # type: ignore[no-untyped-def]
    return lambda *inputs: result


@dataclass(frozen=True)
class _Span:
    """What runs again around masked pixels, along one side of the image.

    Attributes:
        pixels: that the stem is given.
        masked: those among them from the first to the last masked one, counted from the first of `pixels`.
        cells: of the stem's output that change.
        changed: the same cells, counted from the first that the stem puts out for `pixels`.
    """

    pixels: slice
    masked: slice
    cells: slice
    changed: slice

    @staticmethod
    def of(masked: slice, length: int, last: StemModule) -> _Span:
        stride, margin, all_cells = last.stride, -(-last.reach // last.stride), -(-length // last.stride)
        first = max(0, (masked.start - last.reach) // stride)
        end = min(all_cells, -(-(masked.stop + last.reach) // stride))
        begin = max(0, first - margin)
        # Each new size costs a CPU's convolutions more than they take, so there are but a few.
        step = -(-all_cells // SIZES)
        size = min(all_cells, -(-(min(all_cells, end + margin) - begin) // step) * step)
        begin = min(begin, all_cells - size)
        # Whole cells are given, so that the windows of the stem lie as they do in the whole image.
        pixels = slice(begin * stride, min(length, (begin + size) * stride))
        shifted = slice(masked.start - pixels.start, masked.stop - pixels.start)
        return _Span(pixels, shifted, slice(first, end), slice(first - begin, end - begin))


@dataclass(frozen=True)
class StemOutput:
    """The output [B, C, H, W] of a stem for a batch of images."""

    stem: Stem
    output: Tensor

    def where(self, images: Tensor) -> StemOutput:
        """The output of those images only where bool [B] is true."""
        return StemOutput(self.stem, self.output[images])


class StemTap:
    """Context manager that keeps the output of a stem in the pass inside, as `output`.

    Args:
        stem: None: nothing is kept.
    """

    def __init__(self, stem: Stem | None) -> None:
        self._stem = stem
        self.output: StemOutput | None = None

    def __enter__(self) -> StemTap:
        if self._stem is not None:
            self._handle = self._stem.last.module.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stem is not None:
            self._handle.remove()

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        assert self._stem is not None
        self.output = StemOutput(self._stem, output)


def masked_logits(
    segmenter: SegmentationNetwork, x: Tensor, mask: Tensor, stem_output: StemOutput | None = None
) -> Tensor:
    """Class scores [B, K, h, w] of images whose masked pixels are inpainted, at their size; see `masked_scores`."""
    return at_size(masked_scores(segmenter, x, mask, stem_output), (x.shape[-2], x.shape[-1]))


def masked_scores(
    segmenter: SegmentationNetwork, x: Tensor, mask: Tensor, stem_output: StemOutput | None = None
) -> Tensor:
    """Class scores of images whose masked pixels are inpainted, at the size at which the network puts them out.

    Args:
        segmenter: the network.
        x: normalized images, [B, 3, h, w].
        mask: [B, 1, h, w], 0 or 1.
        stem_output: of the network for ``x`` without a mask; None: the network runs as a whole.

    Returns:
        [B, K, H, W].
    """
    if stem_output is None:
        return segmenter.scores(inpaint(x, mask))
    stem = stem_output.stem
    with stem.resume_from(stem.update(stem_output.output, x, mask), x) as image:
        return segmenter.scores(image)
