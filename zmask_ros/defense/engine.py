"""A segmenter on an inference engine: cut where the defense looks and acts, and held against torch before it is used.

What the defense does stays where it is: an engine is another network with the same layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from zmask_ros.defense.analyzer import ANALYSIS, SCREENING, build_evidence
from zmask_ros.defense.defense import Defense, bind
from zmask_ros.defense.evidence.taps import ActivationTaps, find_layer, tap
from zmask_ros.defense.profile.profile import Profile
from zmask_ros.defense.profile.storage import profile_digest
from zmask_ros.defense.resegmentation.stem_search import find_stem
from zmask_ros.defense.streaming.cascade import Cascade
from zmask_ros.defense.streaming.tracking import tracked_layer
from zmask_ros.segmenters import Segmenter
from zmask_ros.segmenters.description import Runtime
from zmask_ros.segmenters.engine.cutting import Cut, Pass, export
from zmask_ros.segmenters.engine.graphs import EngineError, Origin, check_notes, read_graphs
from zmask_ros.segmenters.engine.network import EngineNetwork
from zmask_ros.segmenters.engine.sessions import GraphSession
from zmask_ros.segmenters.labels import labels_of
from zmask_ros.segmenters.trial import make_test_images

MOST_CHANGED = 1e-4
"""Share of the pixels that may have another label than in torch, 0..1."""
MOST_DIFFERENCE = 1e-3
"""Difference of a score from torch's that is accepted, as a share of it."""
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
    wanted = runtime or segmenter.description.runtime
    folder = graphs or segmenter.description.graphs
    if wanted == "torch":
        return Deployment(segmenter)
    try:
        models = export_graphs(segmenter, profile) if folder is None else read_graphs(folder)
        return Deployment(on_engine(segmenter, profile, models))
    except EngineError as error:
        if wanted == "onnx":
            raise
        return Deployment(segmenter, str(error))


def on_engine(segmenter: Segmenter, profile: Profile, models: Sequence[bytes]) -> Segmenter:
    """The segmenter on ONNX Runtime, with graphs that were made of it for this profile.

    Raises:
        EngineError: they are others, cannot be run, or stray from torch.
        ProfileError: the profile belongs to another network.
    """
    profile.binding.check(bind(segmenter, profile.bound_layers))
    sessions = [GraphSession(model, segmenter.device) for model in models]
    check_notes([session.notes for session in sessions], _origin(segmenter, profile))
    network = EngineNetwork(sessions, segmenter.input_size)
    engine = replace(segmenter, network=network, engine=f"ONNX Runtime ({network.provider})")
    _refuse_differences(segmenter, engine, profile)
    return engine


def export_graphs(segmenter: Segmenter, profile: Profile) -> list[bytes]:
    """The graphs of a segmenter, cut for a profile.

    Raises:
        EngineError: it cannot be exported; the sentence says why.
        ProfileError: the profile belongs to another network.
    """
    profile.binding.check(bind(segmenter, profile.bound_layers))
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
    return export(segmenter.network, run, image, cut, _origin(segmenter, profile))


def _origin(segmenter: Segmenter, profile: Profile) -> Origin:
    return Origin(segmenter.digest, profile_digest(profile))


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


@torch.inference_mode()
def _refuse_differences(segmenter: Segmenter, engine: Segmenter, profile: Profile) -> None:
    """Compare labels and scores of the test images, as they are and with an activation changed where the tracker acts.

    Raises:
        EngineError: they differ too much, or the engine fails.
    """
    x = make_test_images(segmenter.input_size).to(segmenter.device)
    for act in (False, True):
        expected, expected_scores = _observed(segmenter, profile, x, act)
        try:
            found, found_scores = _observed(engine, profile, x, act)
        # ONNX Runtime fails in many ways.
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot run the network: {str(error)[:200]}.") from error
        changed = float((found != expected).float().mean())
        strayed = float(((found_scores - expected_scores).abs() / expected_scores.clamp_min(LEAST_SCORE)).max())
        # A NaN is not small.
        if not (changed <= MOST_CHANGED and strayed <= MOST_DIFFERENCE):
            raise EngineError(
                f"Segmenter '{segmenter.name}' on {engine.engine} strays from torch: labels of {changed:.2%} of the "
                f"pixels (at most {MOST_CHANGED:.2%}), scores by {strayed:.2%} (at most {MOST_DIFFERENCE:.1%}): run it "
                "in torch."
            )


def _observed(segmenter: Segmenter, profile: Profile, x: Tensor, act: bool) -> tuple[Tensor, Tensor]:
    """Labels, uint8 [B, h, w], and scores, [n], of images; ``act``: with a changed activation."""
    analyzer = Defense(segmenter, profile).analyzer
    screening = Cascade(profile, analyzer, segmenter).screening
    with _acting(segmenter, tracked_layer(profile), act), tap(segmenter, profile.layers) as taps:
        labels = labels_of(segmenter.scores(x), segmenter.input_size)
        modules: list[nn.Module] = [analyzer] if screening is None else [analyzer, screening]
        return labels, torch.cat([module(taps).score for module in modules])


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
