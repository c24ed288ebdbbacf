"""A segmenter on ONNX Runtime: it says what it says in torch, wherever the defense looks and acts, or is refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from support import tiny_network
from support.patched_street import HERE, MOVED, Drive, attacked_image, street
from support.profiles import with_changed
from support.screened import screened_profile
from support.tiny_network import clean_image, describe_with
from zmask_ros.attacks import load_patch
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import Defense, LayerStatistics, Moments, Profile, StreamingDefense, load_profile, tap
from zmask_ros.defense.analyzer import ExportedEvidence
from zmask_ros.defense.engine import Differences, deploy, deploy_described, export_graphs, on_engine
from zmask_ros.defense.evidence.descriptors import DESCRIPTORS, VIEWS
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.head import untrained_head
from zmask_ros.defense.evidence.taps import find_layer
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.defense.profile.profile import ProfileError
from zmask_ros.defense.streaming.tracking import tracked_layer
from zmask_ros.evaluation.performance.benchmark import attacked_frames, tracked_frames
from zmask_ros.resources import shipped_patch, shipped_profile
from zmask_ros.runtime.camera import DefendedCamera
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.segmenters.engine.graphs import EngineError, write_graphs
from zmask_ros.segmenters.engine.network import SMALL_IMAGES, one_thread_beside
from zmask_ros.segmenters.engine.packages import onnxruntime
from zmask_ros.segmenters.engine.pooling import area_weights
from zmask_ros.segmenters.engine.sessions import GraphSession, waiting
from zmask_ros.training.adversarial import HeadInputs, with_untrained_head
from zmask_ros.training.clean_fit import ProfileFit
from zmask_ros.training.plans import plan_for
from zmask_ros.training.sources import CleanFrame

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ODD = {
    "writes into its input and its layers": ("InPlace", "", "first", "others.1"),
    "skip connections across the cut": ("UNet", "{depth: 3}", "down.1", "up.0"),
    "names with dots, shadowed methods": ("Shadowing", "", "stem.conv", "others.1"),
    "layers that run twice": ("Reusing", "", "first", "heads.seg"),
    "another resolution": ("EncoderDecoder", "", "second", "decoder"),
    "places of patches": ("Patches", "{patch: 8, sides: [48, 64]}", "embed", "head"),
    "attention": ("Attending", "", "first", "second"),
    "the image is needed behind the cut": ("Forking", "", "first", "inner"),
    "no stem": ("of_one_resolution", "", "5", "3"),
    **{form: ("Wrapped", f"{{kind: {form}}}", "inner.0", "inner.2") for form in ("tuple of a dict", "small", "view")},
}


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """Networks without a file of weights have random ones, of which a few nearly tie: those differ in a rounding."""
    torch.manual_seed(0)


def odd(folder: Path, builder: str, arguments: str, shallow: str, deep: str, **changes: str) -> Segmenter:
    layers = f"{{shallow: ['{shallow}'], deep: ['{deep}']}}"
    path = describe_with(
        folder, builder=f"support.odd_networks:{builder}", arguments=arguments, layers=layers, **changes
    )
    return load_segmenter(path, "cpu")


def fitted_on(segmenter: Segmenter) -> Profile:
    description = segmenter.description
    fit = ProfileFit(segmenter, plan_for(segmenter, description.shallow_layers, description.deep_layers))
    fit.add_all(CleanFrame("clean", "/image_raw", index, clean_image(index)) for index in range(30))
    return fit.finish(false_alarm_rate=0.01)


def on_onnx(segmenter: Segmenter, profile: Profile) -> Segmenter:
    return on_engine(segmenter.description, segmenter.device, profile, export_graphs(segmenter, profile))


@torch.inference_mode()
def observed(segmenter: Segmenter, profile: Profile, x: Tensor, changed: bool) -> list[Tensor]:
    """Logits and activations of a pass in which, if ``changed``, the tracked layer's activation is."""
    layer = find_layer(segmenter.network, tracked_layer(profile))
    handles = [layer.register_forward_hook(lambda *call: call[-1].flip(-1) * 2)] if changed else []
    try:
        with tap(segmenter, profile.bound_layers) as taps:
            logits = segmenter.logits(x)
            return [logits, *(taps[name].clone() for name in profile.bound_layers)]
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("kind", ODD)
def test_it_says_the_same_and_can_be_changed_on_the_way(tmp_path: Path, kind: str) -> None:
    segmenter = odd(tmp_path, *ODD[kind])
    profile = fitted_on(segmenter)
    engine = on_onnx(segmenter, profile)
    x = torch.cat([segmenter.prepare(clean_image(index)) for index in range(3)])
    told = []
    for changed in (False, True):
        expected, found = (observed(own, profile, x, changed) for own in (segmenter, engine))
        for one, other in zip(expected, found, strict=True):
            assert other.stride() == one.contiguous(memory_format=torch.channels_last).stride()
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
        told.append(found[0])
    assert not torch.allclose(*told, rtol=1e-3), "the change of the activation has no effect"


