"""The screening: its training, its place in a profile, and what streaming mode makes of a glance."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import tiny_network
import torch
from test_cli import record, refused, zmask
from test_streaming import ELSEWHERE, FRAME_NS, HERE, PATCH, Drive, covered, street

from zmask_ros.defense import (
    ActivationTaps,
    Defense,
    ProfileError,
    Screen,
    StreamingDefense,
    Threshold,
    bind,
    load_profile,
    merge_profiles,
    profile_file,
    save_profile,
    without_screen,
)
from zmask_ros.defense.analysis import head_features
from zmask_ros.defense.discriminant import discriminant
from zmask_ros.defense.head import WEIGHTS, Head
from zmask_ros.defense.screening import Screening, coarser, screening_profile
from zmask_ros.defense.stream_state import ALERT_S, Incoming, Judged, Lesson, StreamState
from zmask_ros.errors import ZmaskError
from zmask_ros.hardening import KINDS, harden, with_head
from zmask_ros.screening import GLANCE, with_screen
from zmask_ros.segmenters import load_segmenter

FRAMES = [tiny_network.clean_image(index) for index in range(24)]
HELD_OUT = [tiny_network.clean_image(index) for index in range(24, 40)]
STEPS = 400
LAYERS = ("2",)
SECOND = 10**9


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return load_segmenter(str(tiny_network.describe(tmp_path_factory.mktemp("tiny"))), "cpu")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return load_profile(tiny_network.fit(tiny_network.describe(tmp_path_factory.mktemp("fitted"))))


@pytest.fixture(scope="module")
def hardened(segmenter, fitted):
    begun = with_head(segmenter, fitted, ("0", "2"), FRAMES)
    few = (KINDS[1], KINDS[4], KINDS[6])
    return harden(segmenter, begun, FRAMES, 24 * len(few), seed=3, kinds=few).profile


@pytest.fixture(scope="module")
def trained(segmenter, hardened):
    """The profile with a screening that was trained for a little while, and the losses."""
    losses = []
    return with_screen(segmenter, hardened, LAYERS, FRAMES, HELD_OUT, STEPS, 0.1, losses.append), losses


@pytest.fixture(scope="module")
def screened(segmenter, fitted):
    """A profile with a screening that knows one colour, which clean images never have."""
    with_layers = with_head(segmenter, coarser(fitted), LAYERS, FRAMES, look=GLANCE)
    features = head_features(with_layers, with_layers.head.branch, textured=False).groups[0]
    with torch.inference_mode(), ActivationTaps(segmenter.network, LAYERS) as taps:

        def cells(images):
            segmenter.logits(torch.cat([segmenter.prepare(image) for image in images]))
            return torch.cat(features(taps), 1).permute(0, 2, 3, 1).flatten(0, 2).double()

        attention, offset = discriminant(cells([np.full_like(FRAMES[0], PATCH)]), cells(FRAMES))
    untrained = with_layers.head
    weights = {name: torch.zeros_like(tensor) for name, tensor in untrained.tensors.items()}
    weights["inner"][0], weights["inner_bias"][0] = attention, offset
    weights["outer"][0], weights["outer_bias"][0] = 20.0, -6.0
    head = Head(untrained.branch, untrained.textured, **weights)
    own = {key.replace("head:", "screen:"): kept for key, kept in with_layers.statistics.items() if "head:" in key}
    screen = Screen(head, Threshold(0.5, 0.1, len(HELD_OUT), 0.5))
    profile = dataclasses.replace(fitted, screen=screen, statistics=fitted.statistics | own)
    return dataclasses.replace(profile, binding=bind(segmenter, profile.bound_layers))


def scores(profile, segmenter, images):
    """Of the screening alone."""
    defense = Defense(segmenter, screening_profile(profile))
    with torch.inference_mode():
        return [float(defense.analyse(segmenter.prepare(image))[1].score) for image in images]


def test_it_learns_and_its_threshold_is_set_by_frames_that_it_has_not_seen(trained, segmenter):
    profile, losses = trained
    learned = [loss for loss in losses if not math.isnan(loss)]
    assert np.mean(learned[-50:]) < 0.8 * np.mean(learned[:20])
    threshold = profile.screen.threshold
    above = [score > threshold.value for score in scores(profile, segmenter, HELD_OUT)]
    assert sum(above) <= 0.1 * len(above)
    assert (threshold.false_alarm_rate, threshold.frames) == (0.1, len(HELD_OUT))


def test_nothing_else_of_the_profile_changes(trained, hardened, segmenter):
    screened, _ = trained
    plain = without_screen(screened)
    assert plain.binding == hardened.binding
    assert plain.statistics.keys() == hardened.statistics.keys()
    assert plain.threshold == hardened.threshold
    x = segmenter.prepare(street(HERE))
    with_it, without = (Defense(segmenter, profile)(x) for profile in (screened, hardened))
    assert torch.equal(with_it.labels, without.labels)
    assert torch.equal(with_it.analysis.score, without.analysis.score)


def test_it_can_be_trained_anew(trained, segmenter):
    screened, _ = trained
    again = with_screen(segmenter, screened, ("0",), FRAMES, HELD_OUT, 1, 0.2)
    assert again.screen.head.branch.layers == ("0",)
    assert again.screen.threshold.false_alarm_rate == 0.2
    assert [key for key in again.statistics if key.startswith("screen:")] == ["screen:0"]
    assert [note for note in again.notes if note.startswith("Screening")] == [again.notes[-1]]
    assert torch.equal(again.head.inner, screened.head.inner)


def test_a_profile_without_a_head_gets_none(segmenter, fitted):
    with pytest.raises(ZmaskError, match="no evidence head"):
        with_screen(segmenter, fitted, LAYERS, FRAMES, HELD_OUT, STEPS, 0.1)


def test_the_screening_sees_half_as_finely_and_no_energies(trained):
    screened, _ = trained
    assert coarser(screened).grid == tuple(-(-side // 2) for side in screened.grid)
    assert not screened.screen.head.textured
    assert screened.head.textured


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


# Streaming mode.


@pytest.fixture
def drive(screened, segmenter):
    return Drive(StreamingDefense(Defense(segmenter, screened)))


def blind(drive):
    """Nothing is suspicious to the screening any more: what an attacker who knows it would like best."""
    drive.streaming._look._screening._evidence.head.outer_bias.fill_(-50.0)


def whole(defended) -> bool:
    return defended.analysed[0]


def test_the_first_frame_is_analysed_and_the_next_ones_glanced_at(drive):
    assert whole(drive.see(street())[0])
    defended, passes = drive.see(street(index=4))
    assert passes == 1
    assert not whole(defended)
    assert "screening" in defended.stages_ms
    assert not defended.flagged[0]
    assert not defended.mask.any()
    assert defended.analysis.score[0] <= defended.thresholds.masking


def test_a_patch_is_found_in_the_frame_in_which_it_comes(drive):
    drive.see(street())
    defended, passes = drive.see(street(HERE))
    alone = drive.streaming.defense(drive.streaming.defense.segmenter.prepare(street(HERE)))
    assert passes == 2
    assert torch.equal(defended.labels, alone.labels)
    assert torch.equal(defended.mask, alone.mask)
    assert torch.equal(defended.analysis.score, alone.analysis.score)
    assert drive.state.track is not None


def test_a_known_patch_leaves_the_rest_to_a_glance_once_its_track_is_checked(drive):
    drive.see(street(HERE))
    checked = drive.see(street(HERE, index=4))[0]
    assert checked.tracked[0]
    assert whole(checked)
    defended, passes = drive.see(street(HERE, index=5))
    assert passes == 1
    assert defended.tracked[0]
    assert defended.flagged[0]
    assert not whole(defended)


def test_a_second_patch_is_seen_at_a_glance(drive):
    near, far = ELSEWHERE, (32, 48, 16)
    for index in (3, 4, 5):
        seen = drive.see(street(near, index=index))[0]
    assert not whole(seen)
    defended, passes = drive.see(street(near, far, index=4))
    assert passes == 2
    assert whole(defended)
    assert whole(drive.see(street(near, far, index=4))[0])


def test_whoever_evades_the_screening_is_found_at_the_next_keyframe(drive):
    blind(drive)
    drive.see(street())
    frames = 0
    while not drive.see(street(HERE))[0].flagged[0]:
        frames += 1
        assert frames * FRAME_NS < drive.streaming.keyframe_interval_s * 1e9
    assert frames > 0
    assert drive.see(street(HERE))[0].tracked[0]


def test_after_an_attack_a_glance_is_not_enough_for_a_while(drive):
    blind(drive)
    drive.see(street(HERE))
    gone = drive.see(street(index=4))[0]
    assert whole(gone)
    assert not gone.flagged[0]
    assert drive.see(street(HERE))[0].flagged[0], "came back within the alert"
    for _ in range(2 + round(ALERT_S * 1e9 / FRAME_NS)):
        last = drive.see(street(index=4))[0]
    assert not whole(last)


@pytest.mark.parametrize("raised", [False, True])
def test_a_patch_that_cannot_be_followed_is_masked_in_every_frame(drive, monkeypatch, raised):
    """Also one that only a precaution masks, since the alarm's threshold is high."""
    blind(drive)
    monkeypatch.setattr(drive.streaming.tracker, "learn", lambda *_: None)
    if raised:
        drive.streaming.defense.precaution, drive.streaming.defense.threshold = drive.streaming.defense.threshold, 1e6
    masked = [bool(drive.see(street(HERE, index=index))[0].mask.any()) for index in range(40)]
    assert all(masked)


