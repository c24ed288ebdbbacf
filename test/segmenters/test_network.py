"""Networks and their weights: what is understood, and what is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from support import tiny_network
from support.tiny_network import describe_with
from zmask_ros.segmenters import SegmenterError, load_segmenter
from zmask_ros.segmenters.network import read_weights


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_outputs_are_understood(tmp_path, kind):
    description = describe_with(tmp_path, builder="support.odd_networks:Wrapped", arguments=f"{{kind: {kind}}}")
    wrapped = load_segmenter(description, "cpu")
    plain = load_segmenter(str(tiny_network.describe(tmp_path)), "cpu")
    x = plain.prepare(tiny_network.clean_image(0))
    torch.testing.assert_close(wrapped.logits(x), plain.logits(x))


def test_an_output_that_is_not_understood_is_refused(tmp_path):
    description = describe_with(tmp_path, builder="support.odd_networks:Wrapped", arguments="{kind: text}")
    segmenter = load_segmenter(description, "cpu")
    with pytest.raises(SegmenterError, match=r"must return \[B, K, H, W\] logits"):
        segmenter.logits(torch.zeros(1, 3, 48, 64))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_are_loaded_and_change_the_digest(tmp_path, suffix):
    state = tiny_network.build(5).state_dict()
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else lambda s, p: torch.save(s, p))(state, path)
    loaded = load_segmenter(describe_with(tmp_path, weights=path.name), "cpu")
    torch.testing.assert_close(loaded.network.state_dict()["0.weight"], state["0.weight"])
    assert loaded.digest != load_segmenter(describe_with(tmp_path), "cpu").digest


class Boobytrap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_weights_that_would_run_code_are_refused(tmp_path):
    for name, save in (("a.pt", torch.save), ("b.pt", lambda o, p: p.write_bytes(pickle.dumps(o)))):
        save({"state_dict": Boobytrap()}, tmp_path / name)
        with pytest.raises(SegmenterError, match="cannot be read safely"):
            read_weights(tmp_path / name)


def test_damaged_and_foreign_weights_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SegmenterError, match="damaged"):
        read_weights(tmp_path / "a.safetensors")
    torch.jit.script(tiny_network.build(0)).save(tmp_path / "scripted.pt")
    with pytest.raises(SegmenterError, match="TorchScript archive"):
        read_weights(tmp_path / "scripted.pt")
    save_file({"other": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SegmenterError, match="do not fit the network"):
        load_segmenter(describe_with(tmp_path, weights="other.safetensors"), "cpu")


def test_every_channel_needs_its_class(tmp_path):
    segmenter = load_segmenter(describe_with(tmp_path, classes="{Sky: [70, 130, 180], Road: [128, 64, 128]}"), "cpu")
    with pytest.raises(SegmenterError, match="describes 2 classes, but its network puts out 3"):
        segmenter.logits(torch.zeros(1, 3, 48, 64))
