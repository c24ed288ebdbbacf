"""What stands in for masked pixels."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from zmask_ros.defense import inpaint


def hole(height, width, top, left, bottom, right):
    mask = torch.zeros(1, 1, height, width)
    mask[..., top:bottom, left:right] = 1
    return mask


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 1000),
    share=st.floats(0, 0.95),
)
def test_what_is_not_masked_stays_and_the_rest_lies_between(height, width, seed, share):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, height, width, generator=generator)
    mask = (torch.rand(2, 1, height, width, generator=generator) < share).float()
    filled = inpaint(images, mask)
    shown = (mask == 0).expand_as(images)
    assert torch.equal(filled[shown], images[shown])
    for image, own, kept in zip(images, filled, shown, strict=True):
        if kept.any():
            for channel, result, where in zip(image, own, kept, strict=True):
                assert result.min() >= channel[where].min() - 1e-4
                assert result.max() <= channel[where].max() + 1e-4


def whole_pyramid(images, mask):
    """`inpaint` with every level at its whole size."""

    def resized(x, size):
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def interpolated(weighted, weight):
        height, width = weight.shape[-2:]
        if (height, width) == (1, 1):
            return weighted / weight.clamp_min(1e-6)
        return weighted + (1 - weight) * widened(weighted, weight)

    def widened(weighted, weight):
        height, width = weight.shape[-2:]
        half = (height + 1) // 2, (width + 1) // 2
        return resized(interpolated(resized(weighted, half), resized(weight, half)), (height, width))

    return images.lerp(widened(images * (1 - mask), 1 - mask), mask)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(2, 70),
    width=st.integers(2, 70),
    channels=st.sampled_from([3, 9]),
    seed=st.integers(0, 1000),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    soft=st.booleans(),
)
def test_it_equals_the_whole_pyramid(height, width, channels, seed, layout, soft):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, channels, height, width, generator=generator).to(memory_format=layout)
    corners = torch.rand(2, 2, generator=generator) * torch.tensor([height, width])
    (top, left), (bottom, right) = corners.int().tolist()
    mask = torch.cat([hole(height, width, top, left, height, width), hole(height, width, 0, 0, bottom, right)])
    mask = mask * torch.rand(mask.shape, generator=generator) if soft else mask
    torch.testing.assert_close(inpaint(images, mask), whole_pyramid(images, mask), rtol=1e-4, atol=1e-5)


def test_nothing_is_filled_where_nothing_is_masked():
    images = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(inpaint(images, torch.zeros(2, 1, 9, 7)), images)


def test_a_hole_in_one_color_closes():
    image = torch.full((1, 3, 36, 48), 0.7)
    assert torch.allclose(inpaint(image, hole(36, 48, 5, 5, 30, 40)), image, atol=1e-5)


def test_a_hole_in_a_slope_is_hardly_seen():
    image = torch.linspace(-1, 1, 64).expand(1, 3, 48, 64)
    filled = inpaint(image, hole(48, 64, 16, 24, 32, 40))
    assert (filled - image).abs().max() < 0.2


def test_an_image_with_nothing_left_becomes_the_mean():
    assert torch.equal(inpaint(torch.ones(1, 3, 9, 7), torch.ones(1, 1, 9, 7)), torch.zeros(1, 3, 9, 7))


def test_it_is_differentiable_in_image_and_mask():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 2, 6, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = torch.rand(1, 1, 6, 7, dtype=torch.float64, generator=generator).mul(0.8).requires_grad_()
    assert torch.autograd.gradcheck(inpaint, (image, mask))
