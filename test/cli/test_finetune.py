"""`zmask finetune` on the tiny network; bad input tried on each argument."""

import json

import pytest
import yaml

from support import tiny_network
from support.commands import record, refused, zmask
from zmask_ros.evaluation.protocol.robustness import RobustnessTrial
from zmask_ros.segmenters import load_segmenter

BESIDE = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Conv2d(3, 3, 3, padding=1)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_network.describe(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "clean.mcap", map(tiny_network.clean_image, range(50)))


def test_a_network_is_written_that_can_be_loaded_and_is_another_one(capsys, tiny, drive, tmp_path):
    output = tmp_path / "tuned.yaml"
    arguments = ("finetune", drive, "--segmenter", tiny, "-o", output, "--trial-steps", 2)
    code, out, err = zmask(capsys, *arguments, "--steps", 3, "--json")
    assert code == 0, err
    figures = json.loads(out)
    assert figures["before"]["clean"] == 1
    assert 0 <= figures["after"]["attacked"] <= figures["after"]["clean"] <= 1
    old, new = (load_segmenter(str(path), "cpu") for path in (tiny, output))
    assert new.digest != old.digest
    assert new.classes == old.classes
    assert new.description.shallow_layers == old.description.shallow_layers
    entries = yaml.safe_load(output.read_text())
    assert entries["weights"] == "tuned.safetensors"
    assert entries["builder"] == "support.tiny_network:build"
    assert output.read_text().startswith(f"# {old.name}, fine-tuned")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tuned.safetensors", "tuned.yaml"]

    assert "is there already" in refused(capsys, *arguments, "--steps", 3)
    code, out, err = zmask(capsys, *arguments, "--steps", 3, "--force")
    assert code == 0, err
    assert "clean frames, mIoU" in out
    assert load_segmenter(str(output), "cpu").digest == new.digest


def test_what_is_interrupted_goes_on(capsys, tiny, drive, tmp_path, monkeypatch):
    output = tmp_path / "tuned.yaml"
    arguments = ("finetune", drive, "--segmenter", tiny, "-o", output, "--trial-steps", 1, "--steps", 52)

    def interrupted(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RobustnessTrial, "robustness", interrupted)
        code, _, err = zmask(capsys, *arguments)
    kept = tmp_path / "tuned.yaml.training.pt"
    assert code == 130
    assert f"goes on from here, by {kept}" in err
    assert not output.exists()
    assert "another set of settings" in refused(capsys, *arguments[:-1], 53)
    code, _, err = zmask(capsys, *arguments)
    assert code == 0, err
    assert not kept.exists()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("tuned.safetensors", "name it NAME.yaml"),
        ("nowhere/tuned.yaml", "does not exist: create it first"),
        ("tiny_0.yaml", "would replace the network"),
    ],
)
def test_places_that_cannot_be_written_are_refused_first(capsys, drive, tmp_path, output, says):
    own = tiny_network.describe(tmp_path)
    assert says in refused(capsys, "finetune", drive, "--segmenter", own, "-o", tmp_path / output)


def test_a_builder_beside_its_description_keeps_the_output_there(capsys, drive, tmp_path):
    (tmp_path / "nets.py").write_text(BESIDE)
    own = tiny_network.describe_with(tmp_path, builder="nets:build", arguments="", layers="")
    other = tmp_path / "other"
    other.mkdir()
    assert f"put the output into {tmp_path}" in refused(
        capsys, "finetune", drive, "--segmenter", own, "-o", other / "tuned.yaml"
    )
    arguments = ("--steps", 1, "--trial-steps", 1, "--json")
    code, _, err = zmask(capsys, "finetune", drive, "--segmenter", own, "-o", tmp_path / "tuned.yaml", *arguments)
    assert code == 0, err
    assert load_segmenter(str(tmp_path / "tuned.yaml"), "cpu").digest != load_segmenter(own, "cpu").digest


def test_with_a_profile_of_the_network_and_no_other(capsys, tiny, drive, tmp_path):
    profile = tiny_network.fit(tiny)
    given = ("finetune", drive, "-o", tmp_path / "tuned.yaml", "--steps", 2, "--trial-steps", 1, "--profile", profile)
    other = tiny_network.describe(tmp_path, seed=1)
    assert "fitted on something else" in refused(capsys, *given, "--segmenter", other)
    code, _, err = zmask(capsys, *given, "--segmenter", tiny)
    assert code == 0, err


def test_too_few_frames_and_no_bags_are_refused(capsys, tiny, tmp_path):
    few = record(tmp_path / "few.mcap", map(tiny_network.clean_image, range(20)))
    output = tmp_path / "tuned.yaml"
    assert "20 clean frames are too few" in refused(capsys, "finetune", few, "--segmenter", tiny, "-o", output)
    assert "at least one bag" in refused(capsys, "finetune", "--segmenter", tiny, "-o", output)
