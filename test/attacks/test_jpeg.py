"""JPEG as a differentiable transformation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from support.neighbourly import generator
from zmask_ros.attacks import to_tensor
from zmask_ros.attacks.jpeg import compress


@pytest.mark.parametrize("quality", [20, 60, 95])
def test_jpeg_is_close_to_what_a_real_encoder_does(quality: int) -> None:
    rows, columns = np.mgrid[0:70, 0:90] / 90
    image = np.stack([200 * rows, 255 * columns, 120 + 80 * np.sin(20 * rows * columns)], -1)
    image = np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    expected = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    ours = compress(to_tensor(image)[None], torch.tensor([quality]))[0].permute(1, 2, 0).numpy() * 255
    changed = np.abs(expected - image).mean()
    assert np.abs(ours - expected).mean() < 0.25 * changed


def test_gradients_pass_through_jpeg() -> None:
    images = torch.rand(2, 3, 20, 24, generator=generator()).requires_grad_()
    compressed = compress(images, torch.tensor([50.0, 100.0]))
    assert not torch.equal(compressed[0], images[0])
    torch.testing.assert_close(compressed[1], images[1], rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(compressed[0].mean(), images)
    # Rounding passed straight through, the transform and its inverse leave a change of all pixels as it is.
    assert gradient[0].sum().item() == pytest.approx(1.0, abs=0.1)
