"""The head's half of a double oracle: what it is shown, whose statistics that is seen under, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from support.tiny_network import clean_image
from zmask_ros.attacks import paste_at_random, to_uint8
from zmask_ros.defense import Defense, Profile
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.adversarial import with_untrained_head
from zmask_ros.training.adversaries import SEEN
from zmask_ros.training.clean_fit import CleanMeasurements, ProfileFit
from zmask_ros.training.cross_fitting import Group, GroupedFrame, GroupedMoments
from zmask_ros.training.double_oracle import HeadOracle, bytes_an_image
from zmask_ros.training.plans import FittingPlan, plan_of, transfer_plan
from zmask_ros.training.sources import CleanFrame

DRIVES, FRAMES_A_DRIVE = 3, 20
PATCH = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0)).round()
"""Black and white noise, that no clean image shows."""


def image_of(drive: int, index: int) -> CleanFrame:
    """Each drive is darker than the one before: it matters which of them is left out."""
    return CleanFrame(f"drive_{drive}", "/image_raw", index, clean_image(100 * drive + index) // (1 + drive))


def measurements(segmenter: Segmenter, plan: FittingPlan, drives: range) -> CleanMeasurements:
    frames = [image_of(drive, index) for drive in drives for index in range(FRAMES_A_DRIVE)]
    fit = ProfileFit(segmenter, plan, len(frames), fewest_drives=2, drives=len(drives))
    fit.add_all(frames)
    return fit.measured()


def channel_plan(segmenter: Segmenter, profile: Profile) -> FittingPlan:
    """A plan whose head sees channels."""
    return plan_of(segmenter, with_untrained_head(segmenter, profile, ("0", "2"), [clean_image(0), clean_image(1)]))


@pytest.fixture(scope="module", params=["descriptors", "channels"])
def plan(request: pytest.FixtureRequest, segmenter: Segmenter, fitted: Profile) -> FittingPlan:
    return transfer_plan(segmenter) if request.param == "descriptors" else channel_plan(segmenter, fitted)


@pytest.fixture(scope="module")
def measured(segmenter: Segmenter, plan: FittingPlan) -> CleanMeasurements:
    return measurements(segmenter, plan, range(DRIVES))


@torch.inference_mode()
def heat_of(segmenter: Segmenter, measured: CleanMeasurements, frame: GroupedFrame) -> Tensor:
    """The heat of the frame, which is the same from what is kept of it."""
    head = measured.heads_without()(frame.group)
    with tap(segmenter, head.branch.layers) as taps:
        segmenter.logits(segmenter.prepare(frame.image))
        whole, kept = head(taps), head.heat_of_seen(head.seen(taps))
    assert torch.allclose(whole, kept, atol=1e-5)
    return whole


def without(measured: CleanMeasurements, drive: int) -> CleanMeasurements:
    """The same as if the drive had never been recorded."""
    moments = GroupedMoments(fewest_drives=measured.moments.fewest_drives)
    moments.update({group: own for group, own in measured.moments.items() if group.drive != drive})
    return replace(measured, moments=moments, found=tuple(own for own in measured.found if own.group.drive != drive))


@pytest.mark.parametrize("drive", range(DRIVES))
def test_a_frame_is_seen_under_the_statistics_of_all_drives_but_its_own(
    segmenter: Segmenter, measured: CleanMeasurements, drive: int
) -> None:
    image = image_of(drive, 3).image
    found = heat_of(segmenter, measured, GroupedFrame(image, Group(drive, 0)))
    # Nothing is left out with a drive that nobody has seen.
    expected = heat_of(segmenter, without(measured, drive), GroupedFrame(image, Group(99, 0)))
    assert torch.allclose(found, expected, atol=1e-5)


def answered(measured: CleanMeasurements, *patches: Tensor, steps: int = 150) -> Head:
    """A head that has learned from patches, of which the first one is lasting."""
    frames = [GroupedFrame(image_of(drive, index).image, Group(drive, 0)) for drive in (0, 1) for index in range(10)]
    oracle = HeadOracle(measured, frames, lambda group: True)
    for number, patch in enumerate(patches):
        oracle.show(f"patch {number}", patch, lasting=not number)
    assert measured.plan.head is not None
    return oracle.answer(measured.plan.head, steps, 5e-3)


@torch.inference_mode()
def scores_of(segmenter: Segmenter, measured: CleanMeasurements, head: Head, patch: Tensor | None) -> Tensor:
    """Of frames of the last drive, with or without a patch; no head was shown any of them."""
    assert measured.plan.learned is not None
    learned = replace(measured.plan.learned, head=head)
    defense = Defense(segmenter, measured.with_learned(learned, None).profile(0.01))
    places = torch.Generator().manual_seed(1)
    images = [image_of(DRIVES - 1, index).image for index in range(8)]
    if patch is not None:
        images = [paste_at_random(image, to_uint8(patch), SEEN, places)[0] for image in images]
    return torch.tensor([float(defense.analyze(segmenter.prepare(image))[1].score) for image in images])


def test_it_learns_from_all_patches_and_forgets_none(segmenter: Segmenter, measured: CleanMeasurements) -> None:
    other = 1 - PATCH.flip(-1) * torch.tensor([1.0, 0.0, 0.5])[:, None, None]
    head = answered(measured, PATCH, other)
    clean = scores_of(segmenter, measured, head, None)
    for patch in (PATCH, other):
        ordered = scores_of(segmenter, measured, head, patch)[:, None] > clean[None]
        assert ordered.float().mean() > 0.9


def with_bricks(image: np.ndarray) -> np.ndarray:
    """A picture of a place that has walls of fine black and white bricks, which no frame shows."""
    rows, columns = np.indices(image.shape[:2])
    bricks = np.where((rows // 2 + columns // 2) % 2, 255, 0).astype(np.uint8)
    return np.where((columns < image.shape[1] // 3)[..., None], bricks[..., None], image)


def test_it_learns_that_other_cameras_are_harmless(segmenter: Segmenter, measured: CleanMeasurements) -> None:
    assert measured.plan.learned is not None and measured.plan.head is not None
    frames = [GroupedFrame(image_of(drive, index).image, Group(drive, 0)) for drive in (0, 1) for index in range(10)]
    strange = [with_bricks(clean_image(500 + index)) for index in range(16)]
    means = []
    for others in ([], strange[:8]):
        oracle = HeadOracle(measured, frames, lambda group: True, others)
        oracle.show("patch", PATCH, lasting=True)
        head = oracle.answer(measured.plan.head, 150, 5e-3)
        learned = replace(measured.plan.learned, head=head)
        defense = Defense(segmenter, measured.with_learned(learned, None).profile(0.01))
        scores = [float(defense.analyze(segmenter.prepare(image))[1].score) for image in strange[8:]]
        means.append(sum(scores) / len(scores))
    assert means[1] < 0.8 * means[0]


def test_the_same_patches_give_the_same_head(measured: CleanMeasurements) -> None:
    first, again, other = (answered(measured, patch, steps=3) for patch in (PATCH, PATCH, 1 - PATCH))
    assert first.digest == again.digest != other.digest


def test_the_memory_of_an_image_is_foretold(segmenter: Segmenter, measured: CleanMeasurements) -> None:
    frame = GroupedFrame(image_of(0, 1).image, Group(0, 0))
    head = measured.heads_without()(frame.group)
    with tap(segmenter, head.branch.layers) as taps:
        segmenter.logits(segmenter.prepare(frame.image))
        numbers = sum(own.numel() for own in head.seen(taps))
    height, width = head.features.grid
    assert bytes_an_image(measured, frame) == 2 * (numbers + height * width)
