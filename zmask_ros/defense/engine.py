"""A segmenter on an inference engine: cut where the defense looks and acts, and held against torch before it is used.

What the defense does stays where it is: an engine is another network with the same layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor, nn

from zmask_ros.defense.analyzer import ANALYSIS, SCREENING, build_evidence
from zmask_ros.defense.defense import Defense, check_binding
from zmask_ros.defense.evidence.taps import ActivationTaps, find_layer, tap
from zmask_ros.defense.profile.profile import Profile, ProfileError
from zmask_ros.defense.profile.storage import profile_digest
from zmask_ros.defense.resegmentation.stem_search import find_stem
from zmask_ros.defense.streaming.cascade import Cascade
from zmask_ros.defense.streaming.tracking import tracked_layer
from zmask_ros.errors import ZmaskError, describe_error
from zmask_ros.inference import Runtime
from zmask_ros.segmenters import Segmenter
from zmask_ros.segmenters.description import Description
from zmask_ros.segmenters.engine.cutting import Cut, Pass, export
from zmask_ros.segmenters.engine.graphs import EngineError, Export, Origin, check_notes, read_graphs
from zmask_ros.segmenters.engine.network import EngineNetwork
from zmask_ros.segmenters.engine.sessions import GraphSession
from zmask_ros.segmenters.labels import labels_of
from zmask_ros.segmenters.trial import make_test_images

MOST_CHANGED = 1e-4
"""Share of the pixels that may have another label than in torch, 0..1."""
MOST_DIFFERENCE = 1e-3
"""Difference of a score from torch's that is accepted, as a share of it."""
LABELS, SCORES = "labels", "scores"
"""Names of what is compared."""
LEAST_SCORE = 1e-3
"""Scores below this one are compared as if they were this high: a share of nothing is nothing."""


@dataclass(frozen=True)
class Deployment:
    """A segmenter as it is run.

    Attributes:
        segmenter: on the engine, or as it was.
        reason: why it is as it was although an engine was tried; otherwise empty.
    """

    segmenter: Segmenter
    reason: str = ""


def deploy(
    segmenter: Segmenter, profile: Profile, runtime: Runtime | None = None, graphs: Path | None = None
) -> Deployment:
    """The segmenter for a profile, in what ``runtime`` or its description asks for.

    Args:
        segmenter: in torch.
        profile: that was fitted on it.
        runtime: None: what the description says.
        graphs: folder that `zmask export` wrote; None: the description's, and if it names none, graphs are made.

    Raises:
        EngineError: an engine is asked for, and cannot be used or strays from torch; the sentence says why.
        ProfileError: the profile belongs to another network.
    """
    check_binding(profile.binding, segmenter, profile.bound_layers)
    return deploy_described(segmenter.description, lambda: segmenter, segmenter.device, profile, runtime, graphs)


def deploy_described(
    description: Description,
    load: Callable[[], Segmenter],
    device: torch.device,
    profile: Profile,
    runtime: Runtime | None = None,
    graphs: Path | None = None,
) -> Deployment:
    """The segmenter of a description, as `deploy` gives it; where its graphs are there it is not loaded in torch.

    Args:
        description: of the segmenter.
        load: gives the segmenter in torch.
        device: where it is to run.
        profile: that was fitted on it.
        runtime: None: what the description says.
        graphs: folder that `zmask export` wrote; None: the description's, and if it names none, graphs are made.

    Raises:
        EngineError: an engine is asked for, and cannot be used or strays from torch; the sentence says why.
        SegmenterError: the segmenter cannot be loaded in torch.
        ProfileError: the profile belongs to another network.
    """
    wanted = runtime or description.runtime
    folder = graphs or description.graphs
    if wanted == "torch":
        return Deployment(load())
    try:
        export = export_graphs(load(), profile) if folder is None else read_graphs(folder)
        return Deployment(on_engine(description, device, profile, export))
    except EngineError as error:
        if wanted == "onnx":
            raise
        return Deployment(load(), str(error))


