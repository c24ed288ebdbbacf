"""Descriptions of segmenters: what is read, and what is refused with a sentence."""

import textwrap
from pathlib import Path

import pytest

from support.tiny_network import describe_with
from zmask_ros.segmenters import SegmenterError, load_segmenter, read_description


def test_the_shipped_description_can_be_read():
    description = read_description("lraspp_camvid")
    assert description.input_size == (360, 480)
    assert len(description.classes) == 11


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"builder": "lraspp_mobilnet"}, "no torchvision segmentation model"),
        ({"builder": "no_such_module:build"}, "cannot be imported"),
        ({"builder": "support.tiny_network:missing"}, "has no 'missing', but build, clean_image, "),
        ({"arguments": "{speed: 9}"}, "failed: TypeError"),
        ({"builder": "pathlib:Path", "arguments": "{}"}, "not an nn.Module"),
        ({"weights": "missing.safetensors"}, "do not exist"),
        ({"input_size": "[48]"}, "lacks the entry 'input_size.1'"),
        ({"input_size": ""}, "lacks the entry 'input_size'"),
        ({"mean": "[a, b, c]"}, "'mean.0' is 'a', but should be a valid number"),
        ({"mean": "[.nan, 0, 0]"}, "'mean.0' is nan, but should be a finite number"),
        ({"std": "[0.2, 0, 0.2]"}, "'std.1' is 0, but should be greater than 0"),
        ({"input_size": "[0, 64]"}, "'input_size.0' is 0, but should be greater than or equal to 1"),
        ({"input_size": "[48.5, 64]"}, "'input_size.0' is 48.5, but should be a valid integer"),
        ({"classes": "[Sky, Road, Car]"}, "'classes' is .'Sky', 'Road', 'Car'., but should be a valid dictionary"),
        ({"classes": "{}"}, "'classes' is {}, but dictionary should have at least 1 item"),
        (
            {"classes": "{" + ", ".join(f"c{i}: [0, 0, 0]" for i in range(256)) + "}"},
            "at most 255 items",
        ),
        ({"classes": "{Sky: [70, 130, 256]}"}, "'classes.Sky.2' is 256, but should be less than or equal to 255"),
        ({"classes": "{Sky: blue}"}, "'classes.Sky' is 'blue', but should be a valid tuple"),
        ({"layers": '["0", "2"]'}, "'layers' is .'0', '2'., but should hold shallow and deep"),
        ({"layers": "{shallow: backbone, deep: []}"}, "'layers.shallow' is 'backbone', but should be a valid tuple"),
        ({"layers": "{shallow: [1.10], deep: []}"}, "'layers.shallow.0' is 1.1, but should be a valid string"),
        ({"arguments": "[0]"}, "'arguments' is .0., but should be a valid dictionary"),
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
