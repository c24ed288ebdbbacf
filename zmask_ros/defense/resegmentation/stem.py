"""Segmenting again without doing again what no mask has changed.

A mask changes a part of the image, and the first modules of a network see only a few pixels around each pixel: what
they put out for the image as it was still holds, but near the mask. Only there are they run again, and the network goes
on from what they put out. Nothing is approximated; whether a network can be taken apart so is tried when it is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor, nn

from zmask_ros.defense.evidence.grid import Size, bounding_box
from zmask_ros.defense.resegmentation.inpainting import inpaint, inpaint_window

SIZES = 6
"""Of the windows that a stem is run on again, along each side."""


class Network(Protocol):
    """What a segmenter is fed and runs, and where."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def input_size(self) -> Size: ...

    def logits(self, x: Tensor) -> Tensor:
        """[B, 3, h, w] normalised images to [B, K, h, w] class scores."""
        ...


@dataclass(frozen=True)
class StemModule:
    """One of the modules of a stem.

    Attributes:
        module: it takes what the one before puts out, and nothing else in the network does.
        shape: channels, height and width of what it puts out.
        stride: pixels of the image from one of its cells to the next.
        reach: how far from a cell it and those before it see, in pixels of the image.
    """

    module: nn.Module
    shape: tuple[int, int, int]
    stride: int
    reach: int


@dataclass(frozen=True)
class Stem:
    """The first modules of a network, at least one; see `find_stem`."""

    modules: tuple[StemModule, ...]

    @property
    def last(self) -> StemModule:
        return self.modules[-1]

    def __call__(self, window: Tensor) -> Tensor:
        """What the stem puts out for a part of an image; wrong within its reach of a border that is not the image's."""
        for step in self.modules:
            window = step.module(window)
        return window

    def again(self, kept: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """What the stem puts out for images with masked pixels filled as by `fill_masked`.

        Args:
            kept: what it put out for the images as they are, [B, C, H, W].
            x: the normalised images, [B, 3, h, w].
            mask: [B, 1, h, w], 0 or 1.
        """
        again = kept.clone()
        for result, image, own in zip(again.split(1), x.split(1), mask.split(1), strict=True):
            self._change(result, image, own)
        return again

    def _change(self, result: Tensor, image: Tensor, mask: Tensor) -> None:
        """Write into what it put out for one image what differs where that is masked."""
        box = bounding_box(mask)
        if box[0].stop == 0:
            return
        rows, columns = (_Span.of(side, n, self.last) for side, n in zip(box, image.shape[-2:], strict=True))
        window = image[..., rows.pixels, columns.pixels].clone()
        window[..., rows.filled, columns.filled] = inpaint_window(image, mask, *box)
        changed = self(window.to(result.dtype, memory_format=torch.channels_last))
        result[..., rows.cells, columns.cells] = changed[..., rows.right, columns.right]

    @contextmanager
    def going_on_from(self, output: Tensor, x: Tensor) -> Iterator[Tensor]:
        """Inside, the network makes of any image what it makes of ``output``, whichever thread calls it; gives one of
        the shape of ``x`` to call it with.
        """
        # Whatever looks at the image or at what is put out on the way, beside the stem, will make NaN of it.
        nothing, batch = output.new_full((), math.nan), len(output)
        results = [nothing.expand(batch, *step.shape) for step in self.modules[:-1]] + [output]
        for step, result in zip(self.modules, results, strict=True):
            step.module.forward = _giving(result)  # type: ignore[method-assign]
        try:
            yield nothing.to(x.dtype).expand(x.shape)
        finally:
            for step in self.modules:
                del step.module.forward


def _giving(result: Tensor):  # type: ignore[no-untyped-def]
    return lambda *inputs: result


@dataclass(frozen=True)
class _Span:
    """Along one side of the image: what is to be run again around masked pixels.

    Attributes:
        pixels: that the stem is fed.
        filled: those among them that are between the first and the last masked one, counted from the first of `pixels`.
        cells: that change.
        right: the same among those that the stem puts out for `pixels`.
    """

    pixels: slice
    filled: slice
    cells: slice
    right: slice

    @staticmethod
    def of(masked: slice, length: int, last: StemModule) -> _Span:
        stride, margin, whole = last.stride, -(-last.reach // last.stride), -(-length // last.stride)
        first = max(0, (masked.start - last.reach) // stride)
        end = min(whole, -(-(masked.stop + last.reach) // stride))
        begin = max(0, first - margin)
        # Each new size costs a CPU's convolutions more than they take, so there are but a few.
        step = -(-whole // SIZES)
        size = min(whole, -(-(min(whole, end + margin) - begin) // step) * step)
        begin = min(begin, whole - size)
        # Fed in whole cells, so that the stem's windows lie as they do in the whole image.
        pixels = slice(begin * stride, min(length, (begin + size) * stride))
        filled = slice(masked.start - pixels.start, masked.stop - pixels.start)
        return _Span(pixels, filled, slice(first, end), slice(first - begin, end - begin))


@dataclass(frozen=True)
class Kept:
    """What a stem has put out for a batch, [B, C, H, W]."""

    stem: Stem
    output: Tensor

    def where(self, images: Tensor) -> Kept:
        """That of the images where bool [B] says so."""
        return Kept(self.stem, self.output[images])


class StemTap:
    """Context manager that keeps what a stem puts out in the pass inside.

    Args:
        stem: None: nothing is kept.
    """

    def __init__(self, stem: Stem | None) -> None:
        self._stem = stem
        self.kept: Kept | None = None

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
        self.kept = Kept(self._stem, output)


def masked_logits(segmenter: Network, x: Tensor, mask: Tensor, kept: Kept | None = None) -> Tensor:
    """Class scores [B, K, h, w] of normalised images ``x`` [B, 3, h, w] with masked pixels filled.

    Args:
        mask: [B, 1, h, w], 0 or 1.
        kept: what the network's stem put out for ``x``; None: the network looks at all of the images.
    """
    if kept is None:
        return segmenter.logits(inpaint(x, mask))
    with kept.stem.going_on_from(kept.stem.again(kept.output, x, mask), x) as image:
        return segmenter.logits(image)
