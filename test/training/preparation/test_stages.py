"""Preparing a profile on the tiny network: the best of what was tried, interruptions, and the budget."""

import math
import re
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch

from support import tiny_network
from support.counting import CountedProgress
from support.short_preparation import SETTINGS
from zmask_ros.attacks import patch_attack
from zmask_ros.attacks.patch_attack import profile_digest
from zmask_ros.defense import Defense
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.errors import ZmaskError
from zmask_ros.progress import SECONDS, silent
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.benign_sources import BenignPictures
from zmask_ros.training.clean_fit import CleanMeasurements, ProfileFit
from zmask_ros.training.double_oracle import BENIGN_A_FRAME
from zmask_ros.training.plans import completing, transfer_plan
from zmask_ros.training.preparation import attackers, stages
from zmask_ros.training.preparation import budget as budgeting
from zmask_ros.training.preparation.attackers import KINDS, ROUND_ATTACKERS, Turn
from zmask_ros.training.preparation.comparison import Comparison
from zmask_ros.training.preparation.parts import divide_parts
from zmask_ros.training.preparation.stages import Surroundings, check_start, prepare
from zmask_ros.training.preparation.standing import ADAPTIVE_OTHERS, KNOWING, PatchFigures
from zmask_ros.training.sources import CleanFrame
from zmask_ros.training.transfer import load_transferable_head

FRAMES = [CleanFrame("clean", "/image_raw", index, tiny_network.clean_image(index)) for index in range(80)]
TRANSFERABLE = load_transferable_head().weights


class Ticks:
    """A clock that says how often it was asked."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return float(self.now)


def interrupting(stage, after):
    """A `Progress` by which Ctrl-C comes ``after`` so many advances of ``stage``."""

    @contextmanager
    def progress(description, unit, total):
        left = after

        def advance(steps=1, note=""):
            nonlocal left
            left -= description == stage
            if left < 0:
                raise KeyboardInterrupt

        yield advance

    return progress


def is_trained(profile):
    own = profile.detector.head.tensors
    return any(not torch.equal(own[name], TRANSFERABLE[name]) for name in own)


def is_floor(profile):
    """Whether nothing is masked that is not flagged, as after fitting."""
    return profile.detector.precaution is None


def judge_of(worth):
    """A judge for whom a profile is worth ``worth(profile, frames)``, in 0..1."""

    def judge(profile, frames):
        value = worth(profile, frames)
        return PatchFigures(attacked=0.5, oracle=1.0, defended=0.5 + value / 2, mask_iou=value, flagged=value)

    return judge


LATE = 1 + 2 * len(KNOWING)
"""Seconds after the budget: the clock ticks when it is asked, and that is twice more for each patch that is made anew
than the patch is said to take."""
LIKES_TRAINING = judge_of(lambda profile, frames: 0.9 if is_trained(profile) else 0.4)


def kept_in(work):
    """The state of an interrupted preparation."""
    return torch.load(work / "state.pt", weights_only=True)["state"]["preparation"]


def run(segmenter, work, judge, progress=silent, settings=SETTINGS, **arguments):
    """What came of a preparation, and all profiles that were kept."""
    kept = []
    surroundings = Surroundings(judge, work, kept.append, Ticks(), progress)
    try:
        return prepare(segmenter, FRAMES, settings, surroundings, **arguments), kept
    except KeyboardInterrupt:
        return None, kept


@pytest.fixture(scope="module", autouse=True)
def two_attackers():
    """Take turns: with all of them a preparation would take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attackers, "ROUND_ATTACKERS", ROUND_ATTACKERS[:2])
        yield


@pytest.fixture(scope="module")
def uninterrupted(segmenter, tmp_path_factory):
    return run(segmenter, tmp_path_factory.mktemp("whole") / "work", LIKES_TRAINING)