def test_the_stem_is_the_one_that_torch_has(segmenter: Segmenter, fitted: Profile, tmp_path: Path) -> None:
    unet = odd(tmp_path, *ODD["skip connections across the cut"])
    for own, profile in ((segmenter, fitted), (unet, fitted_on(unet))):
        expected, found = (Defense(each, profile).stem for each in (own, on_onnx(own, profile)))
        assert expected is not None and found is not None
        assert (found.last.shape, found.last.stride, found.last.reach) == (
            expected.last.shape,
            expected.last.stride,
            expected.last.reach,
        )


def test_a_drive_is_defended_as_in_torch(segmenter: Segmenter, fitted: Profile) -> None:
    """Clean frames, a patch that is segmented twice, followed, and followed on: the same results, the same passes."""
    profile = screened_profile(segmenter, fitted)
    drives = [Drive(StreamingDefense(Defense(own, profile))) for own in (segmenter, on_onnx(segmenter, profile))]
    images = [street(index=1)] * 3 + [street(HERE)] * 30 + [street(MOVED)] * 3 + [street(index=2)] * 3
    followed = 0
    for image in images:
        (expected, passes), (found, own_passes) = (drive.see(image) for drive in drives)
        assert own_passes == passes
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.mask, expected.mask)
        assert found.tracked.tolist() == expected.tracked.tolist()
        assert found.fully_analyzed == expected.fully_analyzed
        torch.testing.assert_close(found.analysis.score, expected.analysis.score, rtol=1e-3, atol=1e-6)
        followed += int(found.tracked[0])
    assert followed > 10


def with_head(segmenter: Segmenter, profile: Profile, kind: FeatureKind) -> Profile:
    """``profile`` with an untrained head for three layers that see this; their clean descriptors are made up."""
    layers = tuple(segmenter.description.shallow_layers + segmenter.description.deep_layers)
    inputs = HeadInputs((0.3, 0.1), kind if kind.of_channels else FeatureKind.ENERGIES)
    frames = [clean_image(index) for index in range(4)]
    begun = with_untrained_head(segmenter, profile, layers, frames, inputs)
    if kind.of_channels:
        return begun
    moments = Moments(100, torch.zeros(1, DESCRIPTORS).double(), torch.full((1, DESCRIPTORS), 100.0).double())
    clean = {statistics_key("descriptors", layer): LayerStatistics(moments) for layer in layers}
    detector = begun.detector
    assert detector.head is not None
    head = untrained_head(detector.head.branch, VIEWS * DESCRIPTORS * len(layers), 0, kind)
    return with_changed(begun, head=head, statistics=detector.statistics | clean)


@pytest.mark.parametrize("kind", [None, *FeatureKind])
@pytest.mark.parametrize("size", ["[48, 64]", "[56, 80]", "[88, 104]"])
def test_evidence_is_made_on_the_engine(tmp_path: Path, kind: FeatureKind | None, size: str) -> None:
    """Also where a layer has no whole number of cells for one of the grid, and for several cameras at once."""
    segmenter = odd(tmp_path, *ODD["skip connections across the cut"], input_size=size)
    profile = fitted_on(segmenter) if kind is None else with_head(segmenter, fitted_on(segmenter), kind)
    expected, found = (Defense(own, profile) for own in (segmenter, on_onnx(segmenter, profile)))
    assert isinstance(found.analyzer.evidence, ExportedEvidence)
    for cameras in (1, 3):
        x = torch.cat([segmenter.prepare(attacked_image(index)) for index in range(cameras)])
        ours, theirs = (own(x).analysis for own in (found, expected))
        heats = (ours.evidence.shallow, theirs.evidence.shallow), (ours.evidence.deep, theirs.evidence.deep)
        for one, other in (*heats, (ours.mask, theirs.mask), (ours.score, theirs.score)):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_evidence_of_another_profile_is_not_taken(segmenter: Segmenter, fitted: Profile) -> None:
    engine = on_onnx(segmenter, fitted)
    other = with_changed(fitted, threshold=replace(fitted.detector.threshold, value=1.0))
    assert not isinstance(Defense(engine, other).analyzer.evidence, ExportedEvidence)