def on_engine(description: Description, device: torch.device, profile: Profile, export: Export) -> Segmenter:
    """The segmenter on ONNX Runtime, with graphs that were made of it for this profile.

    Raises:
        EngineError: they are others, cannot be run, or stray from torch.
        ProfileError: the profile belongs to another network.
    """
    sessions = [GraphSession(model, device) for model in export.models]
    origin = Origin(profile.binding.digest, profile_digest(profile))
    check_notes([session.notes for session in sessions], origin)
    network = EngineNetwork(sessions, description.input_size)
    engine = Segmenter(description, network, origin.weights, device, f"ONNX Runtime ({network.provider})")
    _refuse_differences(engine, profile, export.expected)
    return engine


def export_graphs(segmenter: Segmenter, profile: Profile) -> Export:
    """A segmenter as graphs that are cut for a profile, with what it says of the test images.

    Raises:
        EngineError: it cannot be exported; the sentence says why.
        ProfileError: the profile belongs to another network.
    """
    check_binding(profile.binding, segmenter, profile.bound_layers)
    description = segmenter.description
    if description.precision != "float32" or description.compiled:
        raise EngineError(
            f"A network on an engine is exported from float32, uncompiled: change "
            f"{description.entries('precision', 'compile')}."
        )
    stem = find_stem(segmenter)
    names = {id(module): name for name, module in nn.Module.named_modules(segmenter.network)}
    end = None if stem is None else names[id(stem.last.module)]
    cut = Cut(tracked_layer(profile), end, 0 if stem is None else stem.last.reach)
    layers = (*profile.layers, *profile.bound_layers, cut.acted, *(() if end is None else (end,)))
    taps = tap(segmenter, tuple(dict.fromkeys(layers)))
    image = make_test_images(segmenter.input_size)[:1].to(segmenter.device)
    run = partial(_run, segmenter, taps, _evidence(profile, segmenter.device))
    models = export(segmenter.network, run, image, cut, Origin(segmenter.digest, profile_digest(profile)))
    return Export(models, save(_observed(segmenter, profile)))


def _evidence(profile: Profile, device: torch.device) -> dict[str, nn.Module]:
    """What makes the evidence of the analysis and, where there is one, of the screen, by name."""
    detectors = {ANALYSIS: profile.detector}
    if profile.screen is not None:
        detectors[SCREENING] = profile.screen.detector(profile.detector)
    return {name: build_evidence(detector, profile.binding).to(device) for name, detector in detectors.items()}


def _run(segmenter: Segmenter, taps: ActivationTaps, evidence: Mapping[str, nn.Module], image: Tensor) -> Pass:
    """One pass, and the evidence in its activations."""
    with taps:
        logits = segmenter.logits(image)
        layers = {name: taps[name] for name in taps.runs}
    # What is differentiable is not computed in place, which graphs know nothing of.
    with torch.enable_grad():
        leaves = {name: activation.detach().requires_grad_() for name, activation in layers.items()}
        return Pass(logits, layers, {name: vars(module(leaves)) for name, module in evidence.items()})


def _refuse_differences(engine: Segmenter, profile: Profile, expected: bytes) -> None:
    """Compare labels and scores with those in torch, as of `_observed`.

    Raises:
        EngineError: they differ too much, or the engine fails.
    """
    try:
        theirs = load_tensors(expected)
    except SafetensorError as error:
        raise EngineError(f"The graphs cannot be compared with torch: {error}: write them again.") from error
    try:
        Differences.between(_observed(engine, profile), theirs).check(engine)
    except (ProfileError, EngineError):
        raise
    except ZmaskError as error:
        raise EngineError(str(error)) from error
    # ONNX Runtime fails in many ways.
    except Exception as error:
        raise EngineError(f"ONNX Runtime cannot run the network: {describe_error(error)[:200]}.") from error