def test_it_trains_until_it_gets_no_better_and_ends_with_the_best(segmenter, uninterrupted):
    result, kept = uninterrupted
    assert is_trained(result.profile) and not is_trained(kept[0])
    assert result.steps > 0
    assert result.after.merit > result.before.merit
    assert set(result.before.by_kind) == set(result.after.by_kind) == {*KINDS, ADAPTIVE_OTHERS}
    assert {"fit", "patches", "comparison", "head", "last lesson", "check", "report"} == set(result.stages)
    assert sum(result.stages.values()) == result.seconds
    assert sum(source.frames + source.held_out for source in result.profile.sources) == len(FRAMES)
    assert result.profile.detector.precaution is not None
    assert f"{result.steps} steps" in result.profile.notes[-1] and "frames 64 to 79" in result.profile.notes[-1]
    Defense(segmenter, result.profile)


@pytest.mark.parametrize(
    ("stage", "after"),
    [
        ("Patch: adaptive", 1),
        ("Training the head", 3),
        pytest.param("Patch: adaptive, round 2, resisting, alike", 1, marks=pytest.mark.slow),
        pytest.param("Patch: adaptive, with equal weights, anew", 1, marks=pytest.mark.slow),
        ("Patch: adaptive, last lesson", 1),
    ],
)
def test_an_interrupted_one_goes_on_and_ends_the_same(segmenter, uninterrupted, tmp_path, stage, after):
    work = tmp_path / "work"
    nothing, kept = run(segmenter, work, LIKES_TRAINING, interrupting(stage, after))
    assert nothing is None and kept and (work / "state.pt").exists()
    result, _ = run(segmenter, work, LIKES_TRAINING)
    whole, _ = uninterrupted
    assert profile_digest(result.profile) == profile_digest(whole.profile)
    assert (result.steps, result.before, result.after) == (whole.steps, whole.before, whole.after)
    assert not work.exists()


def a_step_takes(monkeypatch, seconds):
    """By a measurement, that a fast pass leaves time for."""
    monkeypatch.setattr(stages, "seconds_a_pass", lambda *_: 0.01)
    monkeypatch.setattr(stages, "seconds_a_step", lambda *_: seconds)


