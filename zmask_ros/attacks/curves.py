"""How an attack went, as curves in a picture beside the patch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zmask_ros.attacks.attacker import Step
from zmask_ros.attacks.files import curves_path
from zmask_ros.io.files import replace_file

WINDOW_SHARE = 0.05
"""Share of the steps that the drawn mean runs over: each batch shows other frames, and single steps jump."""


def save_curves(png: Path, history: Sequence[Step]) -> None:
    """Draw over the steps what the attack won, its loss, and where the defense is known, its score and what it masks.

    The picture goes to `curves_path` of the patch ``png``.

    Raises:
        ZmaskError: the folder cannot be written.
    """
    # Slow to import, and needed only here.
    from matplotlib.figure import Figure

    lines: dict[str, Sequence[float | None]] = {
        "attacked pixels that resist": [step.pixel_accuracy for step in history],
        "loss": [step.loss for step in history],
        "score of the defence": [step.score for step in history],
        "share of images masked": [step.masked for step in history],
    }
    drawn = {name: np.array(values, float) for name, values in lines.items() if None not in values}
    figure = Figure(figsize=(8, 2 * len(drawn)), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(drawn), 1, sharex=True), drawn.items(), strict=True):
        axes.plot(values, linewidth=0.5, color="0.7")
        axes.plot(_running_mean(values), color="tab:blue")
        axes.set_ylabel(name, fontsize=8)
        axes.grid(visible=True, linewidth=0.3)
    axes.set_xlabel("step")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    replace_file(curves_path(png), picture.getvalue())


def _running_mean(values: np.ndarray) -> np.ndarray:
    window = max(1, round(WINDOW_SHARE * len(values)))
    sums = np.cumsum(np.concatenate([np.zeros(1), values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))
