"""Pictures of a recorded drive: the contact sheet, and the frames of the video."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from zmask_ros.demo.drive import NAMESPACE
from zmask_ros.demo.measure import Measurement, Outcome
from zmask_ros.demo.scenario import Scenario
from zmask_ros.io.bags.recorded_pictures import RecordedPictures
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.runtime.drawing import colorize, contact_sheet

COLUMNS = ("camera", "segmentation, attacked", "mask (green: the patch)", "segmentation, defended")
TRUTH_COLOR = (0, 200, 80)


def moments(outcomes: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """Up to five: before the patch is seen, while it is small, middling, large, and after it is gone; in time."""
    attacked = [outcome for outcome in outcomes if outcome.counted] or [o for o in outcomes if o.cover > 0]
    if not attacked:
        return [("no patch in sight", outcomes[len(outcomes) // 2])]
    free = [outcome for outcome in outcomes if outcome.cover == 0]
    before = [outcome for outcome in free if outcome.index < attacked[0].index]
    after = [outcome for outcome in free if outcome.index > attacked[-1].index]
    chosen = _sizes(attacked)
    chosen += [(name, free[len(free) // 2]) for name, free in (("before", before), ("after", after)) if free]
    return sorted(chosen, key=lambda moment: moment[1].index)


def _sizes(attacked: list[Outcome]) -> list[tuple[str, Outcome]]:
    """Small, middling and large, while the patch comes nearer where it does: it leaves the picture at its edge."""
    large = max(attacked, key=lambda outcome: outcome.cover)
    nearing = [outcome for outcome in attacked if outcome.index < large.index]
    others = nearing if len(nearing) > 1 else [outcome for outcome in attacked if outcome is not large]
    chosen = {large.index: ("large", large)}
    if others:
        small = min(others, key=lambda outcome: outcome.cover)
        middle = min(others, key=lambda outcome: abs(outcome.cover - (small.cover + large.cover) / 2))
        chosen |= {middle.index: ("middling", middle), small.index: ("small", small)}
    return list(chosen.values())


def contact_sheet_of(
    found: Measurement, scenario: Scenario, picture: np.ndarray, bag: Path, camera: DefendedCamera
) -> np.ndarray:
    """A row for each of `moments`: input, undefended segmentation, mask, defended segmentation; uint8 RGB.

    Args:
        camera: gives the labels without the defense.
    """
    drive, palette = scenario.drive(picture), camera.segmenter.palette
    rows = []
    with ExitStack() as stack:
        images, mask, defended = (
            stack.enter_context(RecordedPictures(bag, f"{NAMESPACE}/{name}"))
            for name in ("image_raw", "zmask/mask", "zmask/segmentation")
        )
        for name, outcome in moments(found.outcomes):
            at = outcome.stamp_ns
            image, seen = images.at(at), mask.plane_at(at)
            undefended = None if image is None else camera.masked_labels(image, np.zeros(image.shape[:2], bool))
            cells = [
                image,
                _colored(undefended, palette),
                None if seen is None else _mask_picture(seen, drive[outcome.index].patch_mask),
                _colored(defended.plane_at(at), palette),
            ]
            seconds = outcome.index / scenario.rate_hz
            rows.append((f"{name}\n{seconds:.1f} s\npatch {outcome.cover:.1%}\n{outcome.state.name}", cells))
    return contact_sheet(rows, COLUMNS)


def _colored(labels: np.ndarray | None, palette: np.ndarray) -> np.ndarray | None:
    return None if labels is None else colorize(labels, palette)


def _mask_picture(mask: np.ndarray, patch_mask: np.ndarray) -> np.ndarray:
    drawn = cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)
    outlines, _ = cv2.findContours(patch_mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(drawn, outlines, -1, TRUTH_COLOR, max(2, len(mask) // 160))
    return drawn