def test_differences_by_hand(segmenter: Segmenter) -> None:
    theirs = {"labels": torch.zeros(2, 10, 10), "scores": torch.tensor([1.0, 0.0])}
    ours = {"labels": theirs["labels"].clone(), "scores": torch.tensor([1.0005, 1e-6])}
    ours["labels"][0, 0, 0] = 1
    found = Differences.between(ours, theirs)
    # A share of nothing is nothing.
    assert (found.changed, found.strayed) == (pytest.approx(1 / 200), pytest.approx(1e-3, rel=1e-3))
    Differences.over([Differences(0.0, 1e-3), Differences(2e-4, 0.0)]).check(segmenter)
    for worse in (Differences(2e-4, 0.0), Differences(0.0, 2e-3), Differences(0.0, float("nan"))):
        with pytest.raises(EngineError, match="strays from torch"):
            Differences.over([worse]).check(segmenter)
    with pytest.raises(EngineError, match="scores by nan"):
        Differences.over([Differences(0.0, 1e-4), Differences(0.0, float("nan")), Differences(0.0, 0.0)]).check(
            segmenter
        )


@given(st.integers(1, 60), st.integers(1, 60))
def test_area_weights_are_those_of_torch(length: int, wanted: int) -> None:
    maps = torch.randn(1, 3, 1, length, dtype=torch.float64)
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, (1, wanted))
    torch.testing.assert_close(maps @ area_weights(length, wanted).double().T, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["lraspp_camvid", pytest.param("unet_camvid", marks=pytest.mark.slow)])
def test_the_shipped_networks_say_the_same(name: str) -> None:
    segmenter, profile = load_segmenter(name, "cpu"), load_profile(shipped_profile(name))
    engine = on_onnx(segmenter, profile)
    height, width = segmenter.input_size
    clean = [frame.image for frame in StreetDrive(7, 2.0, rate_hz=1.0, width=width, height=height)]
    patch = load_patch(shipped_patch(name))
    frames = [*clean, *attacked_frames(clean, patch)]
    defenses = Defense(segmenter, profile), Defense(engine, profile)
    for image in frames:
        expected, found = (own(segmenter.prepare(image)) for own in defenses)
        assert_alike(found, expected)
    drives = [Drive(StreamingDefense(own)) for own in defenses]
    for image in tracked_frames(8, width, height, patch):
        expected, found = (drive.see(image)[0] for drive in drives)
        assert_alike(found, expected)


def assert_alike(found, expected) -> None:
    """Labels equal on 99.99 % of the pixels, scores within a thousandth, and the same done about it."""
    assert float((found.labels != expected.labels).float().mean()) <= 1e-4
    assert float((found.mask != expected.mask).float().mean()) <= 1e-4
    torch.testing.assert_close(found.analysis.score, expected.analysis.score, rtol=1e-3, atol=1e-6)
    assert found.flagged.tolist() == expected.flagged.tolist()
    assert found.tracked.tolist() == expected.tracked.tolist()


def test_the_runtime_is_the_one_that_is_asked_for(segmenter: Segmenter, fitted: Profile, tmp_path: Path) -> None:
    described = replace(segmenter, description=replace(segmenter.description, runtime="onnx"))
    assert deploy(segmenter, fitted).segmenter is segmenter
    assert deploy(segmenter, fitted, "auto").segmenter.engine == "ONNX Runtime (CPU)"
    assert deploy(described, fitted).segmenter.engine == "ONNX Runtime (CPU)"
    assert deploy(described, fitted, "torch").segmenter is described
    assert described.engine == "torch"


@pytest.mark.parametrize(
    ("builder", "reason"),
    [
        ("Spectral", "cannot be exported as ONNX: .*fft"),
        ("Counting", "strays from torch: labels of .*% of the pixels"),
    ],
)
def test_a_network_that_the_engine_cannot_have_runs_in_torch(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, builder: str, reason: str
) -> None:
    segmenter = odd(tmp_path, builder, "", "inner.0", "inner.2")
    profile = fitted_on(segmenter)
    with pytest.raises(EngineError, match=reason) as refused:
        deploy(segmenter, profile, "onnx")
    fallen_back = deploy(segmenter, profile, "auto")
    assert fallen_back.segmenter is segmenter
    assert fallen_back.reason == str(refused.value)
    assert capfd.readouterr().out == "", "what torch says beside it does not stand among results"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(
    segmenter: Segmenter, fitted: Profile, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match=f"package {package} is missing: install it with 'pip install -r"):
        deploy(segmenter, fitted, "onnx")
    assert f"package {package} is missing" in deploy(segmenter, fitted, "auto").reason


