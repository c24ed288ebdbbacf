"""Printable colors, and outlines of patches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from support.neighbourly import generator
from zmask_ros.attacks.printing import non_printability, non_printability_gradient, read_palette, read_shape
from zmask_ros.errors import AttackError


def test_non_printability_is_the_mean_product_of_distances() -> None:
    palette = torch.rand(3, 3, generator=generator())
    patch = torch.rand(3, 4, 5, generator=generator(1))
    products = [np.prod([np.linalg.norm(patch[:, y, x] - c) for c in palette]) for y, x in np.ndindex(4, 5)]
    assert non_printability(patch, palette).item() == pytest.approx(np.mean(products), rel=1e-5)
    assert non_printability(palette[1].reshape(3, 1, 1), palette).item() < 1e-4


def test_the_non_printability_gradient_is_finite_for_huge_palettes_and_leads_to_their_colours() -> None:
    palette = torch.rand(400, 3, generator=generator()) * 0.1
    patch = torch.rand(3, 6, 6, generator=generator(1)) * 0.05
    patch[:, 0, 0] = palette[7]
    # The product of 400 such distances is far below what float32 can hold.
    gradient = non_printability_gradient(patch, palette)
    assert torch.isfinite(gradient).all()
    assert gradient.norm().item() == pytest.approx(1.0, rel=1e-4)
    black_and_white = torch.tensor([[0.0, 0, 0], [1, 1, 1]])
    moved = torch.rand(3, 8, 8, generator=generator(2))
    before = non_printability(moved, black_and_white)
    for _ in range(100):
        moved = (moved - 0.05 * non_printability_gradient(moved, black_and_white)).clamp(0, 1)
    assert non_printability(moved, black_and_white) < 0.5 * before


def test_palettes_come_from_the_package_from_csv_and_from_json(tmp_path: Path) -> None:
    built_in = read_palette()
    assert len(built_in) >= 24 and built_in.min() >= 0 and built_in.max() <= 1
    (tmp_path / "a.csv").write_text("# mine\nred,green,blue\n255,0,51\n")
    (tmp_path / "a.json").write_text("[[255, 0, 51]]")
    for name in ("a.csv", "a.json"):
        torch.testing.assert_close(read_palette(tmp_path / name), torch.tensor([[1.0, 0.0, 0.2]]))


@pytest.mark.parametrize("text", ["", "1,2\n", "red,green\n1,2\n", "1,2,300\n", "1,2,x\n"])
def test_palettes_of_something_else_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(AttackError, match="palette"):
        read_palette(path)
    with pytest.raises(AttackError, match="cannot be read"):
        read_palette(tmp_path / "none.csv")


def test_shapes_that_hide_nothing_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((9, 9), np.uint8))
    (tmp_path / "text.png").write_text("text")
    for name, sentence in (("black.png", "everywhere"), ("text.png", "no picture"), ("none.png", "cannot be read")):
        with pytest.raises(AttackError, match=sentence):
            read_shape(tmp_path / name, (8, 8))