def test_a_track_that_leaves_a_patch_out_does_not_hide_it(drive, monkeypatch):
    """A decoy whose track is learned without the patch beside it: the patch is masked all the same."""
    blind(drive)
    decoy, patch = ELSEWHERE, (32, 48, 16)
    learn = drive.streaming.tracker.learn

    def of_the_decoy(features, region, score, heat):
        alone = region.clone()
        alone[..., 3:, :] = False
        return learn(features, alone, score, heat)

    monkeypatch.setattr(drive.streaming.tracker, "learn", of_the_decoy)
    for index in range(40):
        defended, _ = drive.see(street(decoy, patch, index=index))
        assert covered(defended, patch) > 0.7, index


def test_whoever_has_a_frame_analysed_does_not_put_the_keyframe_off(drive):
    """A display shows something that alarms the screening alone, and the patch in between."""
    drive.see(street())
    screening = drive.streaming._look._screening
    interval_ns, flagged = drive.streaming.keyframe_interval_s * 1e9, []
    for index in range(40):
        alarming = index % 8 == 0
        screening._evidence.head.outer_bias.fill_(50.0 if alarming else -50.0)
        flagged.append(bool(drive.see(street() if alarming else street(HERE))[0].flagged[0]))
    assert flagged.index(True) <= interval_ns / FRAME_NS


