"""The network of the node, without ROS: what is worked on together, and what becomes of it when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from support.faulty_network import Faults
from support.profiles import with_changed
from support.tiny_network import clean_image, describe, fit
from zmask_ros.defense import Thresholds, load_profile, save_profile
from zmask_ros.defense.engine import export_graphs
from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.images.codec import encode
from zmask_ros.node import network_host as module
from zmask_ros.node.mailbox import Arrival
from zmask_ros.node.network_host import NetworkHost
from zmask_ros.node.parameters.defense_node import DefenseParameters
from zmask_ros.segmenters import load_segmenter
from zmask_ros.segmenters.engine.graphs import write_graphs

CAMERAS = ("front", "rear", "left", "right")
UNKNOWN, CLEAN = FrameState.UNKNOWN, FrameState.CLEAN


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(describe(tmp_path_factory.mktemp("tiny")))


class Loaded:
    """A network for four cameras that share a profile, and what it reported."""

    def __init__(self, folder: Path, profiles: dict[str, str]) -> None:
        self.faults = Faults(folder)
        self.reported: list[tuple[tuple[str, ...], str]] = []
        settings = DefenseParameters(segmenter=str(self.faults.describe(folder)), device="cpu", max_batch=4)
        self.network = NetworkHost(settings, profiles, self._report)

    def _report(self, cameras: Sequence[str], error: Exception) -> None:
        self.reported.append((tuple(cameras), str(error)))

    def states(self, *cameras: str) -> dict[str, FrameState]:
        """What becomes of one frame of each camera."""
        arrivals = [Arrival(message(index), camera) for index, camera in enumerate(cameras)]
        return {arrival.camera: result.state for arrival, result in self.network.process(arrivals)}


@pytest.fixture
def loaded(tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    return Loaded(tmp_path, dict.fromkeys(CAMERAS, str(profile)))


def message(index: int) -> SimpleNamespace:
    return with_header(clean_image(index))


def with_header(image: np.ndarray) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=7, nanosec=0)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), **vars(encode(image, "rgb8")))


def test_cameras_with_the_same_profile_share_a_pass(loaded: Loaded) -> None:
    loaded.faults.tell("none", "none")
    assert loaded.states(*CAMERAS) == dict.fromkeys(CAMERAS, CLEAN)
    assert loaded.faults.left == 1


def test_a_camera_with_its_own_profile_has_its_own_pass_and_the_same_weights(tmp_path: Path, profile: Path) -> None:
    own = tmp_path / "own.zmask.safetensors"
    own.write_bytes(profile.read_bytes())
    loaded = Loaded(tmp_path, {"front": str(profile), "rear": str(own)})
    loaded.faults.tell("none", "none", "none")
    assert loaded.states("front", "rear") == {"front": CLEAN, "rear": CLEAN}
    assert loaded.faults.left == 1
    front, rear = loaded.network.defended("front"), loaded.network.defended("rear")
    assert front.segmenter.network is rear.segmenter.network
    assert loaded.network.profile_identity("rear").startswith("own.zmask.safetensors@")


def test_the_network_runs_in_what_the_parameter_says(tmp_path: Path, profile: Path) -> None:
    pytest.importorskip("onnxruntime")
    told: list[str] = []
    segmenter, profiles = str(describe(tmp_path)), dict.fromkeys(CAMERAS, str(profile))

    def host(runtime: str, graphs: str) -> NetworkHost:
        settings = DefenseParameters(segmenter=segmenter, device="cpu", runtime=runtime, graphs=graphs)
        return NetworkHost(settings, profiles, lambda *_: None, warn=told.append)

    network = host("onnx", "")
    assert network.defended("front").segmenter.engine == "ONNX Runtime (CPU)"
    arrivals = [Arrival(message(index), camera) for index, camera in enumerate(CAMERAS)]
    assert [result.state for _, result in network.process(arrivals)] == [CLEAN] * len(CAMERAS)
    assert host("auto", str(tmp_path)).defended("front").segmenter.engine == "torch"
    (warning,) = told
    assert "the network runs in torch" in warning and "holds no graphs" in warning
    with pytest.raises(ZmaskError, match="holds no graphs"):
        host("onnx", str(tmp_path))


def test_a_reloaded_profile_needs_graphs_of_its_own(tmp_path: Path, profile: Path) -> None:
    pytest.importorskip("onnxruntime")
    description, graphs, own = str(describe(tmp_path)), tmp_path / "graphs", tmp_path / "own.zmask.safetensors"
    segmenter, first = load_segmenter(description, "cpu"), load_profile(profile)
    own.write_bytes(profile.read_bytes())
    write_graphs(export_graphs(segmenter, first), graphs)
    settings = DefenseParameters(segmenter=description, device="cpu", runtime="onnx", graphs=str(graphs))
    network = NetworkHost(settings, {"front": str(own)}, lambda *_: None)
    before = network.profile_identity("front")
    second = with_changed(first, threshold=replace(first.detector.threshold, value=9.0))
    save_profile(second, own)
    with pytest.raises(ZmaskError, match="exported with other profile"):
        network.reload_profiles()
    assert network.profile_identity("front") == before
    write_graphs(export_graphs(segmenter, second), graphs)
    network.reload_profiles()
    assert network.defended("front").defense.threshold == 9.0
    assert network.defended("front").segmenter.engine == "ONNX Runtime (CPU)"


def test_a_batch_that_does_not_fit_is_halved_until_it_does(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    # Four, then two, then one after the other; the other two fit together.
    loaded.faults.tell("memory", "memory", "none", "none", "none")
    assert loaded.states(*CAMERAS) == dict.fromkeys(CAMERAS, CLEAN)
    assert loaded.faults.left == 0
    assert [cameras for cameras, _ in loaded.reported] == [CAMERAS, CAMERAS[:2]]
    assert loaded.network.batch_limit == 1
    monkeypatch.setattr(module, "SMALL_BATCH_S", 0.0)
    loaded.faults.tell("memory")
    assert loaded.states("front", "rear") == {"front": CLEAN, "rear": CLEAN}
    assert loaded.network.batch_limit == 4, "it stays small for ever"


def test_one_frame_that_does_not_fit_is_tried_once_more(loaded: Loaded) -> None:
    loaded.faults.tell("memory", "none", "memory", "memory")
    assert loaded.states("front") == {"front": CLEAN}
    assert loaded.states("front") == {"front": UNKNOWN}
    assert loaded.faults.left == 0
    assert loaded.states("front") == {"front": CLEAN}


@pytest.mark.parametrize("kind", ["bug", "nan"])
def test_a_fault_in_a_batch_is_that_of_the_frame_alone_that_has_it(loaded: Loaded, kind: str) -> None:
    loaded.faults.tell(kind, "none", kind)
    assert loaded.states("front", "rear") == {"front": CLEAN, "rear": UNKNOWN}
    assert loaded.faults.left == 0


def test_after_an_error_of_the_device_everything_is_loaded_anew_once(loaded: Loaded) -> None:
    before = loaded.network.segmenter
    loaded.faults.tell("device")
    assert loaded.states("front", "rear") == {"front": CLEAN, "rear": CLEAN}
    assert loaded.network.segmenter is not before
    # Loading runs the network, too; the pass after that fails.
    passes = loaded.faults.passes_of_loading(lambda: loaded.states("front") == {"front": CLEAN})
    again = loaded.network.segmenter
    loaded.faults.tell("device", *["none"] * passes, "device")
    assert loaded.states("front") == {"front": UNKNOWN}
    assert loaded.network.segmenter is not again
    assert loaded.faults.left == 0
    once = loaded.network.segmenter
    loaded.faults.tell("device")
    assert loaded.states("front") == {"front": UNKNOWN}
    assert loaded.network.segmenter is once, "it is loaded again and again"
    assert loaded.states("front") == {"front": CLEAN}


def test_a_profile_that_cannot_be_read_leaves_the_old_one_in_use(tmp_path: Path, profile: Path) -> None:
    own = tmp_path / "own.zmask.safetensors"
    own.write_bytes(profile.read_bytes())
    loaded = Loaded(tmp_path, {"front": str(own)})
    identity = loaded.network.profile_identity("front")
    own.write_bytes(profile.read_bytes()[:100])
    with pytest.raises(ZmaskError):
        loaded.network.reload_profiles()
    assert loaded.network.profile_identity("front") == identity
    assert loaded.states("front") == {"front": CLEAN}


def test_the_threshold_counts_for_all_and_zero_gives_back_each_profiles_own(loaded: Loaded) -> None:
    fitted = loaded.network.defended("front").defense.threshold
    loaded.network.set_thresholds(0.25, 0.125)
    loaded.network.reload_profiles()
    assert loaded.network.defended("rear").defense.thresholds == Thresholds(0.25, 0.125, 0.25)
    loaded.network.set_thresholds(0.0, 0.0)
    assert loaded.network.defended("rear").defense.thresholds == Thresholds(fitted, fitted, fitted)


def test_images_of_any_size_are_worked_on_together(loaded: Loaded) -> None:
    images = [np.full((height, width, 3), 90, np.uint8) for height, width in ((1, 1), (2160, 3840), (48, 64))]
    arrivals = [Arrival(with_header(image), camera) for image, camera in zip(images, CAMERAS, strict=False)]
    results = [result for _, result in loaded.network.process(arrivals)]
    assert [result.pictures is not None and result.pictures.mask.shape for result in results] == [
        image.shape[:2] for image in images
    ]
