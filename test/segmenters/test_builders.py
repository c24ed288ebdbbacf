"""Builders that lie beside their description: found there, and nobody else's business."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from support.tiny_network import describe_with
from zmask_ros.segmenters import Segmenter, SegmenterError, load_segmenter

CHANNELS = 3


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Modules of the search path stay loaded: the next test has others."""
    yield
    for name in ("mynet", "mynet_parts"):
        sys.modules.pop(name, None)


def write(folder: Path, value: float, module: str = "mynet") -> None:
    """A builder of a network that puts out ``value``, which stands in a module beside it."""
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "mynet_parts.py").write_text(f"VALUE = {value}\n")
    path.write_text(
        "from mynet_parts import VALUE\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__(); self.conv = nn.Conv2d(3, 3, 1)\n"
        "    def forward(self, x):\n        import mynet_parts\n"
        "        return self.conv(x) * 0 + VALUE * (VALUE == mynet_parts.VALUE)\n"
    )


def load(folder: Path, module: str = "mynet", **changes: str) -> Segmenter:
    description = describe_with(
        folder, builder=f"{module}:Net", arguments="", layers="{shallow: [conv], deep: []}", **changes
    )
    return load_segmenter(description, "cpu")


def value(segmenter: Segmenter) -> float:
    return float(segmenter.logits(torch.zeros(1, CHANNELS, 48, 64)).unique())


def test_each_description_finds_the_module_beside_it(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for number, folder in enumerate(folders):
        write(folder, number + 1)
    path = list(sys.path)
    first, second = (load(folder) for folder in folders)
    assert (value(second), value(load(folders[0]))) == (2, 1)
    assert type(first.network) is not type(second.network)
    assert sys.path == path


@pytest.mark.parametrize("module", ["nets.mynet", "nets.deep.mynet"])
def test_it_may_lie_in_a_folder_there(tmp_path: Path, module: str) -> None:
    write(tmp_path, 4, module)
    assert value(load(tmp_path, module)) == 4


def test_it_comes_before_one_of_the_search_path_which_stays_what_it_was(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mynet.py").write_text("ELSEWHERE = True\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    import mynet

    write(tmp_path / "here", 5)
    assert value(load(tmp_path / "here")) == 5
    assert sys.modules["mynet"] is mynet
    with pytest.raises(SegmenterError, match="module 'mynet' has no 'Net'"):
        load(tmp_path)


def test_modules_of_the_search_path_are_found_after_those_beside_another(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "here", 6)
    write(tmp_path / "path", 7)
    monkeypatch.syspath_prepend(tmp_path / "path")
    assert value(load(tmp_path / "here")) == 6
    assert value(load(tmp_path)) == 7


def test_a_module_that_is_nowhere_is_said_to_belong_beside_the_description(tmp_path: Path) -> None:
    with pytest.raises(SegmenterError, match="'mynet' cannot be imported .*beside .*mine.yaml or on PYTHONPATH"):
        load(tmp_path)
