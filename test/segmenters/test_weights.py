"""Weights from files as people have them: what is loaded, what is refused, and that no code of a file is run."""

from __future__ import annotations

import argparse
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_model, save_file, save_model
from torch import Tensor, nn

from support import tiny_network
from support.odd_networks import Tied
from support.tiny_network import describe_with
from zmask_ros.segmenters import SegmenterError, load_segmenter, read_description
from zmask_ros.segmenters.checkpoints import read_checkpoint
from zmask_ros.segmenters.weights import load_weights

STATE = tiny_network.build(5).state_dict()


def load_into(network: nn.Module, path: Path) -> dict[str, Tensor]:
    load_weights(network, read_description(describe_with(path.parent, weights=path.name)))
    return network.state_dict()


def assert_loaded(found: dict[str, Tensor], expected: dict[str, Tensor] = STATE) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_are_loaded_and_change_the_digest(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else lambda state, p: torch.save(state, p))(STATE, path)
    loaded = load_segmenter(describe_with(tmp_path, weights=path.name), "cpu")
    assert_loaded(loaded.network.state_dict())
    assert loaded.digest != load_segmenter(describe_with(tmp_path), "cpu").digest


prefixes = st.lists(st.sampled_from(["module", "model", "_orig_mod", "net", "backbone_of_mine"]), max_size=3)
wrappers = st.lists(st.sampled_from(["state_dict", "model_state_dict", "model", "module", "mine"]), max_size=2)
BESIDE = {
    "epoch": 3,
    "best": 0.5,
    "score": np.float64(0.25),
    "args": argparse.Namespace(lr=0.1, out=Path("out")),
    "hyper_parameters": {"lr": 0.1, "sizes": [1, 2]},
    "losses": defaultdict(list, {"train": [0.5]}),
    "optimizer": torch.optim.Adam([nn.Parameter(torch.ones(2))]).state_dict(),
    "moments": {"state": {0: {"exp_avg": torch.ones(6, 3, 3, 3), "step": torch.tensor(1.0)}}},
    "model_ema": {f"module.{name}": tensor + 1 for name, tensor in STATE.items()},
}


@settings(deadline=None, max_examples=150)
@given(prefixes, wrappers, st.sets(st.sampled_from(sorted(BESIDE))), st.booleans(), st.booleans())
def test_prefixes_and_wrappers_do_not_matter(tmp_path_factory, prefix, holders, beside, others, wrapped):
    start = "".join(f"{part}." for part in prefix)
    content: dict[str, object] = {start + name: tensor for name, tensor in STATE.items()}
    if others and prefix:
        content["loss.weight"] = torch.ones(11)
    for holder in holders:
        content = {holder: content}
    # What is called as others call the right ones is ambiguous beside a name of somebody's own.
    own = {"mine", "backbone_of_mine"} & {*prefix, *holders}
    content |= {
        name: BESIDE[name] for name in beside if not (own and name == "model_ema") and (holders or name != "model_ema")
    }
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(content, path)
    network = nn.Sequential(tiny_network.build(0)) if wrapped else tiny_network.build(0)
    found = load_into(network, path)
    assert_loaded({name.removeprefix("0.") if wrapped else name: tensor for name, tensor in found.items()})


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod"])
def test_a_wrapper_around_a_part_does_not_matter(tmp_path: Path, wrapper: str) -> None:
    names = {f"2.{wrapper}.{name[2:]}" if name.startswith("2.") else name: name for name in STATE}
    torch.save({name: STATE[own] for name, own in names.items()}, tmp_path / "a.pth")
    assert_loaded(load_into(tiny_network.build(0), tmp_path / "a.pth"))


def test_parts_in_dicts_of_their_own_are_put_together(tmp_path: Path) -> None:
    parts = {part: {n[2:]: t for n, t in STATE.items() if n.startswith(part)} for part in ("0", "2", "3")}
    torch.save({**parts, "optimizer": BESIDE["optimizer"]}, tmp_path / "a.pth")
    assert_loaded(load_into(tiny_network.build(0), tmp_path / "a.pth"))