@dataclass(frozen=True)
class Differences:
    """How far a network on an engine is from torch, on some images.

    Attributes:
        changed: share of the pixels that have another label, 0..1.
        strayed: largest difference of a score, as a share of torch's.
    """

    changed: float
    strayed: float

    @staticmethod
    def between(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Differences:
        """Those of what `Observer` says of a network on an engine, and of it in torch."""
        strayed = (ours[SCORES] - theirs[SCORES]).abs() / theirs[SCORES].clamp_min(LEAST_SCORE)
        return Differences(float((ours[LABELS] != theirs[LABELS]).float().mean()), float(strayed.max()))

    @staticmethod
    def over(images: Sequence[Differences]) -> Differences:
        """Those over several images of the same size, at least one."""
        # Unlike the largest of floats, a tensor's is NaN where one of them is.
        strayed = torch.tensor([own.strayed for own in images], dtype=torch.float64).max()
        return Differences(sum(own.changed for own in images) / len(images), float(strayed))

    def check(self, engine: Segmenter) -> None:
        """Refuse an engine that strays too far.

        Raises:
            EngineError: it does.
        """
        # A NaN is not small.
        if not (self.changed <= MOST_CHANGED and self.strayed <= MOST_DIFFERENCE):
            raise EngineError(
                f"Segmenter '{engine.name}' on {engine.engine} strays from torch: labels of {self.changed:.2%} of the "
                f"pixels (at most {MOST_CHANGED:.2%}), scores by {self.strayed:.2%} (at most {MOST_DIFFERENCE:.1%}): "
                "run it in torch."
            )


def compare_images(
    segmenter: Segmenter, engine: Segmenter, profile: Profile, images: Iterable[np.ndarray]
) -> Iterator[Differences]:
    """How far an engine is from torch on each image, uint8 [H, W, 3] RGB: as it is, and changed where one acts.

    Args:
        segmenter: in torch.
        engine: the same on an engine.
        profile: of both.
        images: of any size.
    """
    ours, theirs = Observer(engine, profile), Observer(segmenter, profile)
    for image in images:
        yield Differences.between(ours(engine.prepare(image)), theirs(segmenter.prepare(image)))


class Observer:
    """What a network says of images, and what a defense makes of it: as they are, and changed where one acts.

    Args:
        segmenter: with the network.
        profile: of the defense.
    """

    def __init__(self, segmenter: Segmenter, profile: Profile) -> None:
        self._segmenter, self._profile = segmenter, profile
        analyzer = Defense(segmenter, profile).analyzer
        screening = Cascade(profile, analyzer, segmenter).screening
        self._modules: list[nn.Module] = [analyzer] if screening is None else [analyzer, screening]

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Labels, uint8 [n, h, w], and scores, [m], of normalized images ``x`` [B, 3, h, w]."""
        segmenter, profile = self._segmenter, self._profile
        labels, scores = list[Tensor](), list[Tensor]()
        for act in (False, True):
            with _acting(segmenter, tracked_layer(profile), act), tap(segmenter, profile.layers) as taps:
                labels.append(labels_of(segmenter.scores(x), segmenter.input_size))
                scores.extend(module(taps).score for module in self._modules)
        return {LABELS: torch.cat(labels).cpu(), SCORES: torch.cat(scores).cpu()}


def _observed(segmenter: Segmenter, profile: Profile) -> dict[str, Tensor]:
    """What `Observer` says of the test images."""
    # Together: the frames of several cameras are a batch, and an export of one image might not know that.
    return Observer(segmenter, profile)(make_test_images(segmenter.input_size).to(segmenter.device))


@contextmanager
def _acting(segmenter: Segmenter, layer: str, act: bool) -> Iterator[None]:
    """Context manager in which, if ``act``, the upper half of a layer's activation is 0."""

    def clear(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[..., : output.shape[-2] // 2, :] = 0
        return changed

    handle = find_layer(segmenter.network, layer).register_forward_hook(clear) if act else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
