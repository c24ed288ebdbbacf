"""The features of a head that sees channels: batches of images, and the memory in which they are computed."""

from __future__ import annotations

import pytest
import torch

from support.tensors import random_tensor
from zmask_ros.defense.evidence import head_features
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import LANES
from zmask_ros.defense.evidence.head_features import GroupFeatures
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.training.clean_fit import observe

GRID, KERNELS = (6, 8), ((3, 5), (3, 3))
CHANNELS = {"fine": 3, "same": 4}
SIZES = {"fine": (12, 16), "same": GRID}


def activations(images: int, seed: int) -> dict[str, torch.Tensor]:
    """Channels-last, as networks on CPUs put them out."""
    return {
        name: random_tensor(seed + number, images, channels, *SIZES[name]).contiguous(memory_format=torch.channels_last)
        for number, (name, channels) in enumerate(CHANNELS.items())
    }


@pytest.fixture(params=[FeatureKind.ENERGIES, FeatureKind.RELATIVE])
def features(request: pytest.FixtureRequest) -> GroupFeatures:
    layers = {name: LayerStatistics(observe(clean, KERNELS, GRID)) for name, clean in activations(4, 0).items()}
    return GroupFeatures(layers, KERNELS, GRID, GRID, kind=request.param)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_images_of_a_batch_are_as_if_alone_and_stay_in_channels_last_memory(
    features: GroupFeatures, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(CHANNELS.values()) % LANES, "channels of zeros are added"
    taps = activations(images, 10)
    joined = []
    join = features._join
    monkeypatch.setattr(features, "_join", lambda maps: joined.append(join(maps)) or joined[-1])
    together = features(taps)
    assert len(joined) == 2
    assert all(own.is_contiguous(memory_format=torch.channels_last) for own in joined)
    for index in range(images):
        alone = features({name: tap[index : index + 1] for name, tap in taps.items()})
        for one, own in zip(together, alone, strict=True):
            torch.testing.assert_close(one[index : index + 1], own)


@pytest.mark.parametrize("kind", [FeatureKind.ENERGIES, FeatureKind.RELATIVE])
def test_only_relative_features_stay_where_all_of_an_image_is_shifted(kind: FeatureKind) -> None:
    layers = {name: LayerStatistics(observe(clean, KERNELS, GRID)) for name, clean in activations(4, 0).items()}
    features = GroupFeatures(layers, KERNELS, GRID, GRID, kind=kind)
    means, deviations = (
        {name: value(own).float()[:, None, None] for name, own in layers.items()}
        for value in (lambda own: own.mean, lambda own: own.moments.std[0])
    )
    taps = {name: tap - tap.mean((-2, -1), keepdim=True) + means[name] for name, tap in activations(2, 10).items()}
    # Each channel by a share of its own deviation, as another lens, light or place does it.
    shifted = {name: tap + 0.4 * deviations[name] for name, tap in taps.items()}
    pairs = list(zip(features(taps), features(shifted), strict=True))
    assert len(pairs) == 3
    if kind.relative:
        for one, own in pairs:
            torch.testing.assert_close(one, own, atol=1e-4, rtol=1e-4)
    else:
        assert any(float((one - own).abs().mean()) > 0.02 for one, own in pairs)


@pytest.mark.parametrize("limited", [True, False])
def test_a_patch_that_fills_most_of_an_image_stands_out_where_shifts_are_limited(
    monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    monkeypatch.setattr(head_features, "MOST_SHIFT", head_features.MOST_SHIFT if limited else 1000.0)
    layers = {name: LayerStatistics(observe(clean, KERNELS, GRID)) for name, clean in activations(4, 0).items()}
    features = GroupFeatures(layers, KERNELS, GRID, GRID, kind=FeatureKind.RELATIVE)
    taps = {name: tap.clone() for name, tap in activations(1, 10).items()}
    for tap in taps.values():
        tap[..., : 3 * tap.shape[-1] // 4] += 10.0
    for part in features(taps):
        inside, outside = (float(columns.abs().mean()) for columns in (part[..., :4], part[..., 7:]))
        assert (inside > 1.2 * outside) == limited