def test_two_that_fit_are_told_apart_by_their_names_or_refused(tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"ema": other, "state_dict": STATE}, tmp_path / "usual.pth")
    assert_loaded(load_into(tiny_network.build(0), tmp_path / "usual.pth"))
    torch.save({"teacher": other, "student": STATE}, tmp_path / "unusual.pth")
    with pytest.raises(SegmenterError, match=r"several that fit .* \('teacher', 'student'\).*entry weights of"):
        load_into(tiny_network.build(0), tmp_path / "unusual.pth")


@pytest.mark.parametrize("save", [save_model, lambda n, p: torch.save(n.state_dict(), p)])
def test_tensors_that_layers_share_may_be_left_out(tmp_path: Path, save) -> None:
    own, path = Tied(), tmp_path / "tied.safetensors"
    if save is not save_model:
        path = tmp_path / "tied.pth"
    save(own, str(path))
    assert_loaded(load_into(Tied(), path), own.state_dict())
    if save is save_model:
        load_model(Tied(), path)


def test_what_is_not_shared_may_not_be_left_out(tmp_path: Path) -> None:
    own = Tied().state_dict()
    save_file({name: own[name] for name in ("head.weight", "head.bias", "body.bias")}, tmp_path / "a.safetensors")
    with pytest.raises(SegmenterError, match=r"1 is missing \(body.weight\)"):
        load_into(Tied(), tmp_path / "a.safetensors")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in STATE.items() if name != "2.bias"}
    state |= {"model.3.weight": torch.ones(5, 8, 1, 1), **{f"model.9.{k}": torch.ones(1) for k in "abcd"}}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(SegmenterError) as told:
        load_into(tiny_network.build(0), tmp_path / "a.pth")
    sentence = str(told.value)
    assert "1 is missing (2.bias); 4 are unexpected (9.a, 9.b, 9.c, ...)" in sentence
    assert "1 is of another shape (3.weight [5, 8, 1, 1] instead of [3, 8, 1, 1])" in sentence
    assert f"change the entries weights or builder or arguments of {tmp_path / 'mine.yaml'}" in sentence
    save_file({"other": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SegmenterError, match=r"6 are missing \(0.weight, .*\); 1 is unexpected \(other\)"):
        load_into(tiny_network.build(0), tmp_path / "other.safetensors")


class Boobytrap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


class Stranger:
    """Would tell on itself if it were made again."""

    def __init__(self, told: Path) -> None:
        self.told = told

    def __setstate__(self, state: dict[str, Path]) -> None:
        state["told"].touch()


@pytest.mark.parametrize("content", [{"state_dict": Boobytrap()}, {"state_dict": STATE, "trap": Boobytrap()}])
def test_weights_that_would_run_code_are_refused(tmp_path: Path, content: dict[str, object]) -> None:
    for name, save in (("a.pt", torch.save), ("b.pt", lambda o, p: p.write_bytes(pickle.dumps(o)))):
        save(content, tmp_path / name)
        with pytest.raises(SegmenterError, match="cannot be read safely"):
            read_checkpoint(tmp_path / name)


def test_objects_beside_the_weights_are_not_made(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": Stranger(tmp_path / "told")}, tmp_path / "a.pth")
    assert_loaded(load_into(tiny_network.build(0), tmp_path / "a.pth"))
    assert not (tmp_path / "told").exists()


@pytest.mark.parametrize("wrap", [lambda network: network, lambda network: {"model": network, "epoch": 3}])
def test_a_pickled_module_is_refused_with_how_to_save_its_weights(tmp_path: Path, wrap) -> None:
    torch.save(wrap(tiny_network.build(0)), tmp_path / "whole.pth")
    with pytest.raises(SegmenterError, match=r"whole pickled module.*torch.save\(network.state_dict\(\)"):
        read_checkpoint(tmp_path / "whole.pth")


def test_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SegmenterError, match="damaged"):
        read_checkpoint(tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "whole.pth")
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n", (tmp_path / "whole.pth").read_bytes()[:-99]):
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(SegmenterError, match="damaged or no checkpoint of torch"):
            read_checkpoint(tmp_path / "a.pth")
    torch.jit.script(tiny_network.build(0)).save(tmp_path / "scripted.pt")
    with pytest.raises(SegmenterError, match="TorchScript archive"):
        read_checkpoint(tmp_path / "scripted.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(SegmenterError, match="no state dict of tensors"):
        read_checkpoint(tmp_path / "empty.pt")
