"""The screening: its training, its place in a profile, and what streaming mode makes of a glance."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from support import tiny_network
from support.commands import record, refused, zmask
from support.counting import CountedProgress
from support.interruption import interrupt_training
from support.patched_street import HERE, street
from support.screened import FRAMES, LAYERS, screened_profile
from zmask_ros.defense import (
    ActivationTaps,
    Defense,
    ProfileError,
    load_profile,
    merge_profiles,
    save_profile,
)
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.head import WEIGHTS
from zmask_ros.defense.profile import storage as profile_file
from zmask_ros.defense.streaming.cascade import Screening
from zmask_ros.errors import ZmaskError
from zmask_ros.training.adversarial import train_adversarially, with_untrained_head
from zmask_ros.training.adversaries import ADVERSARY_KINDS
from zmask_ros.training.screening import add_screen
from zmask_ros.training.settings import ScreenSettings
from zmask_ros.training.sources import CleanFrame

HELD_OUT = [tiny_network.clean_image(index) for index in range(24, 40)]
CLEAN = [
    *(CleanFrame("clean", "/image_raw", 5 * i, image) for i, image in enumerate(FRAMES)),
    *(CleanFrame("clean", "/image_raw", 5 * i + 4, image) for i, image in enumerate(HELD_OUT)),
]
STEPS = 400


@pytest.fixture(scope="module")
def hardened(segmenter, fitted):
    begun = with_untrained_head(segmenter, fitted, ("0", "2"), FRAMES)
    few = (ADVERSARY_KINDS[1], ADVERSARY_KINDS[4], ADVERSARY_KINDS[6])
    return train_adversarially(segmenter, begun, FRAMES, 24 * len(few), seed=3, kinds=few).profile


@pytest.fixture(scope="module")
def trained(segmenter, hardened):
    """The profile with a screening that was trained for a little while, and the losses."""
    progress = CountedProgress()
    profile = add_screen(
        segmenter, hardened, CLEAN, ScreenSettings(adversarial_steps=STEPS, rate=0.1), LAYERS, progress=progress
    )
    assert progress.notes[0] == "adversaries begin"
    return profile, [float(note.removeprefix("loss ")) for note in progress.notes if note.startswith("loss ")]


@pytest.fixture(scope="module")
def screened(segmenter, fitted):
    return screened_profile(segmenter, fitted)


def scores(profile, segmenter, images):
    """Of the screening alone."""
    defense = Defense(segmenter, profile.of_screen())
    with torch.inference_mode():
        return [float(defense.analyze(segmenter.prepare(image))[1].score) for image in images]


def test_it_learns_and_its_threshold_is_set_by_frames_that_it_has_not_seen(trained, segmenter):
    profile, learned = trained
    assert np.mean(learned[-50:]) < 0.8 * np.mean(learned[:20])
    threshold = profile.screen.threshold
    above = [score > threshold.value for score in scores(profile, segmenter, HELD_OUT)]
    assert sum(above) <= 0.1 * len(above)
    assert (threshold.false_alarm_rate, threshold.frames) == (0.1, len(HELD_OUT))


def test_nothing_else_of_the_profile_changes(trained, hardened, segmenter):
    screened, _ = trained
    plain = screened.without_screen()
    assert plain.binding == hardened.binding
    assert plain.detector.statistics.keys() == hardened.detector.statistics.keys()
    assert plain.detector.threshold == hardened.detector.threshold
    x = segmenter.prepare(street(HERE))
    with_it, without = (Defense(segmenter, profile)(x) for profile in (screened, hardened))
    assert torch.equal(with_it.labels, without.labels)
    assert torch.equal(with_it.analysis.score, without.analysis.score)


def test_it_can_be_trained_anew(trained, segmenter):
    screened, _ = trained
    again = add_screen(segmenter, screened, CLEAN, ScreenSettings(adversarial_steps=0, rate=0.2), ("0",))
    assert again.screen.head.branch.layers == ("0",)
    assert again.screen.threshold.false_alarm_rate == 0.2
    assert list(again.screen.statistics) == ["0"]
    assert [note for note in again.notes if note.startswith("Screening")] == [again.notes[-1]]
    assert torch.equal(again.detector.head.inner, screened.detector.head.inner)


def test_a_profile_without_a_head_gets_none(segmenter, fitted):
    with pytest.raises(ZmaskError, match="no evidence head"):
        add_screen(segmenter, fitted, CLEAN, ScreenSettings(), LAYERS)


def test_the_screening_sees_half_as_finely_and_no_energies(trained):
    screened, _ = trained
    own = screened.screen.detector(screened.detector)
    assert own.grid(screened.binding.input_size) == tuple(-(-side // 2) for side in screened.grid)
    assert screened.screen.head.kind is FeatureKind.CHANNELS
    assert screened.detector.head.kind is FeatureKind.ENERGIES


def test_a_glance_is_what_the_screening_alone_says(screened, segmenter):
    x = segmenter.prepare(street(HERE))
    defense = Defense(segmenter, screened)
    with torch.inference_mode(), defense.taps as taps:
        segmenter.logits(x)
        glance = Screening(screened)(taps)
    assert glance.score.tolist() == pytest.approx(scores(screened, segmenter, [street(HERE)]))
    assert glance.evidence.shallow.shape[-2:] == screened.grid
    assert not glance.mask.any()


def test_what_lies_in_a_known_region_does_not_count(screened, segmenter):
    defense = Defense(segmenter, screened)
    beside = torch.ones(1, 1, *screened.grid)
    top, left, side = (value // 8 for value in HERE)
    beside[..., max(0, top - 2) : top + side + 2, max(0, left - 2) : left + side + 2] = 0
    with torch.inference_mode(), defense.taps as taps:
        segmenter.logits(segmenter.prepare(street(HERE)))
        screening = Screening(screened)
        assert screening(taps, beside).score < screening(taps).score


def test_a_profile_with_a_screening_comes_back_as_it_was_saved(screened, segmenter, tmp_path):
    path = tmp_path / "screened.zmask.safetensors"
    save_profile(screened, path)
    back = load_profile(path)
    assert back.screen.threshold == screened.screen.threshold
    assert back.screen.head.branch == screened.screen.head.branch
    for name in WEIGHTS:
        assert torch.equal(getattr(back.screen.head, name), getattr(screened.screen.head, name))
    Defense(segmenter, back)


def test_profiles_with_screenings_are_not_merged(trained):
    screened, _ = trained
    with pytest.raises(ProfileError, match="cannot be merged"):
        merge_profiles(screened, screened)


@pytest.mark.parametrize("part", ["head", "threshold"])
def test_a_screening_that_is_not_finite_is_refused(screened, part):
    screen = screened.screen
    broken = {
        "head": dataclasses.replace(screen.head, outer=torch.full_like(screen.head.outer, math.nan)),
        "threshold": dataclasses.replace(screen.threshold, value=math.nan),
    }[part]
    with pytest.raises(ProfileError, match="not finite"):
        dataclasses.replace(screened, screen=dataclasses.replace(screen, **{part: broken})).check_finite()


# The command.


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(60)))


@pytest.fixture(scope="module")
def stored(hardened, tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "hard.zmask.safetensors"
    save_profile(hardened, path)
    return path


def test_the_command_adds_a_screening_and_goes_on_where_it_was_interrupted(
    capsys, stored, segmenter, bag, tmp_path, monkeypatch
):
    output = tmp_path / "screened.zmask.safetensors"
    arguments = ("--clean", bag, "--rivals", 300, "--segmenter", segmenter.description.source, "-o", output)
    wanted = ("screen", stored, *arguments, "--rate", 0.2, "--json")
    interrupt_training(monkeypatch, after=50)
    code, _, err = zmask(capsys, *wanted)
    kept = tmp_path / f"{output.name}.training.pt"
    assert code == 130 and "the same command goes on" in err and kept.name in err.replace("\n", "")
    assert kept.exists() and not output.exists()
    assert "another set of settings" in refused(capsys, "screen", stored, *arguments, "--rate", 0.3)
    steps = interrupt_training(monkeypatch, after=None)
    code, out, err = zmask(capsys, *wanted)
    assert code == 0, err
    assert len(steps) == 300 - 40
    assert "about" in err
    assert json.loads(out)["clean frames analysed"] == 0.2
    threshold = load_profile(output).screen.threshold
    assert (threshold.false_alarm_rate, threshold.frames) == (0.2, 12)
    code, out, _ = zmask(capsys, "inspect", output)
    assert code == 0
    assert "screening threshold" in out
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name clean frames"),
        (("--clean", "{bag}", "--rivals", "20"), "--rivals 300 at least"),
        (("--clean", "{bag}/nowhere"), "nowhere"),
        (("--clean", "{bag}", "--segmenter", "{other}"), "fitted on something else"),
    ],
)
def test_bad_input(capsys, stored, segmenter, bag, tmp_path, arguments, says):
    names = {"bag": bag, "other": tiny_network.describe(tmp_path, seed=1)}
    given = [argument.format(**names) for argument in arguments]
    if "--segmenter" not in given:
        given += ["--segmenter", str(segmenter.description.source)]
    assert says in refused(capsys, "screen", stored, *given, "-o", tmp_path / "x.zmask.safetensors")
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_profile_without_a_head_is_refused(capsys, fitted, bag, tmp_path):
    path = tmp_path / "plain.zmask.safetensors"
    save_profile(fitted, path)
    assert "--rivals" in refused(capsys, "screen", path, "--clean", bag, "-o", tmp_path / "x.zmask.safetensors")


# What else it has to get along with.


def test_profiles_from_before_there_were_screenings_are_read(hardened, tmp_path, monkeypatch):
    path = tmp_path / "old.zmask.safetensors"
    description = profile_file._describe(hardened)
    del description["screen"], description["head"]["kind"]
    monkeypatch.setattr(profile_file, "_describe", lambda profile: description)
    save_profile(hardened, path)
    old = load_profile(path)
    assert old.screen is None
    assert old.detector.head.kind is FeatureKind.ENERGIES


def test_a_screening_without_all_its_weights_says_how_to_get_them(screened, tmp_path, monkeypatch):
    path = tmp_path / "lost.zmask.safetensors"
    tensors = {name: kept for name, kept in profile_file._tensors(screened).items() if name != "screen.outer"}
    monkeypatch.setattr(profile_file, "_tensors", lambda profile: tensors)
    save_profile(screened, path)
    with pytest.raises(ProfileError, match="zmask screen"):
        load_profile(path)


def test_a_network_in_half_precision_is_glanced_at_in_single(screened, segmenter):
    half = dataclasses.replace(segmenter, network=InHalf(segmenter.network))
    taps = {"2": torch.randn(1, 8, 48, 64)}
    seen = Screening(screened)(taps).score
    with ActivationTaps(half.network.inner, LAYERS) as tapped:
        half.network(half.prepare(street(HERE)))
        assert Screening(screened)(tapped).score.dtype == seen.dtype == torch.float32


class InHalf(torch.nn.Module):
    """A network that computes in bfloat16."""

    def __init__(self, network):
        super().__init__()
        self.inner = copy.deepcopy(network).bfloat16()

    def forward(self, x):
        return self.inner(x.bfloat16()).float()