@pytest.mark.parametrize("blinded", ["screening", "analysis"])
def test_what_is_not_a_number_is_not_calm(drive, blinded):
    drive.see(street())
    if blinded == "screening":
        drive.streaming._look._screening._evidence.head.outer_bias.fill_(math.nan)
        assert whole(drive.see(street())[0])
    else:
        drive.streaming.defense.analyser.fusion.register_forward_hook(lambda *_: torch.full((1, 1, 6, 8), math.nan))
        assert not drive.see(street(), round(drive.streaming.keyframe_interval_s * 1e9))[0].analysis.score.isfinite()
        assert drive.state.keyframe_ns == FRAME_NS, "a keyframe that says nothing is none"


def test_thresholds_that_are_lowered_lower_the_screenings(drive):
    drive.see(street())
    drive.streaming.defense.threshold = -1.0
    assert whole(drive.see(street())[0])


def test_cameras_of_a_batch_do_not_touch_each_other(screened, segmenter):
    streaming = StreamingDefense(Defense(segmenter, screened))
    images = [[street(), street(HERE)], [street(index=4), street(HERE, index=5)], [street(ELSEWHERE), street(index=6)]]
    apart, together = [Drive(streaming), Drive(streaming)], (StreamState(), StreamState())
    for index, pair in enumerate(images):
        alone = [drive.see(image)[0] for drive, image in zip(apart, pair, strict=True)]
        x = torch.cat([segmenter.prepare(image) for image in pair])
        both, together = streaming.step(x, together, [(index + 1) * FRAME_NS] * 2)
        for camera, one in enumerate(alone):
            assert torch.equal(both.labels[camera], one.labels[0])
            assert torch.equal(both.mask[camera], one.mask[0])
            assert both.flagged[camera] == one.flagged[0]
            assert both.tracked[camera] == one.tracked[0]
            assert both.analysed[camera] == one.analysed[0]
            assert torch.allclose(both.analysis.score[camera], one.analysis.score[0], atol=1e-5)


