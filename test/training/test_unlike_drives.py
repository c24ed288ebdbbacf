"""Drives that are unlike all others: which they are, and that a profile still finds patches although one was fitted."""

from __future__ import annotations

import numpy as np
import torch

from support.tiny_network import clean_image
from zmask_ros.defense import Profile
from zmask_ros.defense.analyzer import Evidence
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.bag_fit import refit
from zmask_ros.training.clean_fit import UNLIKE, ProfileFit
from zmask_ros.training.cross_fitting import CrossFitted, Group
from zmask_ros.training.plans import transfer_plan
from zmask_ros.training.sources import CleanFrame
from zmask_ros.training.unlike_drives import unlike_drives

FRAMES = 25
RATE = 0.001


def frames_with(scores: dict[int, list[float]]) -> list[CrossFitted]:
    """Frames of drives whose evidence is their score."""
    return [
        CrossFitted(Evidence(torch.tensor(own), torch.tensor(own)), (), None, Group(drive, 0), drive)
        for drive, several in scores.items()
        for own in several
    ]


def unlike(scores: dict[int, list[float]]) -> tuple[int, ...]:
    return unlike_drives(frames_with(scores), lambda frames: [float(frame.evidence.deep) for frame in frames])


def test_a_drive_that_lies_above_all_frames_of_the_others_is_unlike_them() -> None:
    usual = {drive: [0.1 * drive, 0.2, 0.9] for drive in range(4)}
    assert unlike(usual | {7: [0.1, 2.0, 3.0]}) == (7,)
    assert unlike(usual | {7: [2.0, 2.0, 3.0], 5: [4.0, 5.0, 6.0]}) == (5, 7)


def test_one_that_reaches_high_in_some_frames_is_not() -> None:
    usual = {drive: [0.1, 0.2, 0.9] for drive in range(4)}
    assert unlike(usual) == ()
    assert unlike(usual | {7: [0.1, 0.8, 30.0]}) == ()
    assert unlike(usual | {7: [30.0, 30.0]}) == ()


def test_a_few_drives_may_all_be_unlike_each_other() -> None:
    assert unlike({0: [0.1] * 3, 1: [0.2] * 3, 2: [9.0] * 3}) == ()
    assert unlike({}) == ()


def test_what_others_score_without_it_is_what_counts() -> None:
    frames = frames_with({drive: [0.1] * 3 for drive in range(4)} | {4: [2.0] * 3})

    def score(given: list[CrossFitted]) -> list[float]:
        hidden = any(frame.group.drive == 4 for frame in given)
        return [float(frame.evidence.deep) + (0 if hidden else 3.0) for frame in given]

    assert unlike_drives(frames, score) == ()  # type: ignore[arg-type]


def tunnel(index: int) -> np.ndarray:
    """uint8 [48, 64, 3]: with a row of glaring lamps, as no other drive has."""
    image = clean_image(1000 + index)
    image[16:32, 24:40] = np.kron(np.random.default_rng(index).choice([0, 255], (8, 8, 3)), np.ones((2, 2, 1)))
    return image


def drives_with(tunnels: list[str]) -> list[CleanFrame]:
    road = [
        CleanFrame(f"road {drive}", "/t", index, clean_image(100 * drive + index))
        for drive in range(4)
        for index in range(FRAMES)
    ]
    return [*road, *(CleanFrame(name, "/t", index, tunnel(index)) for name in tunnels for index in range(FRAMES))]


def fitted(segmenter: Segmenter, frames: list[CleanFrame]) -> Profile:
    fit = ProfileFit(segmenter, transfer_plan(segmenter), len(frames))
    fit.add_all(frames)
    return fit.finish(RATE)


def test_the_only_tunnel_does_not_lift_the_threshold_out_of_reach(segmenter: Segmenter) -> None:
    usual, with_one = fitted(segmenter, drives_with([])), fitted(segmenter, drives_with(["tunnel"]))
    assert usual.notes == ()
    (note,) = with_one.notes
    assert note.startswith(UNLIKE) and "tunnel" in note and "road" not in note
    # To the statistics, a drive past a patch is such a drive, too.
    assert "whether a patch is in view" in note
    assert with_one.detector.threshold.value < 2 * usual.detector.threshold.value


def test_two_tunnels_are_like_each_other(segmenter: Segmenter) -> None:
    assert fitted(segmenter, drives_with(["tunnel", "another tunnel"])).notes == ()


def test_a_profile_that_is_fitted_anew_says_so_of_its_new_drives_only(segmenter: Segmenter) -> None:
    start = fitted(segmenter, drives_with(["old tunnel"]))
    frames = drives_with(["new tunnel"])
    again = refit(segmenter, start, frames, len(frames), RATE)
    (note,) = [own for own in again.notes if own.startswith(UNLIKE)]
    assert "new tunnel" in note and "old tunnel" not in note
    road = refit(segmenter, start, drives_with([]), 4 * FRAMES, RATE)
    assert not any(own.startswith(UNLIKE) for own in road.notes)
