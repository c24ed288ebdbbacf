"""The commands as a user calls them, and bad input tried on each: exit code 2, one sentence, nothing half-written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rosbags.highlevel import AnyReader

from support import bag_makers, tiny_network
from support.commands import TOPIC, record, record_twelve_bits, refused, zmask
from support.patched_street import attacked_image
from support.tiny_network import describe_with
from support.videos import filmed
from zmask_ros.cli import console
from zmask_ros.defense import load_profile
from zmask_ros.io.bags.camera_info import camera_info_fields
from zmask_ros.io.bags.reader import CameraBags, ReadReport, image_topics
from zmask_ros.io.bags.writer import BagWriter
from zmask_ros.io.images.remarks import NEARLY_BLACK
from zmask_ros.io.stamps import stamp_ns
from zmask_ros.resources import shipped_profile


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """The description of the tiny network."""
    return tiny_network.describe(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(40)))


@pytest.fixture(scope="module")
def profile(tiny) -> Path:
    return tiny_network.fit(tiny)


def test_fit_writes_a_profile_and_says_what_is_in_it(capsys, drive, tiny, tmp_path):
    output = tmp_path / "a.zmask.safetensors"
    code, out, _ = zmask(capsys, "fit", drive, "--segmenter", tiny, "-o", output, "--json", "--false-alarm-rate", 0.01)
    assert code == 0
    summary = json.loads(out)
    assert (summary["clean frames"], summary["held-out frames"]) == (32, 8)
    assert load_profile(output).detector.threshold.value == pytest.approx(summary["threshold"], abs=1e-6)
    code, out, _ = zmask(capsys, "inspect", output)
    assert code == 0
    assert "shallow:0" in out


def test_a_patch_is_tried_unless_nobody_wants_that(capsys, drive, tiny, tmp_path):
    told = []
    for number, arguments in enumerate(((), ("--no-trial",))):
        output = tmp_path / f"{number}.zmask.safetensors"
        code, out, err = zmask(capsys, "fit", drive, "--segmenter", tiny, "-o", output, "--json", *arguments)
        assert code == 0 and ("patches would pass" in err) == (not arguments), err
        told.append(json.loads(out).get("frames with a patch score"))
        assert load_profile(output).detector.patched == pytest.approx(told[-1], abs=1e-6)
    assert told[0] is not None and told[1] is None


def test_fitting_two_bags_is_merging_two_profiles(capsys, drive, tiny, tmp_path):
    other = record(tmp_path / "other.mcap", map(tiny_network.clean_image, range(60, 95)))
    paths = [tmp_path / f"{name}.zmask.safetensors" for name in ("a", "b", "merged", "both")]
    for bags, path in (([drive], paths[0]), ([other], paths[1]), ([drive, other], paths[3])):
        assert zmask(capsys, "fit", *bags, "--segmenter", tiny, "-o", path)[0] == 0
    assert zmask(capsys, "fit", "--merge", paths[0], "--merge", paths[1], "-o", paths[2])[0] == 0
    merged, both = load_profile(paths[2]), load_profile(paths[3])
    for key, statistics in both.detector.statistics.items():
        other = merged.detector.statistics[key]
        if key.startswith("descriptors:"):
            # They were measured by each profile's own statistics: the merged ones are near, not equal.
            assert ((other.mean - statistics.mean).abs() < 0.5 * statistics.moments.std[0]).all()
            continue
        np.testing.assert_allclose(other.deviations, statistics.deviations, rtol=1e-9)
        np.testing.assert_allclose(other.mean, statistics.mean, rtol=1e-9, atol=1e-12)


def test_replay_publishes_what_the_node_does_with_the_same_stamps(capsys, tiny, profile, tmp_path):
    images = [tiny_network.clean_image(100), attacked_image(), tiny_network.clean_image(101)]
    drive = record(tmp_path / "drive.mcap", images)
    output, video = tmp_path / "out.mcap", tmp_path / "out.mp4"
    code, out, err = zmask(
        capsys, "replay", drive, "--segmenter", tiny, "--profile", profile, "-o", output, "--video", video, "--json"
    )
    assert code == 0, err
    summary = json.loads(out)
    assert [summary[name] for name in ("frames", "flagged", "masked", "unknown")] == [3, 1, 1, 0]
    assert video.stat().st_size > 1000
    names = {topic.name for topic in image_topics(output)}
    expected = {"segmentation", "segmentation_color", "mask", "overlay", "heat", "undefended"}
    assert names == {TOPIC} | {f"/camera/zmask/{name}" for name in expected}
    report = ReadReport()
    with CameraBags(output, "/camera/zmask/mask") as masks, CameraBags(drive) as inputs:
        for mask, given in zip(masks.frames(report), inputs.frames(report), strict=True):
            assert (mask.stamp_ns, mask.frame_id) == (given.stamp_ns, given.frame_id)
            assert mask.image.any() == (mask.index == 1)


def test_replay_flags_broken_images_as_unknown(capsys, tiny, profile, tmp_path):
    drive = tmp_path / "drive.mcap"
    with BagWriter(drive) as bag:
        bag.write_image(TOPIC, tiny_network.clean_image(100), "rgb8", 1, "camera")
    broken = tmp_path / "broken.mcap"
    with CameraBags(drive) as source, BagWriter(broken) as bag:
        for message in source.messages(ReadReport()):
            for changes in ({"encoding": "rgb9"}, {"step": 7}, {"height": 0}, {"height": 480}, {}):
                image = message.message
                before = {name: getattr(image, name) for name in changes}
                for name, value in changes.items():
                    object.__setattr__(image, name, value)
                bag.write_message(TOPIC, message.msgtype, image, message.received_ns)
                for name, value in before.items():
                    object.__setattr__(image, name, value)
    code, out, err = zmask(capsys, "replay", broken, "--segmenter", tiny, "--profile", profile, "--json")
    assert code == 0, err
    assert json.loads(out)["unknown"] == 4
    assert json.loads(out)["frames"] == 5
    assert "rgb9" in err


def test_a_bag_that_is_not_there(capsys, tmp_path):
    assert "nowhere" in refused(capsys, "fit", tmp_path / "nowhere", "-o", tmp_path / "a.zmask.safetensors")


def test_replay_says_what_a_verdict_is_worth_on_black_frames(capsys, tiny, profile, tmp_path):
    images = [tiny_network.clean_image(100), *[np.zeros((48, 64, 3), np.uint8)] * 2]
    drive = record(tmp_path / "drive.mcap", images)
    code, out, err = zmask(capsys, "replay", drive, "--segmenter", tiny, "--profile", profile, "--json")
    assert code == 0, err
    assert json.loads(out)["remarks"] == {NEARLY_BLACK: 2}
    assert "2 frames have a verdict with a remark" in err


def test_replay_and_fit_read_a_camera_of_twelve_bits_as_they_are_told(capsys, tiny, profile, tmp_path):
    drive = record_twelve_bits(tmp_path / "drive.mcap", map(tiny_network.clean_image, range(40)))
    eight = record(tmp_path / "eight.mcap", map(tiny_network.clean_image, range(40)))
    command = ("replay", "--segmenter", tiny, "--profile", profile, "--json")
    code, _out, err = zmask(capsys, *command, drive)
    assert (code, "set significant_bits to 12" in err) == (0, True), err
    told, plain = (
        json.loads(zmask(capsys, *command, *more)[1]) for more in ((drive, "--significant-bits", 12), (eight,))
    )
    assert (told["remarks"], told["score_p99"]) == ({}, plain["score_p99"])
    fitted = [tmp_path / f"{name}.zmask.safetensors" for name in ("told", "plain", "open")]
    assert zmask(capsys, "fit", drive, "--significant-bits", 12, "--segmenter", tiny, "-o", fitted[0])[0] == 0
    assert zmask(capsys, "fit", eight, "--segmenter", tiny, "-o", fitted[1])[0] == 0
    assert load_profile(fitted[0]).detector.threshold.value == load_profile(fitted[1]).detector.threshold.value
    code, _, err = zmask(capsys, "fit", drive, "--segmenter", tiny, "-o", fitted[2])
    assert "40 images were taken with a remark" in err
    assert "auto or a number of bits" in refused(capsys, "replay", drive, "--significant-bits", 17)


def test_a_wrong_topic_lists_those_there_are(capsys, drive, tmp_path):
    sentence = refused(capsys, "fit", drive, "--topic", "/front/image", "-o", tmp_path / "a.zmask.safetensors")
    assert TOPIC in sentence


def test_an_empty_bag(capsys, tmp_path):
    empty = record(tmp_path / "empty.mcap", [])
    refused(capsys, "fit", empty, "-o", tmp_path / "a.zmask.safetensors")


def test_a_truncated_bag_is_fitted_as_far_as_it_goes_and_says_so(capsys, tiny, tmp_path):
    # Large enough for many chunks: the one that was cut is lost.
    drive = record(tmp_path / "whole.mcap", (tiny_network.clean_image(i, 240, 320) for i in range(40)))
    cut = tmp_path / "cut.mcap"
    content = drive.read_bytes()
    cut.write_bytes(content[: int(0.8 * len(content))])
    output = tmp_path / "a.zmask.safetensors"
    code, out, err = zmask(capsys, "fit", cut, "--segmenter", tiny, "-o", output, "--json")
    assert code == 0, err
    assert "Warning" in err and "cut.mcap" in err
    assert 20 <= json.loads(out)["clean frames"] < 32


def test_a_read_only_folder(capsys, drive, tiny, tmp_path):
    place = Path("/proc/a.zmask.safetensors")
    assert "read-only" in refused(capsys, "fit", drive, "--segmenter", tiny, "-o", place)
    assert "does not exist" in refused(capsys, "fit", drive, "-o", tmp_path / "missing" / "a.zmask.safetensors")
    refused(capsys, "replay", drive, "--segmenter", tiny, "--video", "/proc/a.mp4")


def test_a_black_drive(capsys, tiny, tmp_path):
    black = record(tmp_path / "black.mcap", [np.zeros((48, 64, 3), np.uint8)] * 40)
    output = tmp_path / "a.zmask.safetensors"
    assert "camera covered" in refused(capsys, "fit", black, "--segmenter", tiny, "-o", output)
    assert not output.exists()


def test_a_profile_of_another_network(capsys, drive, profile, tmp_path):
    other = tiny_network.describe(tmp_path, seed=1)
    sentence = refused(capsys, "replay", drive, "--segmenter", other, "--profile", profile)
    assert "network" in sentence


def test_the_network_of_a_profile_need_not_be_named_if_it_is_shipped(capsys, drive, tiny, profile):
    for arguments in (("replay", drive), ("inspect", drive)):
        sentence = refused(capsys, *arguments, "--profile", profile)
        assert f"belongs to the network '{tiny.stem}', which does not come with this package" in sentence
        assert "--segmenter" in sentence
    code, _, _ = zmask(capsys, "replay", drive, "--profile", shipped_profile("unet_camvid"), "--every", 20, "--json")
    assert code == 0


def test_pictures_that_zmask_has_written_beside_a_cameras_are_passed_over(capsys, drive, tiny, profile, tmp_path):
    output = tmp_path / "replayed.mcap"
    assert zmask(capsys, "replay", drive, "--segmenter", tiny, "--profile", profile, "-o", output)[0] == 0
    again = ("replay", output, "--segmenter", tiny, "--profile", profile, "--json")
    code, out, _ = zmask(capsys, *again)
    assert code == 0 and json.loads(out)["frames"] == 40


def test_who_fits_few_frames_is_told_what_they_are_too_few_for(capsys, drive, tiny, tmp_path):
    output = tmp_path / "a.zmask.safetensors"
    code, _, err = zmask(capsys, "fit", drive, "--segmenter", tiny, "-o", output)
    assert code == 0, err
    assert "takes 5 stretches of 10 frames" in " ".join(err.split())
    code, _, err = zmask(capsys, "replay", drive, "--segmenter", tiny, "--profile", output)
    assert "whether the profile fits is unknown: the profile does not say" in " ".join(err.split())


def test_a_missing_layer(capsys, drive, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(tiny_network.DESCRIPTION.format(seed=0).replace('deep: ["2"]', 'deep: ["22"]'))
    sentence = refused(capsys, "fit", drive, "--segmenter", path, "-o", tmp_path / "a.zmask.safetensors")
    assert "no layer '22'" in sentence


def test_an_input_size_that_the_network_fails_on(capsys, drive, profile, tmp_path):
    unet = describe_with(tmp_path, builder="support.odd_networks:UNet", arguments="", input_size="[360, 480]")
    for arguments in (
        ("segmenters", unet),
        ("fit", drive, "--segmenter", unet, "-o", tmp_path / "a.zmask.safetensors"),
        ("replay", drive, "--segmenter", unet, "--profile", profile),
    ):
        assert f"entry input_size of {unet} (height, width) to [352, 480] or [384, 480]." in refused(capsys, *arguments)


@pytest.mark.parametrize("variant", ["ours", "paper"])
def test_a_description_without_layers_is_nothing_to_fit(capsys, drive, tmp_path, variant):
    description = tiny_network.describe(tmp_path)
    description.write_text(description.read_text().replace('deep: ["2"]', "deep: []"))
    arguments = ("--segmenter", description, "--variant", variant, "-o", tmp_path / "a.safetensors")
    assert "no layers in 'deep'" in refused(capsys, "fit", drive, *arguments)


def test_nothing_to_fit(capsys, tmp_path):
    refused(capsys, "fit", "-o", tmp_path / "a.zmask.safetensors")


def test_a_file_that_is_there_is_not_overwritten(capsys, drive, tiny, profile, tmp_path):
    existing = record(tmp_path / "out.mcap", [tiny_network.clean_image(0)])
    before = existing.read_bytes()
    refused(capsys, "replay", drive, "--segmenter", tiny, "--profile", profile, "-o", existing)
    assert existing.read_bytes() == before


def test_ctrl_c_leaves_nothing_behind(drive, tiny, tmp_path):
    """A real process and a real signal: it comes when the bar has begun to move."""
    long_drive = record(tmp_path / "long.mcap", (tiny_network.clean_image(i % 50, 720, 960) for i in range(400)))
    output = tmp_path / "a.zmask.safetensors"
    script = (
        "import os, signal, zmask_ros.training.clean_fit as f\n"
        # A shell's background process ignores the signal.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "add = f.ProfileFit.add\n"
        "def once(self, frame):\n"
        "    add(self, frame)\n"
        "    if frame.index == 30: os.kill(os.getpid(), signal.SIGINT)\n"
        "f.ProfileFit.add = once\n"
        "from zmask_ros.cli.main import main\n"
        "main()\n"
    )
    arguments = ["fit", str(long_drive), "--segmenter", str(tiny), "-o", str(output)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH")))))
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 130, done.stderr
    assert "Interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.mcap"]


def replay(capsys, tiny: Path, profile: Path, drive: Path, *arguments: object) -> None:
    code, _, err = zmask(capsys, "replay", drive, "--segmenter", tiny, "--profile", profile, *arguments)
    assert code == 0, err


@pytest.mark.parametrize("ros", [1, 2])
def test_replay_hands_the_camera_info_on(capsys, tiny, profile, tmp_path, ros):
    if ros == 1:
        drive = bag_makers.write_rosbag1(tmp_path / "drive.bag", 2, None, bag_makers.STEREO)
    else:
        drive = tmp_path / "drive"
        with BagWriter(drive) as bag:
            for index in range(2):
                stamp = bag_makers.stamp_ns(index)
                bag.write_image(bag_makers.TOPIC, bag_makers.picture(index), "rgb8", stamp, "front")
                bag.write_camera_info(bag_makers.CAMERA_INFO_TOPIC, bag_makers.STEREO, stamp, "front")
    replay(capsys, tiny, profile, drive, "-o", tmp_path / "out")
    with AnyReader([tmp_path / "out"]) as reader:
        chosen = [connection for connection in reader.connections if connection.topic == "/front/zmask/camera_info"]
        infos = [reader.deserialize(data, one.msgtype) for one, _, data in reader.messages(chosen)]
    assert [stamp_ns(info.header) for info in infos] == [bag_makers.stamp_ns(index) for index in range(2)]
    assert [camera_info_fields(info) for info in infos] == [bag_makers.STEREO] * 2


def test_replay_does_not_replace_what_it_reads(capsys, tiny, profile, tmp_path):
    file = record(tmp_path / "drive.mcap", [tiny_network.clean_image(0)])
    folder = record(tmp_path / "drive", [tiny_network.clean_image(0)])
    (tmp_path / "link.mcap").symlink_to(file)
    inside = folder / "drive.mcap"
    for source, output in ((file, file), (tmp_path / "link.mcap", file), (folder, inside), (inside, folder)):
        arguments = ("--segmenter", tiny, "--profile", profile, "-o", output, "--force")
        assert "is the bag that is read" in refused(capsys, "replay", source, *arguments)
    assert CameraBags(file).total == CameraBags(folder).total == 1


def test_the_video_has_the_rate_of_the_drive(capsys, tiny, profile, tmp_path):
    drive = bag_makers.write_drive(tmp_path / "drive", 6)
    replay(capsys, tiny, profile, drive, "--video", tmp_path / "all.mp4")
    replay(capsys, tiny, profile, drive, "--video", tmp_path / "half.mp4", "--every", 2)
    assert filmed(tmp_path / "all.mp4") == (6, 10.0)
    assert filmed(tmp_path / "half.mp4") == (3, 5.0)


def test_what_looks_like_markup_is_printed_as_it_is(capsys, monkeypatch):
    monkeypatch.setattr(console, "stdout", Console(file=sys.stdout, width=200))
    # A bar is drawn on terminals only.
    monkeypatch.setattr(console, "stderr", Console(file=sys.stderr, width=200, force_terminal=True))
    text = "[/camera/a] broken [bold]"
    console.warn(text)
    console.print_table(text, {text: text})
    with console.progress(text, "frames", 1) as advance:
        advance(note=text)
    out, err = capsys.readouterr()
    assert out.count(text) == 3
    assert err.count(text) >= 3


def test_inspect_prints_names_that_look_like_markup(capsys, tmp_path):
    bag = record(tmp_path / "[/red]drive", [tiny_network.clean_image(0)])
    code, out, err = zmask(capsys, "inspect", bag)
    assert code == 0, err
    assert "[/red]drive" in out.replace("\n", "")


@pytest.mark.parametrize("command", ["fit", "replay"])
def test_a_bag_of_which_no_frame_can_be_read_ends_a_command(capsys, tiny, profile, tmp_path, command):
    bag = bag_makers.write_raw(tmp_path / "drive", [bag_makers.image_bytes(0)[:-9]] * 3)
    output = tmp_path / ("a.zmask.safetensors" if command == "fit" else "out.mcap")
    settings = () if command == "fit" else ("--profile", profile)
    code, _, err = zmask(capsys, command, bag, "--segmenter", tiny, *settings, "-o", output)
    assert code == 2
    assert "Not one frame of /front/image_raw could be read of" in err and "3 messages cannot be read" in err
    assert not output.exists()


@pytest.mark.parametrize("command", ["fit", "replay", "inspect"])
def test_a_bag_of_which_no_frame_can_be_decoded_ends_a_command(capsys, tiny, profile, tmp_path, command):
    bag = bag_makers.write_raw(tmp_path / "drive", [bag_makers.image_bytes(0, encoding="rgb9")] * 3)
    output = tmp_path / ("a.zmask.safetensors" if command == "fit" else "out.mcap")
    network = ("--segmenter", tiny, "-o", output)
    arguments = {"fit": network, "replay": (*network, "--profile", profile), "inspect": ()}[command]
    code, _, err = zmask(capsys, command, bag, *arguments)
    assert code == 2
    assert "Not one" in err and "rgb9" in err and "/front/image_raw" in err
    assert not output.exists()


def test_inspect_warns_of_a_camera_of_which_no_frame_can_be_decoded_beside_one_that_can(capsys, tmp_path):
    with BagWriter(tmp_path / "drive") as bag:
        bag.write_image("/rear/image_raw", tiny_network.clean_image(0), "rgb8", 1, "rear")
        bag.write_serialized(TOPIC, bag_makers.IMAGE, bag_makers.image_bytes(0, encoding="rgb9"), 1)
    code, _, err = zmask(capsys, "inspect", tmp_path / "drive")
    assert code == 0
    assert f"Not one frame of {TOPIC}" in err and "rear" not in err.partition("In it")[0]


def test_a_command_that_takes_frames_of_a_cut_bag_says_so(capsys, tiny, tmp_path):
    bag = bag_makers.write_drive(tmp_path / "drive.mcap", 240)
    bag.write_bytes(bag.read_bytes()[: bag.stat().st_size * 3 // 4])
    settings = ("--size", "16x16", "--steps", 1, "--batch", 1, "--frames", 2)
    code, _, err = zmask(capsys, "attack", "--bag", bag, "--segmenter", tiny, *settings, "-o", tmp_path / "patch.png")
    assert code == 0, err
    assert f"Warning: {bag}: it is cut off or damaged" in err


def test_inspect_tells_of_pictures_that_cannot_be_read(capsys, tmp_path):
    bag = bag_makers.write_raw(tmp_path / "drive", [b""], "stereo_msgs/msg/DisparityImage", "/stereo/disparity")
    code, out, err = zmask(capsys, "inspect", bag)
    assert code == 0
    assert "/stereo/disparity" in out
    assert "/stereo/disparity carries stereo_msgs/msg/DisparityImage, which is not read" in err.replace("\n", " ")
    code, out, _ = zmask(capsys, "inspect", bag, "--json")
    assert code == 0
    assert json.loads(out)["topics"][0]["is_read"] is False


def test_sigterm_leaves_nothing_behind_either(drive, tiny, profile, tmp_path):
    """A replay that is told to end by a supervisor, with its bag half-written."""
    script = (
        "import os, signal, zmask_ros.io.bags.writer as b\n"
        "write = b.BagWriter.write_message\n"
        "def once(self, *message):\n"
        "    write(self, *message)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "b.BagWriter.write_message = once\n"
        "from zmask_ros.cli.main import main\n"
        "main()\n"
    )
    names = ["replay", drive, "--segmenter", tiny, "--profile", profile, "-o", tmp_path / "out.mcap"]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH")))))
    command = [sys.executable, "-c", script, *map(str, names)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_replay_and_inspect_tell_a_darker_drive_from_one_that_the_profile_fits(capsys, tiny, tmp_path):
    known = tiny_network.fit_long(tiny)
    images = [tiny_network.clean_image(index) for index in range(300, 360)]
    like, dark = record(tmp_path / "like.mcap", images), record(tmp_path / "dark.mcap", [i // 8 for i in images])
    fits = {}
    for drive in (like, dark):
        options = ["--segmenter", tiny, "--profile", known, "--every", 1, "--json"]
        code, out, err = zmask(capsys, "replay", drive, *options, "--plot", tmp_path / "plot.png")
        assert code == 0, err
        replayed = json.loads(out)
        assert ("zmask prepare" in err) == (replayed["profile_fit"] in ("WARN", "ERROR"))
        code, out, err = zmask(capsys, "inspect", drive, *options)
        assert code == 0, err
        inspected = json.loads(out)
        assert inspected["over_time"] and set(inspected["layers"]) == {"0", "2"}
        # All that it takes, but for those that are masked.
        assert inspected["frames observed"] > len(images) / 2
        fits[drive] = inspected["profile_fit"]
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert (fits[like], fits[dark]) == ("OK", "ERROR")
    code, out, _ = zmask(capsys, "inspect", dark, "--segmenter", tiny, "--profile", known, "--every", 1)
    assert code == 0 and "what to do" in out
