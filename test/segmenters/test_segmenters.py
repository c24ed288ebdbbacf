"""How networks come in, and what is refused."""

import pickle
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from support import tiny_network
from support.tiny_network import describe_with
from zmask_ros.segmenters import SegmenterError, load_segmenter, read_description
from zmask_ros.segmenters.network import read_weights


class Wrapped(nn.Module):
    """The tiny network with another kind of output."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = tiny_network.build(0)
        self.kind = kind

    def forward(self, x):
        logits = self.inner(x)
        return {"dict": {"out": logits, "aux": None}, "tuple": (logits, None), "text": "no"}[self.kind]


def build_wrapped(kind: str) -> nn.Module:
    return Wrapped(kind)


def test_the_shipped_description_can_be_read():
    description = read_description("lraspp_camvid")
    assert description.input_size == (360, 480)
    assert len(description.classes) == 11


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_outputs_are_understood(tmp_path, kind):
    description = describe_with(tmp_path, builder="test_segmenters:build_wrapped", arguments=f"{{kind: {kind}}}")
    wrapped = load_segmenter(description, "cpu")
    plain = load_segmenter(str(tiny_network.describe(tmp_path)), "cpu")
    x = plain.prepare(tiny_network.clean_image(0))
    torch.testing.assert_close(wrapped.logits(x), plain.logits(x))


def test_an_output_that_is_not_understood_is_refused(tmp_path):
    description = describe_with(tmp_path, builder="test_segmenters:build_wrapped", arguments="{kind: text}")
    segmenter = load_segmenter(description, "cpu")
    with pytest.raises(SegmenterError, match=r"must return \[B, K, H, W\] logits"):
        segmenter.logits(torch.zeros(1, 3, 48, 64))


def test_images_are_resized_and_normalised(tmp_path):
    segmenter = load_segmenter(describe_with(tmp_path), "cpu")
    image = np.full((200, 100, 3), 255, np.uint8)
    x = segmenter.prepare(image)
    assert x.shape == (1, 3, 48, 64)
    assert x.unique().tolist() == [2.0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"builder": "lraspp_mobilnet"}, "no torchvision segmentation model"),
        ({"builder": "no_such_module:build"}, "cannot be imported"),
        ({"builder": "support.tiny_network:missing"}, "has no 'missing'"),
        ({"arguments": "{speed: 9}"}, "failed: TypeError"),
        ({"builder": "pathlib:Path", "arguments": "{}"}, "not an nn.Module"),
        ({"weights": "missing.safetensors"}, "do not exist"),
        ({"input_size": "[48]"}, "malformed"),
        ({"input_size": ""}, "lacks the entry 'input_size'"),
        ({"mean": "[a, b, c]"}, "malformed"),
        ({"mean": "[.nan, 0, 0]"}, "'mean' must be three numbers"),
        ({"std": "[0.2, 0, 0.2]"}, "'std' must be above 0"),
        ({"input_size": "[0, 64]"}, "each at least 1"),
        ({"input_size": "[48.5, 64]"}, "each at least 1"),
        ({"classes": "[Sky, Road, Car]"}, "'classes' must be a mapping"),
        ({"classes": "{}"}, "'classes' must be 1 to 255, not 0"),
        ({"classes": "{" + ", ".join(f"c{i}: [0, 0, 0]" for i in range(256)) + "}"}, "1 to 255, not 256"),
        ({"classes": "{Sky: [70, 130, 256]}"}, "colour of class 'Sky' must be"),
        ({"classes": "{Sky: blue}"}, "colour of class 'Sky' must be"),
        ({"layers": '["0", "2"]'}, "'layers' must be a mapping"),
        ({"layers": "{shallow: backbone, deep: []}"}, "'layers.shallow' must be a list"),
        ({"layers": "{shallow: [1.10], deep: []}"}, "in quotes if they look like numbers"),
        ({"arguments": "[0]"}, "'arguments' must be a mapping"),
        ({"builder": "broken_module:build"}, "cannot be imported .SyntaxError"),
        ({"builder": "raising_module:build"}, "cannot be imported .RuntimeError: not today"),
        ({"builder": '":build"'}, "must be written module:function"),
        ({"builder": '"support.tiny_network:"'}, "must be written module:function"),
        ({"builder": "[unclosed"}, "not valid YAML"),
    ],
)
def test_a_bad_description_is_refused_in_a_sentence(tmp_path, monkeypatch, changes, complaint):
    (tmp_path / "broken_module.py").write_text("def build(:")
    (tmp_path / "raising_module.py").write_text("raise RuntimeError('not today')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SegmenterError, match=complaint):
        load_segmenter(describe_with(tmp_path, **changes), "cpu")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(SegmenterError, match=r"did you mean 'lraspp_camvid'\?"):
        load_segmenter("lrasp_camvid", "cpu")
    with pytest.raises(SegmenterError, match=r"no segmenter description"):
        load_segmenter("missing.yaml", "cpu")


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SegmenterError, match="cannot be used on this machine"):
        load_segmenter(describe_with(tmp_path), "cuda:63")


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


def test_a_description_needs_a_mapping(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text(textwrap.dedent("- a\n- b\n"))
    with pytest.raises(SegmenterError, match="must hold a mapping"):
        read_description(str(path))


def test_a_description_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    description = describe_with(tmp_path)
    # Nothing is unreadable for root, who may run the tests.
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SegmenterError, match=r"mine\.yaml cannot be read: Permission denied"):
        read_description(description)


def test_layers_may_stand_without_quotes(tmp_path):
    description = read_description(describe_with(tmp_path, layers="{shallow: [0], deep: [2]}"))
    assert (description.shallow_layers, description.deep_layers) == (("0",), ("2",))


def test_every_channel_needs_its_class(tmp_path):
    segmenter = load_segmenter(describe_with(tmp_path, classes="{Sky: [70, 130, 180], Road: [128, 64, 128]}"), "cpu")
    with pytest.raises(SegmenterError, match="describes 2 classes, but its network puts out 3"):
        segmenter.logits(torch.zeros(1, 3, 48, 64))
