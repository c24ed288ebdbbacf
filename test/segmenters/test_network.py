"""Networks and what they put out: what is understood, and what is refused when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support import tiny_network
from support.tiny_network import describe_with
from zmask_ros.segmenters import Segmenter, SegmenterError, load_segmenter

X = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
TWO = "{Sky: [70, 130, 180], Road: [128, 64, 128]}"


def load(folder: Path, builder: str, arguments: str = "", **changes: str) -> Segmenter:
    changes = {"builder": f"support.odd_networks:{builder}", "arguments": arguments} | changes
    return load_segmenter(describe_with(folder, **changes), "cpu")


def wrapped(folder: Path, kind: str, **changes: str) -> Segmenter:
    return load(folder, "Wrapped", f"{{kind: {kind}}}", **changes)


@pytest.mark.parametrize(
    "kind",
    ["tensor", "view", "dict", "logits", "model output", "object", "named tuple", "tuple", "list", "tuple of a dict"],
)
def test_outputs_are_understood(tmp_path: Path, kind: str) -> None:
    torch.testing.assert_close(wrapped(tmp_path, kind).logits(X), tiny_network.build(0)(X))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("text", "returned a str"),
        ("nothing", "returned a NoneType"),
        ("labels", r"returned int64 \[1, 48, 64\]"),
        ("class map", r"returned int64 \[1, 1, 48, 64\]"),
        ("other key", r"returned a dict of 'masks': float32 \[1, 3, 48, 64\]"),
        ("no batch", r"returned float32 \[3, 48, 64\]"),
        ("not finite", "not finite: change the entries weights or mean or std of .*mine.yaml"),
        ("first image", "works on one image, but not on 2 at once"),
    ],
)
def test_an_output_that_is_not_understood_is_refused_when_it_is_loaded(tmp_path: Path, kind: str, named: str) -> None:
    with pytest.raises(SegmenterError, match=named):
        wrapped(tmp_path, kind)


def test_logits_at_a_lower_resolution_are_brought_to_the_images(tmp_path: Path) -> None:
    small = torch.nn.functional.avg_pool2d(tiny_network.build(0)(X), 4)
    expected = torch.nn.functional.interpolate(small, (48, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(wrapped(tmp_path, "small").logits(X), expected)


def test_one_channel_tells_two_classes_apart(tmp_path: Path) -> None:
    logits = wrapped(tmp_path, "one channel", classes=TWO).logits(X)
    channel = tiny_network.build(0)(X)[:, 0]
    assert logits.shape == (2, 2, 48, 64)
    assert torch.equal(logits.argmax(1), (channel > 0).long())
    torch.testing.assert_close(logits.softmax(1)[:, 1], channel.sigmoid())


@pytest.mark.parametrize(
    ("kind", "classes", "complaint"),
    [
        ("one channel", "{Road: [1, 1, 1]}", "describes 1 class, but its network puts out 1 channel.*entry classes of"),
        ("one channel", "{A: [1, 1, 1], B: [2, 2, 2], C: [3, 3, 3]}", "describes 3 classes, but .* puts out 1 channel"),
        ("tensor", TWO, "describes 2 classes, but its network puts out 3 channels: .*entry classes of"),
        ("probability", TWO, "probabilities instead of logits: leave its last sigmoid out"),
    ],
)
def test_channels_and_classes_must_agree(tmp_path: Path, kind: str, classes: str, complaint: str) -> None:
    with pytest.raises(SegmenterError, match=complaint):
        wrapped(tmp_path, kind, classes=classes)


@pytest.mark.parametrize(
    ("builder", "arguments", "size", "works"),
    [
        ("UNet", "", "[360, 480]", r"\[352, 480\] or \[384, 480\]"),
        ("UNet", "{depth: 3}", "[60, 100]", r"\[56, 96\] or \[56, 104\]"),
        ("UNet", "", "[20, 40]", r"\[32, 32\] or \[32, 64\]"),
        ("Patches", "{patch: 14}", "[48, 64]", r"\[42, 70\] or \[42, 56\]"),
        ("Patches", "{patch: 16, sides: [224, 224]}", "[240, 320]", r"\[224, 224\]"),
    ],
)
def test_a_size_that_fails_is_refused_with_the_nearest_that_work(
    tmp_path: Path, builder: str, arguments: str, size: str, works: str
) -> None:
    complaint = rf"fails on images of .*entry input_size of .*mine.yaml.* to {works}\.$"
    with pytest.raises(SegmenterError, match=complaint) as told:
        load(tmp_path, builder, arguments, input_size=size)
    for named in str(told.value).rpartition(" to ")[2].rstrip(".").split(" or "):
        load(tmp_path, builder, arguments, input_size=named)


@pytest.mark.parametrize(
    ("builder", "complaint"),
    [
        (
            "Broken",
            "fails on images of 48 x 64 pixels, and of all other.*missing 1 required.*builder or arguments",
        ),
        ("failing", "failed: FileNotFoundError: no such file: change the entries builder or arguments of .*mine.yaml"),
        ("leaving", "failed: SystemExit: 2"),
        ("lazy", "no values yet"),
        ("Renaming", "something else in the place of a method of nn.Module.*entry builder of"),
        ("scripted", "returned TorchScript"),
    ],
)
def test_a_network_that_does_not_run_is_refused_in_a_sentence(tmp_path: Path, builder: str, complaint: str) -> None:
    with pytest.raises(SegmenterError, match=complaint) as told:
        load(tmp_path, builder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("builder", ["parallel", "compiled"])
def test_wrappers_of_torch_are_taken_off(tmp_path: Path, builder: str) -> None:
    segmenter = load(tmp_path, builder)
    assert isinstance(segmenter.network, torch.nn.Sequential)
    assert segmenter.digest == load_segmenter(describe_with(tmp_path), "cpu").digest


def test_a_network_may_write_into_its_input(tmp_path: Path) -> None:
    segmenter, x = load(tmp_path, "InPlace"), X.contiguous(memory_format=torch.channels_last)
    for _ in range(2):
        torch.testing.assert_close(segmenter.logits(x), tiny_network.build(0)(X * 0.5 + 0.1))
    assert torch.equal(x, X)


def test_a_network_whose_train_is_for_something_else_is_in_eval_mode(tmp_path: Path) -> None:
    segmenter = load(tmp_path, "Trainer")
    assert not any(module.training for module in segmenter.network.modules())
    torch.testing.assert_close(segmenter.logits(X), tiny_network.build(0)(X))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_may_call_its_own_as_torch_does(tmp_path: Path, precision: str) -> None:
    segmenter = load(tmp_path, "Shadowing", precision=precision, layers="{shallow: [stem.conv], deep: [others.1]}")
    assert not any(module.training for module in torch.nn.Module.modules(segmenter.network))
    without_relu = tiny_network.build(0)
    torch.testing.assert_close(segmenter.logits(X), without_relu(X), rtol=0.05, atol=0.05)