def test_a_lower_precision_is_no_matter_for_an_engine(tmp_path: Path) -> None:
    profile = load_profile(tiny_network.fit(tiny_network.describe(tmp_path)))
    segmenter = load_segmenter(describe_with(tmp_path, precision="bfloat16"), "cpu")
    with pytest.raises(EngineError, match="exported from float32, uncompiled: change the entries precision or compile"):
        deploy(segmenter, profile, "onnx")


def test_a_profile_of_another_network_is_refused_as_in_torch(segmenter: Segmenter, tmp_path: Path) -> None:
    other = load_profile(tiny_network.fit(tiny_network.describe(tmp_path, seed=1)))
    for runtime in ("onnx", "auto"):
        with pytest.raises(ProfileError, match="was fitted on something else: network"):
            deploy(segmenter, other, runtime)


def test_a_description_that_was_changed_since_the_export_is_refused_with_what_differs(
    segmenter: Segmenter, fitted: Profile
) -> None:
    export = export_graphs(segmenter, fitted)
    resized = replace(segmenter.description, input_size=(96, 128))
    with pytest.raises(ProfileError, match=r"fitted on something else: input size \(profile: \(48, 64\), here: "):
        on_engine(resized, segmenter.device, fitted, export)
    sky_alone = replace(segmenter.description, classes={"Sky": (70, 130, 180)})
    with pytest.raises(EngineError, match="^Segmenter .* describes 1 class, but its network puts out 3 channels"):
        on_engine(sky_alone, segmenter.device, fitted, export)


def test_graphs_of_files_are_the_graphs_that_were_written(
    segmenter: Segmenter, fitted: Profile, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "graphs"
    paths = write_graphs(export_graphs(segmenter, fitted), folder)
    assert [path.parent for path in paths] == [folder] * len(paths)
    engine = deploy(segmenter, fitted, "onnx", folder).segmenter
    x = segmenter.prepare(attacked_image())
    torch.testing.assert_close(engine.logits(x), segmenter.logits(x), rtol=1e-4, atol=1e-5)


def test_a_network_whose_graphs_are_there_is_not_loaded_in_torch(
    segmenter: Segmenter, fitted: Profile, tmp_path: Path
) -> None:
    write_graphs(export_graphs(segmenter, fitted), tmp_path)

    def load() -> Segmenter:
        raise AssertionError("the network was loaded in torch")

    engine = deploy_described(segmenter.description, load, segmenter.device, fitted, "onnx", tmp_path).segmenter
    x = segmenter.prepare(attacked_image())
    found, expected = Defense(engine, fitted)(x), Defense(segmenter, fitted)(x)
    assert torch.equal(found.labels, expected.labels)
    assert engine.digest == segmenter.digest


@pytest.mark.parametrize("changed", ["labels", "scores"])
def test_an_engine_that_strays_from_what_torch_said_is_refused(
    segmenter: Segmenter, fitted: Profile, changed: str
) -> None:
    export = export_graphs(segmenter, fitted)
    expected = load_tensors(export.expected)
    expected[changed][0].add_(1)
    other = replace(export, expected=save(expected))
    with pytest.raises(EngineError, match="strays from torch: labels of .*run it in torch"):
        on_engine(segmenter.description, segmenter.device, fitted, other)


def test_graphs_of_another_profile_or_network_are_refused(
    segmenter: Segmenter, fitted: Profile, tmp_path: Path
) -> None:
    write_graphs(export_graphs(segmenter, fitted), tmp_path)
    detector = fitted.detector
    other = with_changed(fitted, threshold=replace(detector.threshold, value=2 * detector.threshold.value))
    with pytest.raises(EngineError, match=r"exported with other profile \(\w{12}, here: \w{12}\): write them again"):
        deploy(segmenter, other, "onnx", tmp_path)
    assert "exported with other profile" in deploy(segmenter, other, "auto", tmp_path).reason
    networks = tmp_path / "networks"
    networks.mkdir()
    path = tiny_network.describe(networks, seed=1)
    with pytest.raises(EngineError, match=r"exported with other weights \(\w{12}, here: \w{12}\): write them again"):
        deploy(load_segmenter(str(path), "cpu"), load_profile(tiny_network.fit(path)), "onnx", tmp_path)


def cut_short(paths: Sequence[Path]) -> None:
    paths[0].write_bytes(paths[0].read_bytes()[:-100])


def lose_the_first(paths: Sequence[Path]) -> None:
    paths[0].unlink()


def lose_the_last(paths: Sequence[Path]) -> None:
    paths[-2].unlink()


def lose_what_torch_said(paths: Sequence[Path]) -> None:
    paths[-1].unlink()


def cut_what_torch_said(paths: Sequence[Path]) -> None:
    paths[-1].write_bytes(paths[-1].read_bytes()[:-100])


def lose_all(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut_short, "ONNX Runtime does not take a graph"),
        (lose_the_first, "holds no graphs: write them with zmask export SEGMENTER -o"),
        (lose_the_last, "Some of the graphs are missing"),
        (lose_what_torch_said, "holds no graphs"),
        (cut_what_torch_said, "cannot be compared with torch: .*: write them again"),
        (lose_all, "holds no graphs"),
    ],
)
def test_graphs_that_are_not_all_there_are_refused(tmp_path: Path, spoil, sentence: str) -> None:
    segmenter = odd(tmp_path, *ODD["skip connections across the cut"])
    profile = fitted_on(segmenter)
    paths = write_graphs(export_graphs(segmenter, profile), tmp_path / "graphs")
    assert len(paths) > 1
    spoil(paths)
    with pytest.raises(EngineError, match=sentence):
        deploy(segmenter, profile, "onnx", tmp_path / "graphs")


