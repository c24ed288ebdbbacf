"""What an attacker needs to know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.neighbourly import RECIPE, Frame
from zmask_ros.attacks import train_patch
from zmask_ros.errors import AttackError
from zmask_ros.segmenters import Segmenter


def test_what_an_attack_on_the_defence_needs_is_asked_for(segmenter: Segmenter, frames: list[Frame]) -> None:
    for needy in ({"adaptive": "flag"}, {"beta": 0.5}, {"patches": 2, "decoys": 1}):
        with pytest.raises(AttackError, match="--profile"):
            train_patch(segmenter, frames, replace(RECIPE, **needy))