# What is remembered, without a network.


def incoming(state, stamp_ns, interval_s=0.5):
    return Incoming(state, stamp_ns, interval_s)


SEEN = StreamState(None, keyframe_ns=SECOND, last_ns=SECOND)
CALM = Judged(found=None, whole=False, flagged=False, lesson=None)
NOW = SECOND + FRAME_NS


@pytest.mark.parametrize(
    ("stamp_ns", "enough"),
    [
        (SECOND + FRAME_NS, True),
        (SECOND + SECOND // 2 - 1, True),
        (SECOND + SECOND // 2, False),
        (SECOND, False),
        (SECOND - FRAME_NS, False),
    ],
)
def test_a_glance_is_enough_until_a_keyframe_is_due_or_time_jumps(stamp_ns, enough):
    assert incoming(SEEN, stamp_ns).glance(None) == enough


def test_the_first_frame_of_a_camera_is_not_glanced_at():
    assert not incoming(StreamState(), FRAME_NS).glance(None)


def test_without_time_between_keyframes_there_are_no_glances():
    assert not incoming(SEEN, NOW, interval_s=0.0).glance(None)


def test_caution_ends_with_time_and_when_time_jumps_back():
    wary = dataclasses.replace(SEEN, wary_until_ns=2 * SECOND)
    assert not incoming(wary, NOW).glance(None)
    assert incoming(wary, NOW).after(CALM).wary_until_ns == 2 * SECOND
    late = dataclasses.replace(wary, last_ns=2 * SECOND - 1)
    assert incoming(late, 2 * SECOND, 10.0).glance(None)
    assert incoming(late, 2 * SECOND).after(CALM).wary_until_ns is None
    assert incoming(wary, SECOND - 1).after(CALM).wary_until_ns is None


def test_neither_a_glance_nor_what_it_asks_for_puts_the_keyframe_off():
    whole = dataclasses.replace(CALM, whole=True)
    assert incoming(SEEN, NOW).after(CALM) == StreamState(None, SECOND, NOW)
    assert incoming(SEEN, NOW).after(whole) == StreamState(None, SECOND, NOW)
    due = 2 * SECOND
    assert incoming(SEEN, due).after(whole) == StreamState(None, due, due)
    assert incoming(SEEN, due).after(CALM) == StreamState(None, SECOND, due), "it said nothing"


@pytest.mark.parametrize(("flagged", "for_s"), [(True, ALERT_S), (False, 0.5)])
def test_what_cannot_be_followed_is_watched_closely(flagged, for_s):
    after = incoming(SEEN, NOW).after(Judged(found=None, whole=True, flagged=flagged, lesson=Lesson(None)))
    assert after == StreamState(None, NOW, NOW, flagged, NOW + round(1e9 * for_s))


# The command.


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(60)))


@pytest.fixture(scope="module")
def stored(hardened, tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "hard.zmask.safetensors"
    save_profile(hardened, path)
    return path


def test_the_command_adds_a_screening(capsys, stored, segmenter, bag, tmp_path):
    output = tmp_path / "screened.zmask.safetensors"
    arguments = ("--clean", bag, "--rivals", 300, "--rate", 0.2, "--segmenter", segmenter.description.source)
    code, out, err = zmask(capsys, "screen", stored, *arguments, "-o", output, "--json")
    assert code == 0, err
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
    del description["screen"], description["head"]["textured"]
    monkeypatch.setattr(profile_file, "_describe", lambda profile: description)
    save_profile(hardened, path)
    old = load_profile(path)
    assert old.screen is None
    assert old.head.textured


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
