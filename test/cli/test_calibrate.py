"""`zmask calibrate` on the tiny network; bad input tried on each argument."""

import json

import cv2
import numpy as np
import pytest
import torch

from support import tiny_network
from support.commands import record, refused, zmask
from support.interruption import interrupt_training
from support.profiles import with_changed
from zmask_ros.cli import calibrate as calibrate_command
from zmask_ros.defense import Defense, load_profile, save_profile
from zmask_ros.flags.alarm import VoteRule
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.sources import read_patches

EMPTY = np.empty((0, 0, 3), np.uint8)
YELLOW = np.full((16, 16, 3), (255, 255, 0), np.uint8)


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


def test_an_interrupted_training_of_the_head_goes_on(capsys, tiny, profile, drive, patches, tmp_path, monkeypatch):
    output = tmp_path / "b.zmask.safetensors"
    arguments = ("--clean", drive, "--patches", patches, "--segmenter", tiny, "-o", output)
    interrupt_training(monkeypatch, after=50)
    code, _, err = zmask(capsys, "calibrate", profile, *arguments, "--rivals", 300)
    kept = tmp_path / f"{output.name}.training.pt"
    assert code == 130 and "the same command goes on" in err and kept.exists() and not output.exists()
    # It is refused before patches are trained for an hour.
    other = (*arguments, "--rivals", 310, "--train-patches", 1, "--patch-steps", 10**9)
    assert "another set of settings" in refused(capsys, "calibrate", profile, *other)
    # Of 50 steps 40 are kept, and 50 more end after 90.
    assert torch.load(kept, weights_only=True)["state"]["steps"] == 40
    interrupt_training(monkeypatch, after=50)
    code, _, _ = zmask(capsys, "calibrate", profile, *arguments, "--rivals", 300)
    assert code == 130 and torch.load(kept, weights_only=True)["state"]["steps"] == 80


def test_it_finds_patches_that_it_was_not_trained_on(capsys, tiny, segmenter, profile, drive, patches, tmp_path):
    output = tmp_path / "b.zmask.safetensors"
    arguments = ("--clean", drive, "--patches", patches, "--segmenter", tiny, "--vote", "2/3", "--layers", "auto")
    unfinished = tmp_path / f"{output.name}.training.pt"
    unfinished.write_bytes(b"a training of a head that was interrupted")
    code, out, err = zmask(capsys, "calibrate", profile, *arguments, "-o", output, "--json")
    assert code == 0, err
    assert unfinished.read_bytes() == b"a training of a head that was interrupted", "there is no head to train"
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
    assert {path.name for path in tmp_path.iterdir()} == {output.name, unfinished.name}


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


def test_too_few_of_anything_are_refused_before_it_takes_long(capsys, tiny, profile, drive, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate_command, "calibrate", None)
    short = record(tmp_path / "short.mcap", map(tiny_network.clean_image, range(12)))
    arguments = ("--segmenter", tiny, "-o", tmp_path / "b.safetensors")
    assert "frames are too few" in refused(
        capsys, "calibrate", profile, "--clean", short, "--train-patches", 2, *arguments
    )
    monkeypatch.setattr(calibrate_command, "read_clean", None)
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