def test_a_graph_of_something_else_is_refused(segmenter: Segmenter, fitted: Profile, tmp_path: Path) -> None:
    class Half(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    torch.onnx.export(Half(), (torch.zeros(1, 3, 48, 64),), str(tmp_path / "0.onnx"), dynamo=False)
    (tmp_path / "expected.safetensors").write_bytes(b"")
    with pytest.raises(EngineError, match="none of zmask export"):
        deploy(segmenter, fitted, "onnx", tmp_path)


def test_no_graphs_are_left_among_others(segmenter: Segmenter, fitted: Profile, tmp_path: Path) -> None:
    export = export_graphs(segmenter, fitted)
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    with pytest.raises(EngineError, match="holds other graphs, such as mine.onnx"):
        write_graphs(export, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.onnx"]


def test_a_small_evidence_takes_one_thread(segmenter: Segmenter, fitted: Profile) -> None:
    evidence = GraphSession(export_graphs(segmenter, fitted).models[-1], segmenter.device)
    assert evidence.notes.evidence == "analysis"
    assert evidence.options.intra_op_num_threads == 1


def test_torch_takes_one_thread_beside_an_engine_for_small_images(segmenter: Segmenter, fitted: Profile) -> None:
    engine = on_onnx(segmenter, fitted)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = list[int]()
        layer = find_layer(engine.network, tracked_layer(fitted))
        handle = layer.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        camera = DefendedCamera(engine, fitted)
        camera.process_image(clean_image(0))
        handle.remove()
        assert set(seen) == {1}
        assert torch.get_num_threads() == 3
        with pytest.raises(EngineError), one_thread_beside(engine.network):
            raise EngineError("a frame fails")
        assert torch.get_num_threads() == 3
        too_many = SMALL_IMAGES // engine.network.pixels + 1
        for network, images in ((segmenter.network, 1), (engine.network, too_many)):
            with one_thread_beside(network, images):
                assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_threads_share_the_machine(segmenter: Segmenter, fitted: Profile) -> None:
    session = GraphSession(export_graphs(segmenter, fitted).models[0], segmenter.device)
    options = session.options
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    for name, value in waiting(onnxruntime().__version__).items():
        assert options.get_session_config_entry(name) == value
    assert options.get_session_config_entry("session.dynamic_block_base") == "4"


@pytest.mark.parametrize(
    ("version", "spins", "microseconds"),
    [("1.25.3", "0", None), ("1.26.0", "1", "30"), ("1.32.0", "1", "30"), ("2.0.0.dev1", "1", "30")],
)
def test_threads_never_spin_for_as_long_as_they_like(version: str, spins: str, microseconds: str | None) -> None:
    settings = waiting(version)
    assert settings["session.intra_op.allow_spinning"] == spins
    assert settings.get("session.intra_op.spin_duration_us") == microseconds
