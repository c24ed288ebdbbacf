"""Adversarial fine-tuning of a small network: what it learns, what stays as it was, and that it can be interrupted."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from support import tiny_network
from zmask_ros.defense import load_profile
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.protocol.robustness import RobustnessTrial
from zmask_ros.segmenters import load_segmenter
from zmask_ros.segmenters.network import weights_digest
from zmask_ros.training import fine_tuning
from zmask_ros.training.fine_tuning import FineTuning, Shown, fine_tune
from zmask_ros.training.settings import FineTuningSettings

SETTINGS = FineTuningSettings(steps=12, learning_rate=1e-3)
FRAMES = [tiny_network.clean_image(index) for index in range(24)]
UNSEEN = [tiny_network.clean_image(index) for index in range(100, 108)]


class Context(nn.Module):
    """A network that goes by the mean color of the whole image as much as by each pixel: a patch reaches all of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU())
        self.own, self.context = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        features = self.features(x)
        return 3 * self.own(features) + 6 * self.context(features.mean((2, 3), keepdim=True))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_segmenter(str(tiny_network.describe(tmp_path_factory.mktemp("tiny"))), "cpu")


@pytest.fixture(scope="module")
def context(tiny):
    return replace(tiny, network=Context().eval().requires_grad_(False))


def weights(segmenter):
    return list(segmenter.network.state_dict().values())


def test_a_patch_does_less_to_the_network_afterwards(context):
    after = fine_tune(context, FRAMES, FineTuningSettings(steps=200, learning_rate=3e-3))
    trial = RobustnessTrial.of(context, FRAMES, UNSEEN)
    old, new = (trial.robustness(own, 40) for own in (context, after))
    assert (old.clean, old.clean_pixels) == (1, 1)
    assert new.clean_pixels > 0.95
    assert 1 - new.attacked_pixels < 0.7 * (1 - old.attacked_pixels)


def test_the_teacher_stays_as_it_was_and_the_result_is_frozen(tiny):
    before = [own.clone() for own in weights(tiny)]
    tuned = fine_tune(tiny, FRAMES, SETTINGS)
    assert all(map(torch.equal, before, weights(tiny)))
    assert not any(map(torch.equal, before, weights(tuned)))
    assert not any(own.requires_grad or own.grad is not None for own in tuned.network.parameters())
    assert weights_digest(tiny.network) == tiny.digest


def test_normalization_layers_keep_their_statistics(context):
    after = fine_tune(context, FRAMES, replace(SETTINGS, steps=2))
    kept = dict(context.network.named_buffers())
    assert kept
    assert all(torch.equal(own, kept[name]) for name, own in after.network.named_buffers())


@pytest.mark.parametrize("stopped_after", [3, 9])
def test_an_interrupted_one_ends_as_if_it_had_never_stopped(tiny, tmp_path, monkeypatch, stopped_after):
    monkeypatch.setattr(fine_tuning, "SAVED_EVERY", 3)
    # Some opponents begin anew within these steps.
    monkeypatch.setattr(fine_tuning, "OPPONENTS", tuple(replace(own, lifetime=(1, 2)) for own in fine_tuning.OPPONENTS))
    state, steps = tmp_path / "state.pt", 0

    def advance(count: float = 1, note: str = "") -> None:
        nonlocal steps
        steps += count
        if steps == stopped_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(tiny, FRAMES, SETTINGS, advance=advance, state=state)
    went_on = fine_tune(tiny, FRAMES, SETTINGS, state=state)
    assert all(map(torch.equal, weights(went_on), weights(fine_tune(tiny, FRAMES, SETTINGS))))
    with pytest.raises(ZmaskError, match="another set of settings"):
        fine_tune(tiny, FRAMES, replace(SETTINGS, steps=13), state=state)


def test_opponents_of_a_profile_stay_below_it(tmp_path, monkeypatch):
    path = tiny_network.describe(tmp_path)
    profile, own = load_profile(tiny_network.fit(path)), load_segmenter(str(path), "cpu")
    opponents = FineTuning(own, FRAMES, SETTINGS, profile)._opponents
    assert {(one.attack.recipe.adaptive, one.attack.recipe.evasion) for one in opponents} == {("flag", "constraint")}
    monkeypatch.setattr(fine_tuning, "SAVED_EVERY", 4)
    few = replace(SETTINGS, steps=8)
    state = tmp_path / "state.pt"
    hidden = fine_tune(own, FRAMES, few, profile, state=state)
    assert all(map(torch.equal, weights(hidden), weights(fine_tune(own, FRAMES, few, profile, state=state))))
    with pytest.raises(ZmaskError, match="another profile"):
        fine_tune(own, FRAMES, few, state=state)


def test_the_loss_is_the_mean_divergence_of_the_pixels_that_count(tiny):
    tuning = FineTuning(tiny, FRAMES, SETTINGS)
    clean = torch.cat([tiny.prepare(image) for image in FRAMES[:2]])
    said = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    counted = torch.rand(2, 48, 64, generator=torch.Generator().manual_seed(2)) > 0.3
    wanted = tiny.logits(clean).softmax(1)
    expected = [
        sum(float(p) * (float(p.log()) - float(q)) for p, q in zip(wanted[b, :, y, x], own[b, :, y, x], strict=True))
        for own in [said.log_softmax(1)]
        for b, y, x in counted.nonzero().tolist()[::50]
    ]
    few = torch.zeros_like(counted).flatten()
    few[counted.flatten().nonzero()[::50]] = True
    loss = tuning._loss(Shown(clean, said, few.view_as(counted)))
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_what_cannot_learn_is_refused(tiny):
    class Brightness(nn.Module):
        def forward(self, x):
            return torch.cat([x, x, x], 1)[:, :3]

    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.layer(x).detach()

    class ForOne(Detached):
        def forward(self, x):
            if len(x) > 1:
                raise IndexError("one image")
            return self.layer(x)

    with pytest.raises(ZmaskError, match="no weights that could learn"):
        fine_tune(replace(tiny, network=Brightness()), FRAMES, SETTINGS)
    with pytest.raises(ZmaskError, match="'tiny_0' cannot learn .*does not require grad"):
        fine_tune(replace(tiny, network=Detached()), FRAMES, SETTINGS)
    with pytest.raises(ZmaskError, match=r"'tiny_0' cannot learn \(IndexError: one image\)"):
        fine_tune(replace(tiny, network=ForOne()), FRAMES, SETTINGS)


def test_a_network_that_diverges_is_not_taken(tiny):
    with pytest.raises(ZmaskError, match="choose a lower learning rate"):
        fine_tune(tiny, FRAMES, FineTuningSettings(steps=60, learning_rate=1e30))
