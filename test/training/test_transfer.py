"""Which layers a transferable head sees, and its file."""

from __future__ import annotations

from pathlib import Path

import torch

from zmask_ros.training.transfer import (
    load_transferable_head,
    save_transferable_head,
)


def test_a_head_survives_its_file(tmp_path: Path) -> None:
    shipped = load_transferable_head()
    save_transferable_head(shipped, tmp_path / "head.safetensors")
    again = load_transferable_head(tmp_path / "head.safetensors")
    assert torch.equal(again.opening, shipped.opening)
    assert again.weights.keys() == shipped.weights.keys()
    assert all(torch.equal(again.weights[name], weight) for name, weight in shipped.weights.items())
