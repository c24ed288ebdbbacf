"""`zmask calibrate` and what it is made of, on the tiny network; bad input tried on each argument."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from support import tiny_network
from support.commands import record, refused, zmask
from support.profiles import with_changed
from zmask_ros.attacks import train_patch
from zmask_ros.cli import calibrate as calibrate_command
from zmask_ros.data.textures.benign import KINDS, benign_pictures
from zmask_ros.defense import Defense, load_profile, save_profile
from zmask_ros.defense.profile.detector import RateInterval
from zmask_ros.defense.profile.profile import PAPER
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.alarm import VoteRule
from zmask_ros.io.bags.reader import CameraBags, ReadReport
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training import graded_patches
from zmask_ros.training.clean_fit import ProfileFit, observe, observe_unpooled
from zmask_ros.training.division import divide
from zmask_ros.training.graded_patches import graded_recipes, train_graded_patches
from zmask_ros.training.plans import paper_plan
from zmask_ros.training.sources import CleanFrame, CleanSources, NamedPatch, read_patches, stride

EMPTY = np.empty((0, 0, 3), np.uint8)
YELLOW = np.full((16, 16, 3), (255, 255, 0), np.uint8)


def clean_frames(count, bag="clean"):
    return [CleanFrame(bag, "/image_raw", index, tiny_network.clean_image(index)) for index in range(count)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_network.describe(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def segmenter(tiny):
    return load_segmenter(str(tiny), "cpu")


@pytest.fixture(scope="module")
def profile(tiny):
    return tiny_network.fit(tiny)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(60)))


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    for name, blue in (("a", 0), ("b", 40), ("c", 80)):
        picture = YELLOW.copy()
        picture[..., 2] = blue
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
    return folder


def test_it_finds_patches_that_it_was_not_trained_on(capsys, tiny, segmenter, profile, drive, patches, tmp_path):
    output = tmp_path / "b.zmask.safetensors"
    arguments = ("--clean", drive, "--patches", patches, "--segmenter", tiny, "--vote", "2/3", "--layers", "auto")
    code, out, err = zmask(capsys, "calibrate", profile, *arguments, "-o", output, "--json")
    assert code == 0, err
    assert "about" in err
    result = json.loads(out)
    assert result["after"]["frame_auc"] >= result["before"]["frame_auc"] - 0.02
    assert result["after"]["frame_auc"] > 0.9
    assert result["after"]["gate_in_patches"] > result["after"]["gate_on_hottest"] + 0.05
    assert {report["layer"] for report in result["layer choice"]} == {"0", "1", "2", "3"}
    calibrated = load_profile(output)
    assert calibrated.vote == VoteRule(2, 3)
    assert (calibrated.detector.fusion[0::2] > 0).all()
    assert calibrated.detector.threshold.frames == 12
    assert calibrated.detector.precaution is not None
    assert (calibrated.detector.precaution.false_alarm_rate, calibrated.detector.precaution.frames) == (0.05, 12)
    assert calibrated.detector.precaution.value <= calibrated.detector.threshold.value
    interval = calibrated.detector.threshold.interval
    assert interval is not None and result["false-alarm interval"]["high"] == interval.high
    training, check = calibrated.notes[-2:]
    assert "a.png" in training and "c.png" in training and "b.png" not in training
    assert "b.png" in check and "a.png" not in check
    Defense(segmenter, calibrated)
    code, out, err = zmask(capsys, "inspect", output)
    assert code == 0, err
    assert "2 of 3" in out and "confidence" in out
    assert "no head" in out and "mask's edge from" in out
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--patches", "{patches}"), "Name clean frames"),
        (("--clean", "{drive}"), "--train-patches"),
        (("--clean", "{drive}", "--patches", "{empty}"), "no PNG files"),
        (("--clean", "{drive}", "--patches", "{patches}/a.png"), "too few"),
        (("--clean", "{drive}", "--patches", "{patches}/missing.png"), "no patch"),
        (("--clean", "{empty}/nowhere", "--patches", "{patches}"), "nowhere"),
        (("--clean", "{drive}", "--topic", "/front", "--patches", "{patches}"), "/camera/image_raw"),
        (("--camvid", "{empty}", "--patches", "{patches}"), "no CamVid images"),
        (("--clean", "{short}", "--patches", "{patches}"), "clean frames are too few"),
    ],
)
def test_bad_input(capsys, tiny, profile, drive, patches, tmp_path, arguments, says):
    short = record(tmp_path / "short.mcap", map(tiny_network.clean_image, range(12))) if "{short}" in arguments else ""
    (tmp_path / "empty").mkdir()
    places = {"patches": patches, "drive": drive, "empty": tmp_path / "empty", "short": short}
    named = [argument.format(**places) for argument in arguments]
    output = tmp_path / "b.zmask.safetensors"
    assert says in refused(capsys, "calibrate", profile, *named, "--segmenter", tiny, "-o", output)
    assert not output.exists()


def test_a_profile_of_another_network(capsys, profile, drive, patches, tmp_path):
    other, output = tiny_network.describe(tmp_path, seed=1), tmp_path / "b.zmask.safetensors"
    arguments = ("--clean", drive, "--patches", patches, "--segmenter", other, "-o", output)
    assert "network" in refused(capsys, "calibrate", profile, *arguments)
    assert "There is no profile" in refused(capsys, "calibrate", tmp_path / "no.safetensors", *arguments)
    assert "does not exist" in refused(capsys, "calibrate", profile, *arguments[:-1], tmp_path / "no" / "b.safetensors")


def test_only_the_patches_of_an_attacks_folder_are_learned_from(capsys, tiny, profile, drive, tmp_path):
    frames, folder = tmp_path / "frames", tmp_path / "patches"
    frames.mkdir()
    folder.mkdir()
    cv2.imwrite(str(frames / "a.png"), tiny_network.clean_image(1))
    attack = ("--segmenter", tiny, "--images", frames, "--steps", "2", "--size", "8x8", "--patches", "2")
    assert zmask(capsys, "attack", *attack, "-o", folder / "a.png")[0] == 0
    cv2.imwrite(str(folder / "own.png"), YELLOW)
    assert {path.name for path in folder.glob("*.png")} == {"a.png", "a_2.png", "a_curves.png", "own.png"}
    assert [patch.name for patch in read_patches([folder])] == ["a.png", "a_2.png", "own.png"]


def test_a_recording_is_not_replaced_by_a_profile(capsys, tiny, profile, drive, patches):
    before = drive.read_bytes()
    assert ".safetensors" in refused(capsys, "fit", drive, "--segmenter", tiny, "-o", drive)
    arguments = ("--clean", drive, "--patches", patches, "--segmenter", tiny)
    assert ".safetensors" in refused(capsys, "calibrate", profile, *arguments, "-o", drive)
    assert drive.read_bytes() == before


@pytest.mark.parametrize("vote", ["3/2", "0/1", "two", "1/2/3"])
def test_a_vote_that_is_none(capsys, profile, drive, vote, tmp_path):
    arguments = ("--clean", drive, "-o", tmp_path / "b.safetensors", "--vote", vote)
    code, _, err = zmask(capsys, "calibrate", profile, *arguments)
    assert code == 2
    assert "K/N" in err


def test_training_and_held_out_part_share_nothing(segmenter):
    frames = clean_frames(60)
    material = divide(frames, [NamedPatch(str(index), YELLOW) for index in range(7)])
    first, second = material.training, material.held_out
    assert (len(first.frames), len(second.frames)) == (48, 12)
    assert not any(np.array_equal(a, b) for a in first.frames for b in second.frames)
    names = [{patch.name for patch in part.patches} for part in (first, second)]
    assert names[0] | names[1] == set("0123456") and names[0] & names[1] == set()
    assert len(names[1]) == 2
    assert first.seed != second.seed
    with pytest.raises(ZmaskError, match="1 patches are too few"):
        divide(frames, [NamedPatch("alone", YELLOW)])


def test_every_fifth_frame_of_each_source_is_held_out(segmenter):
    frames = [*clean_frames(33, "a"), *clean_frames(33, "b")]
    material = divide(frames, [NamedPatch(str(index), YELLOW) for index in range(3)])
    expected = [frame.image for frame in frames if frame.index % 5 == 4]
    assert len(material.held_out.frames) == 12
    assert all(np.array_equal(a, b) for a, b in zip(material.held_out.frames, expected, strict=True))


@pytest.mark.parametrize(("every", "frames"), [(1, 100), (2, 100), (2, 20), (1, 24)])
def test_a_frame_is_held_out_where_fit_holds_it_out(drive, tmp_path, every, frames):
    other = record(tmp_path / "other.mcap", map(tiny_network.clean_image, range(100, 163)))
    bags = (drive, other)
    with CameraBags(bags, None, every) as camera:
        fitted = {(f.bag, f.index): _clean_frame(f, every) for f in camera.frames(ReadReport())}
    read = {(f.bag, f.index): f for f in fitted.values()}
    taken = list(CleanSources(None, bags, None, every, frames))
    assert min(frames, len(fitted)) <= len(taken) <= len(fitted)
    assert all(np.array_equal(frame.image, read[frame.bag, frame.index].image) for frame in taken)
    assert len(taken) / 7 < sum(frame.held_out for frame in taken) < len(taken) / 4


def _clean_frame(frame, every):
    return CleanFrame(str(frame.bag), frame.topic, frame.index // every, frame.image)


def test_no_stride_misses_the_frames_that_are_held_out():
    for total in range(50, 3000, 7):
        taken = range(0, total, stride(total, 50))
        assert len(taken) >= 50
        assert sum(CleanFrame("", "", index, EMPTY).held_out for index in taken) >= 9


def test_too_few_of_anything_are_refused_before_it_takes_long(capsys, tiny, profile, drive, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate_command, "calibrate", None)
    short = record(tmp_path / "short.mcap", map(tiny_network.clean_image, range(12)))
    arguments = ("--segmenter", tiny, "-o", tmp_path / "b.safetensors")
    assert "frames are too few" in refused(
        capsys, "calibrate", profile, "--clean", short, "--train-patches", 2, *arguments
    )
    monkeypatch.setattr(calibrate_command, "read_frames", None)
    assert "1 patches are too few" in refused(
        capsys, "calibrate", profile, "--clean", drive, "--train-patches", 1, *arguments
    )
    enough = ("--clean", drive, "--train-patches", 2)
    said = refused(capsys, "calibrate", profile, *enough, "--rivals", 160, *arguments)
    assert "160 steps are too few" in said and "300" in said


def test_profiles_that_cannot_be_merged_are_refused_before_bags_are_read(
    capsys, tiny, profile, drive, tmp_path, monkeypatch
):
    monkeypatch.setattr(ProfileFit, "add", None)
    arguments = ("fit", drive, "--segmenter", tiny, "--merge", profile, "-o", tmp_path / "b.safetensors")
    assert "cannot be merged" in refused(capsys, *arguments, "--variant", "paper")
    finer = with_changed(load_profile(profile), grid_fraction=4)
    save_profile(finer, tmp_path / "finer.safetensors")
    assert "cannot be merged" in refused(capsys, *arguments, "--merge", tmp_path / "finer.safetensors")


def test_graded_patches_get_weaker_and_differ_in_size():
    recipes = graded_recipes(5, 30, (360, 480))
    assert [recipe.beta for recipe in recipes] == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5])
    assert len({recipe.size for recipe in recipes}) == 4
    assert len({recipe.seed for recipe in recipes}) == 5
    assert all(min(recipe.size) >= 8 for recipe in graded_recipes(4, 30, (16, 24)))


def test_patches_are_trained_on_frames_that_are_not_held_out(segmenter, profile, monkeypatch):
    known = []
    monkeypatch.setattr(graded_patches, "train_patch", lambda *a: known.append(len(a[1])) or train_patch(*a))
    patches = train_graded_patches(segmenter, load_profile(profile), clean_frames(20), 2, 2)
    assert known == [16, 16]
    assert [patch.picture.dtype for patch in patches] == [np.uint8, np.uint8]
    assert "beta 1" in patches[0].name and "beta 0.5" in patches[1].name
    assert not np.array_equal(patches[0].picture, patches[1].picture)


def test_harmless_pictures_are_of_every_kind_and_follow_from_the_seed():
    images = [tiny_network.clean_image(index) for index in range(3)]
    first, again, other = (benign_pictures(2 * len(KINDS), (24, 40), images, seed) for seed in (1, 1, 2))
    assert all(picture.shape == (24, 40, 3) and picture.dtype == np.uint8 for picture in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first[: len(KINDS)], first[len(KINDS) :], strict=True))


def test_the_papers_plan_has_its_kernels_one_sigma_and_no_growth(segmenter):
    plan = paper_plan(segmenter)
    fit = ProfileFit(segmenter, plan)
    fit.add_all(CleanFrame("clean", "/image_raw", index, tiny_network.clean_image(index)) for index in range(40))
    profile = fit.finish(0.01)
    assert profile.variant == PAPER
    assert [len(profile.detector.shallow.kernels), len(profile.detector.deep.kernels)] == [4, 2]
    assert profile.detector.deep.kernels == profile.detector.shallow.kernels[:2]
    assert set(profile.detector.shallow.layers) < set(profile.detector.deep.layers)
    for statistics in profile.detector.statistics.values():
        assert (statistics.moments.std == statistics.moments.std[0]).all()
    defense = Defense(segmenter, profile)
    image = tiny_network.clean_image(3)
    image[16:32, 24:40] = (255, 255, 0)
    _, analysis = defense.analyze(segmenter.prepare(image))
    torch.testing.assert_close(defense.analyzer.region(analysis) > 0.5, analysis.mask > 0.5)


def test_fit_and_calibrate_keep_the_variant(capsys, tiny, drive, patches, tmp_path):
    fitted, calibrated = tmp_path / "a.zmask.safetensors", tmp_path / "b.zmask.safetensors"
    assert zmask(capsys, "fit", drive, "--segmenter", tiny, "--variant", "paper", "-o", fitted)[0] == 0
    arguments = ("--clean", drive, "--patches", patches, "--segmenter", tiny)
    assert "paper" in refused(capsys, "calibrate", fitted, *arguments, "--layers", "auto", "-o", calibrated)
    ours = tmp_path / "ours.zmask.safetensors"
    assert zmask(capsys, "fit", drive, "--segmenter", tiny, "-o", ours)[0] == 0
    refused(capsys, "fit", "--merge", fitted, "--merge", ours, "-o", calibrated)
    before = load_profile(fitted)
    assert (before.variant, load_profile(ours).variant) == ("paper", "ours")


def test_one_sigma_is_that_of_the_activations():
    activation = torch.randn(1, 5, 12, 16, generator=torch.Generator().manual_seed(0))
    kernels, grid = ((5, 5), (3, 3)), (12, 16)
    own, shared = observe(activation, kernels, grid), observe_unpooled(activation, kernels, grid)
    assert shared.mean.shape == own.mean.shape
    for row in shared.std:
        torch.testing.assert_close(row, own.std[0])
    assert (own.std[1] < 0.8 * own.std[0]).all()


def test_profiles_from_before_votes_and_intervals_load(profile, tmp_path, monkeypatch):
    from zmask_ros.defense.profile import storage as profile_file

    now = load_profile(profile)
    describe = profile_file._describe

    def as_it_was(described):
        entries = describe(described)
        del entries["vote"], entries["variant"], entries["precaution"], entries["threshold"]["interval"]
        return entries

    monkeypatch.setattr(profile_file, "_describe", as_it_was)
    old = tmp_path / "old.zmask.safetensors"
    save_profile(now, old)
    loaded = load_profile(old)
    assert (loaded.variant, loaded.vote, loaded.detector.threshold.interval) == ("ours", VoteRule(1, 1), None)
    assert loaded.detector.threshold.value == now.detector.threshold.value


def test_interval_variant_vote_and_precaution_come_back_as_they_were_saved(profile, tmp_path):
    interval = RateInterval(0.001, 0.02, 0.95, 1, 120)
    saved = load_profile(profile)
    threshold = dataclasses.replace(saved.detector.threshold, interval=interval)
    precaution = dataclasses.replace(threshold, value=threshold.value / 2, false_alarm_rate=0.05)
    saved = dataclasses.replace(saved, vote=VoteRule(3, 5), variant=PAPER)
    saved = with_changed(saved, threshold=threshold, precaution=precaution)
    path = tmp_path / "a.zmask.safetensors"
    save_profile(saved, path)
    again = load_profile(path)
    assert (again.detector.threshold.interval, again.vote, again.variant) == (interval, VoteRule(3, 5), PAPER)
    assert again.detector.precaution == precaution
