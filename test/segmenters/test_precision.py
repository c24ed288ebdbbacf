"""Lower precision and compilation: close to float32, open to taps, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from support import tiny_network
from support.tiny_network import describe_with
from zmask_ros.defense import ActivationTaps, load_profile
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import Segmenter, SegmenterError, load_segmenter
from zmask_ros.segmenters.precision import compile_blocks
from zmask_ros.segmenters.trial import make_test_images

IMAGE = tiny_network.clean_image(3)


def load(folder: Path, **changes: str) -> Segmenter:
    return load_segmenter(describe_with(folder, **changes), "cpu")


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"compile": "true"}], ids=str)
def test_a_faster_network_says_nearly_the_same_and_can_be_tapped(tmp_path: Path, changes: dict[str, str]) -> None:
    plain, faster = load(tmp_path), load(tmp_path, **changes)
    x = plain.prepare(IMAGE)
    found = []
    for segmenter in (plain, faster):
        with torch.inference_mode(), ActivationTaps(segmenter.network, ["0", "2"]) as taps:
            logits = segmenter.logits(x)
            found.append([logits, taps["0"].clone(), taps["2"].clone()])
    for expected, own in zip(*found, strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))
    assert faster.digest == plain.digest, "a profile belongs to the weights, however they are run"


def test_a_profile_goes_with_a_network_in_half_precision(tmp_path: Path) -> None:
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    for settings in ({}, {"precision": "bfloat16"}):
        description = Path(describe_with(tmp_path, **settings))
        segmenter = load_segmenter(str(description.rename(tmp_path / "tiny_0.yaml")), "cpu")
        camera = DefendedCamera(segmenter, profile)
        camera.defense.threshold = float("inf")
        assert camera.process_image(IMAGE).pictures is not None
        attacked = IMAGE.copy()
        attacked[16:32, 24:40] = (255, 255, 0)
        camera.defense.threshold = profile.detector.threshold.value
        result = camera.process_image(attacked)
        assert result.score > profile.detector.threshold.value
        assert result.pictures is not None and result.pictures.mask[20:28, 28:36].all()


def test_one_that_strays_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, builder="support.odd_networks:Fragile", arguments="")
    with pytest.raises(SegmenterError, match="strays from float32.*labels of.*use another precision"):
        load(tmp_path, builder="support.odd_networks:Fragile", arguments="", precision="bfloat16")


def test_a_compiler_that_fails_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(forward: object, **settings: object) -> object:
        def fail(x: Tensor) -> Tensor:
            raise RuntimeError("no C++ compiler\nand a long trace")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(SegmenterError, match=r"compile true on this machine \(RuntimeError: no C\+\+ compiler\)"):
        load(tmp_path, compile="true")


def test_every_block_of_a_class_is_compiled_for_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch keeps 8 compiled forms of a function, and of one class there may be more blocks than that."""
    compiled, compile_by = list[int](), torch.compile

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        compiled.append(len(inputs))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda forward, **settings: compile_by(forward, backend=count, dynamic=False))
    blocks = [torch.nn.Sequential(torch.nn.Conv2d(side, side + 1, 1), torch.nn.ReLU()) for side in range(1, 13)]
    network = torch.nn.Sequential(torch.nn.Sequential(*blocks))
    compile_blocks(network)
    for batch in (1, 3):
        with torch.inference_mode():
            network(torch.zeros(batch, 1, 4, 4))
    assert len(compiled) == 2 * len(blocks)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"precision": "int8"}, "'precision' is 'int8', but should be 'float32', 'bfloat16' or 'float16'"),
        ({"compile": "2"}, "'compile' is 2, but should be a valid boolean"),
    ],
    ids=str,
)
def test_settings_that_do_not_exist_are_refused(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(SegmenterError, match=sentence):
        load(tmp_path, **changes)


def test_the_test_images_are_the_same_everywhere() -> None:
    first = make_test_images((50, 70))
    assert first.shape == (2, 3, 50, 70)
    assert torch.equal(first, make_test_images((50, 70)))
    assert 0.3 < first.std() < 1.5
