"""The trial of a network: real passes when it is loaded, so that what fails is said then, and how to mend it."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.description import Description, SegmenterError
from zmask_ros.segmenters.network import compute_logits

TEST_IMAGES = 2
BLOCK = 24
"""Side of the color fields in a test image, pixels."""
DIVISORS = (2, 4, 8, 14, 16, 28, 32, 56, 64, 128)
"""Of image sides, that networks ask for: the strides of encoders, and the sides of transformers' patches."""
FIXED_SIZES = (
    *((side, side) for side in (128, 224, 256, 320, 384, 448, 512, 518, 640, 768, 1024)),
    *((480, 640), (512, 1024)),
)
"""(height, width) of images that networks for one size are usually made for."""
GLARE = 30.0
"""How much brighter than usual an image is that drives every output but a probability out of 0..1."""
Size = tuple[int, int]
"""Height and width, in pixels."""


@torch.inference_mode()
def try_network(network: nn.Module, description: Description, device: torch.device) -> None:
    """Run ``network`` on the test images, one by one and together.

    A network that writes into its input is given copies from then on: an image is needed again after its first pass.

    Args:
        network: float32, in eval mode.
        description: of the network.
        device: where the network is.

    Raises:
        SegmenterError: it fails, puts out something that is not understood, or no finite class scores; the sentence
            says which entries of the description to change.
    """
    # In this layout, the network is given the image itself and no copy of it.
    x = make_test_images(description.input_size).to(device, memory_format=torch.channels_last)
    image = x[:1].clone()
    try:
        logits = compute_logits(network, image, description)
    except SegmenterError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise SegmenterError(
            f"Segmenter '{description.name}': its network finds no memory on {device} for images of "
            f"{_named(description.input_size)} pixels: use another, or change {description.entries('input_size')}."
        ) from error
    # A network is a user's code, which may raise anything.
    except Exception as error:
        raise SegmenterError(_failure(network, description, device, error)) from error
    if not torch.equal(image, x[:1]):
        network.register_forward_pre_hook(_with_a_copy)
    try:
        compute_logits(network, x, description)
    except Exception as error:
        raise SegmenterError(
            f"Segmenter '{description.name}': its network works on one image, but not on {TEST_IMAGES} at once "
            f"({describe_error(error)}): it must take [B, 3, H, W], so change {description.entries('builder')}."
        ) from error
    if not bool(logits.isfinite().all()):
        raise SegmenterError(
            f"Segmenter '{description.name}': its network puts out values that are not finite: "
            f"change {description.entries('weights', 'mean', 'std')}."
        )
    if _is_probability(logits) and _is_probability(compute_logits(network, x[:1] * GLARE, description)):
        raise SegmenterError(
            f"Segmenter '{description.name}': its network puts out 1 channel of probabilities instead of logits: "
            f"leave its last sigmoid out, in {description.entries('builder', 'arguments')}."
        )


def make_test_images(size: Size) -> Tensor:
    """Fields of color with soft and with hard borders, [2, 3, h, w], about normalized; always the same.

    ``size`` is (height, width) in pixels.
    """
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(TEST_IMAGES, 3, -(-size[0] // BLOCK), -(-size[1] // BLOCK), generator=generator)
    soft = F.interpolate(fields[:1], size, mode="bilinear", align_corners=False)
    return torch.cat([soft, F.interpolate(fields[1:], size, mode="nearest")])


def _with_a_copy(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.clone() for tensor in inputs)


def _is_probability(logits: Tensor) -> bool:
    """Whether two-class logits [B, 2, h, w] were made of one channel that is in 0..1 everywhere."""
    if logits.shape[1] != 2 or bool(logits[:, 0].any()):
        return False
    return bool(((logits >= 0) & (logits <= 1)).all())


def _failure(network: nn.Module, description: Description, device: torch.device, error: Exception) -> str:
    """What to say of a network that fails on its input size: which sizes work instead, if any do."""
    wanted = description.input_size
    sizes = _nearest_sizes(network, description, device)
    failure = f"Segmenter '{description.name}': its network fails on images of {_named(wanted)} pixels"
    if not sizes:
        return (
            f"{failure}, and of all other sizes that were tried, with {describe_error(error)}: it must take one tensor "
            f"[B, 3, H, W], so change {description.entries('builder', 'arguments')}."
        )
    working = " and ".join(map(_named, sizes))
    return (
        f"{failure} ({describe_error(error)}), but works on {working}: change {description.entries('input_size')} "
        f"(height, width) to {' or '.join(str(list(size)) for size in sizes)}."
    )


def _nearest_sizes(network: nn.Module, description: Description, device: torch.device) -> list[Size]:
    """Input sizes that ``network`` works on, the nearest first; at most two."""
    wanted = description.input_size

    def works(size: Size) -> bool:
        try:
            compute_logits(network, make_test_images(size)[:1].to(device), description)
        except Exception:
            return False
        return True

    def distance(size: Size) -> tuple[int, Size]:
        return sum(abs(own - side) for own, side in zip(size, wanted, strict=True)), size

    tried, found = {wanted}, set[Size]()
    for divisor in DIVISORS:
        rows, columns = ((max(side // divisor, 1) * divisor, -(-side // divisor) * divisor) for side in wanted)
        # A smaller one is tried only where this one works, so that a network that never does fails soon.
        largest = rows[1], columns[1]
        if largest not in tried and works(largest):
            found |= {largest, *filter(works, itertools.product(rows, columns))}
        tried.add(largest)
        if len(found) > 1:
            break
    if not found:
        found = set(itertools.islice(filter(works, sorted(FIXED_SIZES, key=distance)), 1))
    return sorted(found, key=distance)[:2]


def _named(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