def test_an_interrupted_patch_is_gone_on_with_although_the_machine_got_slower(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(patch_attack, "SAVED_EVERY", 2)
    settings, work = replace(SETTINGS, patch_steps=9), tmp_path / "work"
    a_step_takes(monkeypatch, 0.5)
    run(segmenter, work, LIKES_TRAINING, interrupting("Patch: plain", 3), settings, budget=75.0)
    assert (work / "plain.attack.safetensors").exists()
    a_step_takes(monkeypatch, 1.0)
    result, _ = run(segmenter, work, LIKES_TRAINING, settings=settings, budget=75.0)
    assert result.patch_steps == 4


def test_with_a_longer_budget_the_patches_against_the_best_are_made_again(segmenter, tmp_path):
    work, count = tmp_path / "work", CountedProgress()
    run(segmenter, work, LIKES_TRAINING, interrupting("Patch: adaptive, always seen alike, anew", 1), budget=60.0)
    kept = kept_in(work)
    assert list(kept["anew"]) == ["adaptive, anew"]

    run(segmenter, work, LIKES_TRAINING, count, budget=120.0)
    made = count.done
    assert any(description.startswith(f"Patch: adaptive, round {kept['rounds'] + 1}, ") for description in made)
    assert "Patch: adaptive, anew" in made and "Patch: adaptive, always seen alike, anew" in made


def test_a_patch_whose_state_does_not_fit_is_begun_anew(segmenter, uninterrupted, tmp_path):
    work = tmp_path / "work"
    run(segmenter, work, LIKES_TRAINING, interrupting("Patch: adaptive", 1))
    # As after another number of threads: sums differ in their last digits.
    (work / "adaptive.attack.safetensors").write_bytes(b"of another profile")
    result, _ = run(segmenter, work, LIKES_TRAINING)
    assert profile_digest(result.profile) == profile_digest(uninterrupted[0].profile)


def test_patches_do_not_take_more_than_half_of_a_short_budget(segmenter, tmp_path, monkeypatch):
    settings = replace(SETTINGS, patch_steps=240, least_patch_steps=80)
    a_step_takes(monkeypatch, 0.5)
    result, _ = run(segmenter, tmp_path / "work", LIKES_TRAINING, settings=settings, budget=60.0)
    # Seven patches, and half a second a step. They cannot judge a head, so none is trained.
    assert result.patch_steps == 8
    assert result.steps == 0 and not is_trained(result.profile)


def test_a_short_budget_is_not_spent_on_timing(segmenter, tmp_path, monkeypatch):
    settings = replace(SETTINGS, patch_steps=240, least_patch_steps=80)
    monkeypatch.setattr(stages, "seconds_a_pass", lambda *_: 0.05)
    monkeypatch.setattr(stages, "seconds_a_step", lambda *_: pytest.fail("It takes six steps, of half a second each."))
    result, _ = run(segmenter, tmp_path / "work", LIKES_TRAINING, settings=settings, budget=60.0)
    assert result.patch_steps == 8


def test_a_short_budget_is_not_spent_on_the_report(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "seconds_a_pass", lambda *_: 0.03)
    settings, judged = replace(SETTINGS, reported_frames=24), []
    judge = judge_of(lambda profile, frames: judged.append(len(frames)) or 0.4)
    run(segmenter, tmp_path / "work", judge, settings=settings, budget=30.0)
    # A quarter of it, and a second a frame.
    assert set(judged) == {settings.compared_frames, 7}


@pytest.mark.parametrize("budget", [30.0, 60.0])
def test_the_time_that_is_shown_is_what_is_gone_of_the_budget(segmenter, tmp_path, budget):
    told = []

    @contextmanager
    def progress(description, unit, total):
        yield lambda steps=1, note="": told.append((steps, total)) if unit == SECONDS else None

    def interrupted(description, unit, total):
        return interrupting("Patch: adaptive", 1)(description, unit, total)

    run(segmenter, tmp_path / "work", LIKES_TRAINING, interrupted, budget=budget)
    spent = kept_in(tmp_path / "work")["spent"]
    result, _ = run(segmenter, tmp_path / "work", LIKES_TRAINING, progress, budget=budget)
    assert told[0] == (spent, budget)
    assert all(steps > 0 for steps, _ in told)
    # The head's time is over when no round fits any more: what is left then is left.
    assert result.seconds <= sum(steps for steps, _ in told) <= budget + LATE


def test_after_an_interruption_the_best_so_far_is_kept(segmenter, tmp_path):
    nothing, kept = run(
        segmenter, tmp_path / "work", LIKES_TRAINING, interrupting("Patch: adaptive, round 2, resisting, alike", 1)
    )
    assert nothing is None
    assert is_trained(kept[-1])


@pytest.mark.parametrize(
    ("worth", "says"),
    [
        (lambda profile, frames: 0.1 if is_trained(profile) else 0.4, ""),
        # With masks below the alarm, what was fitted is better at first, and no head was refused.
        (
            lambda profile, frames: (
                0.1 if is_trained(profile) else 0.4 if is_floor(profile) else 0.5 if len(frames) == 2 else 0.2
            ),
            "",
        ),
        # Better where profiles are compared, and worse where nobody had looked.
        (
            lambda profile, frames: 0.4 if not is_trained(profile) else 0.9 if len(frames) == 2 else 0.1,
            "an attacker who knows it keeps 90% of a plain patch's damage, instead of 60%",
        ),
    ],
)
def test_it_never_ends_below_what_fitting_gives(segmenter, tmp_path, worth, says):
    result, kept = run(segmenter, tmp_path / "work", judge_of(worth))
    assert not is_trained(result.profile)
    assert result.steps == 0 and result.rounds > 0
    assert result.after.merit >= result.before.merit
    assert result.refused.startswith(says) and bool(result.refused) == bool(says)
    assert kept[-1].detector.threshold.value == kept[0].detector.threshold.value


@pytest.fixture
def taught_last(monkeypatch):
    """Weights of the heads that last lessons gave."""
    weights, answered = [], stages._Chain._answered

    def listened(chain, oracle, anew=False):
        own = answered(chain, oracle, anew)
        weights.extend([own.head] if anew else [])
        return own

    monkeypatch.setattr(stages._Chain, "_answered", listened)
    return weights


def holds(profile, weights):
    own = profile.detector.head.tensors
    return own.keys() == weights.keys() and all(torch.equal(own[name], weights[name]) for name in own)


@pytest.mark.parametrize(("worth", "taken"), [(0.95, True), (0.6, False)])
def test_the_head_of_the_last_lesson_is_kept_if_it_is_better(segmenter, tmp_path, taught_last, worth, taken):
    def judged(profile, frames):
        last = any(holds(profile, weights) for weights in taught_last)
        return worth if last else 0.8 if is_trained(profile) else 0.4

    result, kept = run(segmenter, tmp_path / "work", judge_of(judged))
    (weights,) = taught_last
    assert holds(result.profile, weights) == holds(kept[-1], weights) == taken
    assert is_trained(result.profile)


@pytest.mark.parametrize(("share", "lessons"), [(0.25, 1), (0.1, 0)])
def test_a_last_lesson_takes_its_share_of_the_budget_at_most(
    segmenter, tmp_path, monkeypatch, taught_last, share, lessons
):
    monkeypatch.setattr(budgeting, "LAST_LESSON_SHARE", share)
    result, _ = run(segmenter, tmp_path / "work", LIKES_TRAINING, budget=130.0)
    assert len(taught_last) == lessons and ("last lesson" in result.stages) == bool(lessons)
    assert result.seconds <= 130 + LATE


def test_no_time_is_kept_for_a_last_lesson_that_will_not_come(segmenter, tmp_path, monkeypatch, taught_last):
    def rounds(most):
        monkeypatch.setattr(budgeting, "LAST_LESSON_SHARE", most)
        work = tmp_path / str(most)
        run(segmenter, work, LIKES_TRAINING, interrupting("Patch: adaptive, anew", 0), budget=72.0)
        return kept_in(work)["rounds"]

    assert rounds(0.25) == rounds(0.0) and not taught_last


def interrupted_screen(chain, profile):
    raise KeyboardInterrupt


def test_what_the_check_refused_is_not_compared_again_after_an_interruption(segmenter, tmp_path, monkeypatch):
    # Better where profiles are compared, and worse where nobody had looked.
    judge = judge_of(lambda profile, frames: 0.4 if not is_trained(profile) else 0.9 if len(frames) == 2 else 0.1)
    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(stages._Chain, "with_screen", interrupted_screen)
        run(segmenter, work, judge)
    result, kept = run(segmenter, work, judge)
    assert not is_trained(result.profile) and not any(map(is_trained, kept))


def test_after_a_last_lesson_more_rounds_have_to_be_better_than_it(segmenter, tmp_path, monkeypatch, taught_last):
    monkeypatch.setattr(Comparison, "_false_alarms", lambda comparison, profile: 0.0)

    def judged(profile, frames):
        last = any(holds(profile, weights) for weights in taught_last)
        return 0.95 if last else 0.8 if is_trained(profile) else 0.4

    work, judge = tmp_path / "work", judge_of(judged)
    with monkeypatch.context() as patch:
        patch.setattr(stages._Chain, "with_screen", interrupted_screen)
        run(segmenter, work, judge, budget=130.0)
    _, kept = run(segmenter, work, judge, interrupting("Patch: adaptive, last lesson", 0), budget=240.0)
    first = taught_last[0]
    before = kept_in(work)["rounds"]
    assert len(taught_last) == 2 and before > 2 and all(holds(profile, first) for profile in kept)


def roads(size):
    yield from (np.full((*size, 3), value, np.uint8) for value in range(200))


@pytest.mark.parametrize(("given", "drawn"), [(0, 2), (20, 1), (200, 0)])
def test_other_roads_are_drawn_where_not_enough_are_given(segmenter, tmp_path, monkeypatch, given, drawn):
    shown = []

    def oracle(measured, frames, takes_part, others, **options):
        shown.append(others)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "HeadOracle", oracle)
    benign = BenignPictures(tuple(PICTURES) * (given // len(PICTURES) + 1))
    benign = replace(benign, taught=benign.taught[:given])
    surroundings = Surroundings(LIKES_TRAINING, tmp_path / "work", lambda profile: None, Ticks(), roads=roads)
    with pytest.raises(KeyboardInterrupt):
        prepare(segmenter, FRAMES, SETTINGS, surroundings, benign=benign)
    most = round(BENIGN_A_FRAME * SETTINGS.shown_frames)
    assert len(shown[0]) == min(most, given + drawn)
    assert [int(own.max()) for own in shown[0][len(shown[0]) - drawn :]] == list(range(drawn))


@pytest.fixture
def no_last_lesson(monkeypatch):
    monkeypatch.setattr(budgeting, "FEWEST_ROUNDS", math.inf)


def judge_by(monkeypatch, table):
    """Let the patch of round ``p`` leave ``table[h][p]`` of a plain one's damage under the head of round ``h``.

    Rounds count from 0. Whatever else is judged is as good under every trained head.
    """
    heads = []

    def by_others(comparison, profile, frames, seed):
        own = profile.detector.head.tensors
        if is_trained(profile) and not any(holds(profile, known) for known in heads):
            heads.append(own)
        rounds = [int(name.split(", ")[1].removeprefix("round ")) - 1 for name in comparison.met if "round" in name]
        row = next((row for row, known in zip(table, heads, strict=False) if holds(profile, known)), [1.0])
        # Patches after the last one in a row do as much as that one.
        left = fmean([row[min(number, len(row) - 1)] for number in rounds] or [1.0])
        return {ADAPTIVE_OTHERS: PatchFigures(0.5, 1.0, 1.0 - left / 2, 0.9, 0.9)}

    monkeypatch.setattr(Comparison, "_by_others", by_others)
    monkeypatch.setattr(Comparison, "_false_alarms", lambda comparison, profile: 0.0)
    return judge_of(lambda profile, frames: 0.95 if is_trained(profile) else 0.1)


def steps_of_round(number):
    return SETTINGS.head_steps + number * (SETTINGS.head_steps // 3)


def test_a_head_that_a_later_patch_passes_is_not_the_best(segmenter, tmp_path, monkeypatch, no_last_lesson):
    # The first head withstands its own attacker, whose successors pass it; the third one knows them.
    judge = judge_by(
        monkeypatch, [[0.1, 0.9, 0.9, 0.9], [0.1, 0.8, 0.9, 0.9], [0.1, 0.1, 0.3, 0.3], [0.9] * 4, [0.9] * 5]
    )
    result, _ = run(segmenter, tmp_path / "work", judge)
    assert result.steps == steps_of_round(2)


def test_a_head_is_the_best_as_long_as_no_patch_does_more_to_it(segmenter, tmp_path, monkeypatch, no_last_lesson):
    judge = judge_by(monkeypatch, [[0.3, 0.4, 0.4], [0.2, 0.6, 0.6], [0.5, 0.5, 0.5]])
    result, _ = run(segmenter, tmp_path / "work", judge)
    assert result.steps == steps_of_round(0)


def test_the_attackers_take_turns(segmenter, monkeypatch):
    monkeypatch.setattr(attackers, "ROUND_ATTACKERS", ROUND_ATTACKERS)
    count = len(ROUND_ATTACKERS)
    turns = [Turn(number) for number in range(2 * count)]
    recipes = [turn.recipe(segmenter.input_size, 160) for turn in turns]
    assert all(own.knows_the_defense for own in recipes)
    first, second = ([replace(own, seed=0) for own in part] for part in (recipes[:count], recipes[count:]))
    assert first == second and len({own.seed for own in recipes}) == len(recipes)
    assert all(own not in first[:number] for number, own in enumerate(first))
    assert len({turn.patch_name for turn in turns}) == len(turns)


PICTURES = [tiny_network.clean_image(500 + number) for number in range(16)]


def test_benign_pictures_that_are_flagged_count_as_false_alarms(segmenter, tmp_path, monkeypatch):
    benign, shown = BenignPictures(tuple(PICTURES[:12]), tuple(PICTURES[12:])), []

    def flags(segmenter, profile, images):
        shown.append(images)
        harmful = is_trained(profile) and images is benign.compared
        return [profile.detector.threshold.value + (1 if harmful else -1) for _ in images]

    monkeypatch.setattr("zmask_ros.training.preparation.comparison.scores", flags)
    result, kept = run(segmenter, tmp_path / "work", LIKES_TRAINING, benign=benign)
    assert any(images is benign.compared for images in shown)
    assert not any(map(is_trained, kept)) and not is_trained(result.profile)
    assert (result.before.benign, result.before.false_alarms) == (0.0, 0.0)


def test_benign_pictures_do_not_displace_the_drives(segmenter, tmp_path, monkeypatch):
    sizes = []
    usual = stages.HeadOracle

    def oracle(measured, frames, takes_part, others, **options):
        sizes.append((len(frames), len(others)))
        return usual(measured, frames, takes_part, others, **options)

    monkeypatch.setattr(stages, "HeadOracle", oracle)
    many = BenignPictures(tuple(PICTURES) * 20)
    run(segmenter, tmp_path / "work", LIKES_TRAINING, benign=many)
    assert sizes == [(SETTINGS.shown_frames, round(BENIGN_A_FRAME * SETTINGS.shown_frames))]


def test_other_benign_pictures_make_another_preparation(segmenter, tmp_path):
    run(segmenter, tmp_path / "work", LIKES_TRAINING, interrupting("Patch: plain", 1))
    with pytest.raises(ZmaskError, match="another set of benign pictures"):
        run(segmenter, tmp_path / "work", LIKES_TRAINING, benign=BenignPictures(tuple(PICTURES)))


def test_a_head_is_shown_as_many_frames_although_the_machine_got_slower(segmenter, tmp_path, monkeypatch):
    settings, work = replace(SETTINGS, shown_frames=40), tmp_path / "work"
    monkeypatch.setattr(budgeting, "LEAST_SHOWN", 1)
    monkeypatch.setattr(stages, "seconds_a_pass", lambda *_: 0.2)
    run(segmenter, work, LIKES_TRAINING, interrupting("Training the head", 3), settings, budget=60.0)
    kept = kept_in(work)["shown_frames"]
    assert kept == 8
    monkeypatch.setattr(stages, "seconds_a_pass", lambda *_: 0.4)
    shown = []

    @contextmanager
    def progress(description, unit, total):
        shown.extend([total] if description.endswith(("clean images", "benign pictures")) else [])
        yield lambda steps=1, note="": None

    run(segmenter, work, LIKES_TRAINING, progress, settings, budget=60.0)
    assert sum(shown) == round(BENIGN_A_FRAME * kept)


@pytest.mark.parametrize("budget", [30.0, 60.0])
def test_the_budget_holds(segmenter, tmp_path, budget):
    result, _ = run(segmenter, tmp_path / "work", LIKES_TRAINING, budget=budget)
    assert budget - 25 <= result.seconds <= budget + LATE
    assert is_trained(result.profile) == (budget > 30)


def test_it_starts_from_the_head_of_a_profile(segmenter, uninterrupted, tmp_path):
    start = uninterrupted[0].profile
    likes_none = judge_of(lambda profile, frames: 0.4)
    result, kept = run(segmenter, tmp_path / "work", likes_none, start=start, budget=25.0)
    for name, tensor in start.detector.head.tensors.items():
        assert torch.equal(kept[0].detector.head.tensors[name], tensor)
        assert torch.equal(result.profile.detector.head.tensors[name], tensor)


@pytest.mark.parametrize("screen", [True, False])
def test_a_screen_of_the_start_is_kept_unless_none_is_wanted(segmenter, tmp_path, screen):
    fit = ProfileFit(segmenter, transfer_plan(segmenter), len(FRAMES))
    fit.add_all(FRAMES)
    alone = fit.finish(0.001)
    start, settings = deepcopy(alone).with_screen(alone, alone.detector.threshold), replace(SETTINGS, screen=screen)
    likes_none = judge_of(lambda profile, frames: 0.4)
    result, _ = run(segmenter, tmp_path / "work", likes_none, settings=settings, start=start, budget=25.0)
    assert (result.profile.screen is not None) == screen


def test_an_unfinished_screen_is_gone_on_with(segmenter, tmp_path):
    settings, work, count = replace(SETTINGS, screen_steps=300), tmp_path / "work", CountedProgress()
    likes_none = judge_of(lambda profile, frames: 0.4)
    run(segmenter, work, likes_none, interrupting("Training the screening", 70), settings)
    kept = kept_in(work)
    assert kept["screen_steps"] == 300 and kept["stages"]["screening"] > 0
    result, _ = run(segmenter, work, likes_none, count, settings)
    # The first 60 of them at once.
    assert count.done["Training the screening"] == 300
    assert len([note for note in count.notes if note.startswith(("loss", "adversaries"))]) == 240
    assert result.profile.screen is not None and not work.exists()


def test_instead_of_a_start_that_sees_descriptors_one_that_sees_channels_learns(segmenter, tmp_path):
    fit = ProfileFit(segmenter, transfer_plan(segmenter), len(FRAMES))
    fit.add_all(FRAMES)
    result, kept = run(segmenter, tmp_path / "work", LIKES_TRAINING, start=fit.finish(0.001), budget=60.0)
    first, last = (own.detector.head for own in (kept[0], result.profile))
    assert first.kind is FeatureKind.DESCRIPTORS and last.kind is FeatureKind.RELATIVE
    begun, grown = kept[0].detector.growth, result.profile.detector.growth
    assert begun.solid == 1.0 and grown == completing(begun) != begun


def test_thresholds_of_a_head_that_has_learned_know_what_patches_score(segmenter, tmp_path, monkeypatch):
    told = []
    profile = CleanMeasurements.profile

    def listened(measured, *arguments, patched=None, **others):
        told.append((measured.plan.head.kind, patched))
        return profile(measured, *arguments, patched=patched, **others)

    monkeypatch.setattr(CleanMeasurements, "profile", listened)
    result, _ = run(segmenter, tmp_path / "work", LIKES_TRAINING, budget=60.0)
    assert is_trained(result.profile)
    learned = [patched for kind, patched in told if kind is FeatureKind.RELATIVE]
    # What fitting alone gives knows one that was tried.
    (tried,) = {patched for kind, patched in told if kind is FeatureKind.DESCRIPTORS} - {None}
    assert tried > 0 and (FeatureKind.DESCRIPTORS, None) not in told[1:]
    # Without them only where they are to be found out, once a round.
    assert learned.count(None) < len(learned) / 2 and told[-1] != (FeatureKind.RELATIVE, None)
    assert all(patched is None or patched > 0 for patched in learned)


def test_a_network_without_a_layer_for_the_head_is_refused_at_once(tmp_path):
    path = tiny_network.describe_with(tmp_path, layers='{shallow: ["0"], deep: ["2"], head: ["nowhere"]}')
    with pytest.raises(ZmaskError, match="nowhere"):
        check_start(load_segmenter(path, "cpu"), None)


def test_a_start_without_a_head_is_refused(segmenter, fitted, tmp_path):
    with pytest.raises(ZmaskError, match="no evidence head"):
        run(segmenter, tmp_path / "work", LIKES_TRAINING, start=fitted)


def test_what_an_older_version_left_is_not_gone_on_with(segmenter, tmp_path):
    run(segmenter, tmp_path / "work", LIKES_TRAINING, interrupting("Patch: plain", 1))
    file = tmp_path / "work" / "state.pt"
    kept = torch.load(file, weights_only=True)
    kept["state"]["preparation"]["rivals"] = 3
    torch.save(kept, file)
    with pytest.raises(ZmaskError, match="delete it"):
        run(segmenter, tmp_path / "work", LIKES_TRAINING)
    del kept["state"]["preparation"]["rivals"], kept["belongs_to"]["set of benign pictures"]
    torch.save(kept, file)
    with pytest.raises(ZmaskError, match="another version: delete it"):
        run(segmenter, tmp_path / "work", LIKES_TRAINING)


def test_another_preparation_is_not_gone_on_with(segmenter, tmp_path):
    run(segmenter, tmp_path / "work", LIKES_TRAINING, interrupting("Patch: plain", 1))
    with pytest.raises(ZmaskError, match="another set of settings"):
        run(segmenter, tmp_path / "work", LIKES_TRAINING, settings=replace(SETTINGS, head_steps=10))
    (tmp_path / "work" / "state.pt").write_bytes(b"damaged")
    with pytest.raises(ZmaskError, match="delete it"):
        run(segmenter, tmp_path / "work", LIKES_TRAINING)


def test_too_few_frames_are_counted_as_they_were_given(segmenter, tmp_path):
    surroundings = Surroundings(LIKES_TRAINING, tmp_path / "work", lambda profile: None, Ticks())
    with pytest.raises(ZmaskError, match="40 clean frames are too few: 10 of them are held out for the report"):
        prepare(segmenter, FRAMES[:40], SETTINGS, surroundings)


def test_whole_drives_are_held_out_where_there_are_enough(segmenter):
    drives = [replace(frame, bag=f"drive_{frame.index % 3}", index=frame.index // 3) for frame in FRAMES[:75]]
    fit = ProfileFit(segmenter, transfer_plan(segmenter), len(drives))
    fit.add_all(drives)
    parts = divide_parts(drives, fit.group, lambda group: group.drive)
    assert len(parts.reported) == 25 and parts.held_out == "drive_2 /image_raw"
    assert {frame.bag for frame in parts.others} == {"drive_0", "drive_1"}
    assert len(parts.training) + len(parts.compared) == 50


def test_each_half_of_the_reported_drive_is_judged_by_thresholds_that_know_the_other(segmenter, tmp_path, monkeypatch):
    drives = [replace(frame, bag=f"drive_{frame.index % 3}", index=7 * (frame.index // 3)) for frame in FRAMES[:75]]
    drives.sort(key=lambda frame: frame.bag)
    told, profile = [], CleanMeasurements.profile

    def listened(measured, rate, takes_part=lambda group: True, patched=None, heard=None):
        made = profile(measured, rate, takes_part, patched=patched, heard=heard)
        groups = set(measured.moments)
        if heard is not None:
            told.append(({g for g in groups if not takes_part(g)}, {g for g in groups if not heard(g)}))
            assert made.detector.threshold.frames == sum(heard(frame.group) for frame in measured.found)
        return made

    monkeypatch.setattr(CleanMeasurements, "profile", listened)
    surroundings = Surroundings(LIKES_TRAINING, tmp_path / "work", lambda kept: None, Ticks())
    result = prepare(segmenter, drives, SETTINGS, surroundings, budget=30.0)
    assert result.held_out.startswith("drive_2") and 0 <= result.after.false_alarms <= 1
    outside = {frozenset(without) for without, _ in told}
    silent = {frozenset(unheard) for _, unheard in told}
    (drive,) = outside
    assert len(drive) > 1 and {group.drive for group in drive} == {2}
    whole, *halves = sorted(silent, key=len)
    assert not whole and len(halves) == 2
    assert halves[0] | halves[1] == drive and not halves[0] & halves[1]


@pytest.mark.parametrize("drives", [1, 2])
def test_of_long_drives_a_whole_stretch_is_held_out(segmenter, tmp_path, drives):
    # Each 14th frame of a long drive, as they are read.
    frames = [replace(own, bag=f"drive_{i % drives}", index=14 * (i // drives)) for i, own in enumerate(FRAMES)]
    frames.sort(key=lambda frame: frame.bag)
    surroundings = Surroundings(LIKES_TRAINING, tmp_path / "work", lambda profile: None, Ticks())
    result = prepare(segmenter, frames, SETTINGS, surroundings, budget=30.0)
    bag = f"drive_{drives - 1}"
    first, last = map(int, re.fullmatch(rf"{bag} /image_raw, frames (\d+) to (\d+)", result.held_out).groups())
    between = [own.image for own in frames if own.bag == bag and first <= own.index <= last]
    assert len(result.reported) == len(between) < 40 / drives
    assert all(map(np.array_equal, result.reported, between))
