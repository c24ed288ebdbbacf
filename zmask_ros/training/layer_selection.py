"""Layer selection: which layers and kernels of a network tell patches from the street; the paper leaves it open.

The heat maps of all candidates come from one forward pass an image. S is chosen for where a patch is: by the overlap of
its heat, cut at the best threshold, with the patch. D is chosen for what a patch is: adversarial against benign ones,
and attacked frames against clean ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zmask_ros.defense import Profile, bind, working_grid
from zmask_ros.defense.evidence.grid import Size, resample
from zmask_ros.defense.evidence.overactivation import Branch, LayerOverActivation, fuse_layers, kernel_cascade
from zmask_ros.defense.evidence.statistics import LayerStatistics
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.progress import Progress, silent
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import observe
from zmask_ros.training.cross_fitting import MomentsByKey
from zmask_ros.training.division import Split
from zmask_ros.training.encoder import edge_layer, no_layer, tappable_layers
from zmask_ros.training.examples import COVERED, coverage, example_images
from zmask_ros.training.metrics import auc, best_iou
from zmask_ros.training.plans import GRID_FRACTION, FittingPlan, kernels_on, mean_z_plan

KERNEL_SHARES = (0.21, 0.11, 0.05, 0.0)
"""Kernels that are tried, as shares of the image's height and width, largest first."""
SHALLOW_CASCADES = ((0, 2), (1, 3), (0, 1, 2, 3), (1,), (2,), (2, 3), (3,))
DEEP_CASCADES = ((0,), (1,), (0, 1), (2,))
"""Cascades that are tried, by the places of their kernels."""
MOST_LAYERS = 2
LEAST_GAIN = 0.01
"""Of the score, for which a further layer is taken."""
CANDIDATE_LEVELS = 2
"""Below the network, down to which layers are candidates."""
LEAST_SIDE = 6
"""Of a layer's map that can still say where something is."""
SELECTION_EVERY = 4
"""Each such frame decides; the others give the candidates' clean statistics."""
MOST_SELECTION_FRAMES = 40
MOST_STATISTICS_FRAMES = 120


@dataclass(frozen=True)
class CandidateHeats:
    """Heat of all candidates on N images: clean ones, with an adversarial and with a benign patch.

    Attributes:
        heats: by layer, [N, K, h, w], one map a kernel of the menu.
        truth, benign: share of each cell that an adversarial, or a benign patch covers, [N, 1, h, w], 0..1.
    """

    heats: dict[str, Tensor]
    truth: Tensor
    benign: Tensor

    def heat(self, layers: Sequence[str], places: Sequence[int]) -> Tensor:
        """Heat [N, 1, h, w] of these layers, fused, with the cascade of these places in the menu."""
        return fuse_layers(
            [kernel_cascade([self.heats[layer][:, i : i + 1].float() for i in places]) for layer in layers]
        )


@dataclass(frozen=True)
class RoleScore:
    """A set of layers with a kernel_cascade, and how well it does in its role, 0..1."""

    layers: tuple[str, ...]
    places: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class LayerReport:
    """Why a layer was chosen, or not; figures in 0..1, each with the cascade that suits the layer best.

    Attributes:
        layer: its name.
        overlap: of its heat, cut at the best threshold, with adversarial patches: decides on S.
        pixel_auc: cells of adversarial patches against cells of clean frames.
        frame_auc: the hottest cell of attacked frames against that of clean ones.
        benign_auc: cells of adversarial patches against cells of benign ones; the mean of the two decides on D.
        verdict: a sentence.
    """

    layer: str
    overlap: float
    pixel_auc: float
    frame_auc: float
    benign_auc: float
    verdict: str


@dataclass(frozen=True)
class LayerSelection:
    """Layer sets S and D with their kernels on the grid, and a report on each candidate."""

    shallow: Branch
    deep: Branch
    reports: tuple[LayerReport, ...]


def candidate_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """Layers down to two levels below the network, whose maps are large enough to say where something is."""
    layers = tappable_layers(segmenter, CANDIDATE_LEVELS)
    return tuple(name for name, (_, height, width) in layers.items() if min(height, width) >= LEAST_SIDE)


def with_edge(segmenter: Segmenter, profile: Profile) -> Profile:
    """``profile`` whose masks end where `edge_layer` says, if there is such a layer."""
    edge = edge_layer(segmenter, profile.grid)
    if edge is None:
        return profile
    detector = replace(profile.detector, growth=replace(profile.detector.growth, edge=edge))
    sharper = replace(profile, detector=detector)
    return replace(sharper, binding=bind(segmenter, sharper.bound_layers))


@torch.inference_mode()
def select_layers(
    segmenter: Segmenter, split: Split, progress: Progress = silent
) -> tuple[FittingPlan, LayerSelection]:
    """The plan with the layers and kernels that do best on ``split``, and why; the growth is the default plan's.

    Raises:
        ZmaskError: the network has no layer that could be tapped.
    """
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    kernels = kernels_on(grid, KERNEL_SHARES)
    layers = candidate_layers(segmenter)
    if not layers:
        raise no_layer(segmenter)
    deciding = [i for i in range(len(split.frames)) if i % SELECTION_EVERY == SELECTION_EVERY - 1]
    clean = [i for i in range(len(split.frames)) if i % SELECTION_EVERY != SELECTION_EVERY - 1]
    decides, counts = (
        replace(split, frames=tuple(split.frames[i] for i in indices))
        for indices in (deciding[:MOST_SELECTION_FRAMES], clean[:MOST_STATISTICS_FRAMES])
    )
    taps = tap(segmenter, layers)
    with progress("Choosing layers", "images", len(counts.frames) + decides.images) as advance:
        moments = MomentsByKey()
        for frame in counts.frames:
            with taps:
                segmenter.logits(segmenter.prepare(frame))
                for layer in layers:
                    moments.add(layer, observe(taps[layer], kernels, grid))
            advance()
        finite = {layer: LayerStatistics(own) for layer, own in moments.items() if own.finite}
        makers = {k: LayerOverActivation(own, kernels) for k, own in finite.items() if bool(own.alive.any())}
        heats, truths, benign = [], [], []
        for example in example_images(decides):
            with taps:
                segmenter.logits(segmenter.prepare(example.image))
                heats.append({k: _on_grid(maker.heat_maps(taps[k], grid), grid) for k, maker in makers.items()})
            truths.append(coverage(example.patch, grid))
            benign.append(coverage(example.benign, grid))
            advance()
    stacked = {layer: torch.cat([heat[layer] for heat in heats]) for layer in makers}
    selection = choose_branches(CandidateHeats(stacked, torch.cat(truths), torch.cat(benign)), kernels)
    binding = bind(segmenter, selection.shallow.layers + selection.deep.layers)
    growth = mean_z_plan(segmenter).growth
    return FittingPlan(binding, selection.shallow, selection.deep, growth, GRID_FRACTION), selection


def _on_grid(maps: list[Tensor], grid: Size) -> Tensor:
    """One heat map a kernel, float16 [1, K, *grid] on the CPU."""
    return resample(torch.cat(maps, 1), grid).half().cpu()


def choose_branches(heats_of: CandidateHeats, kernels: tuple[Size, ...]) -> LayerSelection:
    """The layers and cascades that do best in their roles.

    The best single layer of each role is taken; a further one is added where it lifts the score by ``LEAST_GAIN``.

    Args:
        heats_of: pictures of all three kinds, at least one candidate.
        kernels: the menu, largest first; four of them.
    """
    alone = {
        "S": _single_scores(heats_of, SHALLOW_CASCADES, localization),
        "D": _single_scores(heats_of, DEEP_CASCADES, recognition),
    }
    shallow = _extended(heats_of, alone["S"], localization)
    deep = _extended(heats_of, alone["D"], recognition)
    reports = tuple(_report(heats_of, alone["S"][layer], alone["D"][layer], shallow, deep) for layer in heats_of.heats)
    return LayerSelection(_branch(shallow, kernels), _branch(deep, kernels), reports)


def localization(heats_of: CandidateHeats, heat: Tensor) -> float:
    """How well ``heat`` [N, 1, h, w] shows where adversarial patches are: the score of S."""
    attacked = _frames(heats_of.truth)
    return best_iou(heat[attacked], heats_of.truth[attacked] > COVERED)


def recognition(heats_of: CandidateHeats, heat: Tensor) -> float:
    """How well ``heat`` [N, 1, h, w] fires on what is adversarial, and on nothing else: the score of D."""
    return (_frame_auc(heats_of, heat) + _benign_auc(heats_of, heat)) / 2


def _single_scores(
    heats_of: CandidateHeats, cascades: Sequence[tuple[int, ...]], role: Callable[[CandidateHeats, Tensor], float]
) -> dict[str, RoleScore]:
    """Each layer alone, with the cascade that suits it best."""

    def best(layer: str) -> RoleScore:
        tried = [RoleScore((layer,), places, role(heats_of, heats_of.heat((layer,), places))) for places in cascades]
        return max(tried, key=lambda one: one.score)

    return {layer: best(layer) for layer in heats_of.heats}


def _extended(
    heats_of: CandidateHeats, alone: dict[str, RoleScore], role: Callable[[CandidateHeats, Tensor], float]
) -> RoleScore:
    chosen = max(alone.values(), key=lambda one: one.score)
    while len(chosen.layers) < MOST_LAYERS:
        rest = [layer for layer in heats_of.heats if layer not in chosen.layers]
        sets = [(*chosen.layers, layer) for layer in rest]
        tried = [RoleScore(s, chosen.places, role(heats_of, heats_of.heat(s, chosen.places))) for s in sets]
        better = max(tried, key=lambda one: one.score, default=chosen)
        if better.score < chosen.score + LEAST_GAIN:
            break
        chosen = better
    return chosen


def _report(
    heats_of: CandidateHeats, as_s: RoleScore, as_d: RoleScore, shallow: RoleScore, deep: RoleScore
) -> LayerReport:
    layer = as_s.layers[0]
    where, what = heats_of.heat((layer,), as_s.places), heats_of.heat((layer,), as_d.places)
    cells = where[heats_of.truth > COVERED], where[_clean(heats_of)]
    roles = (("S", "overlap", as_s, shallow), ("D", "recognition", as_d, deep))
    verdict = "; ".join(_verdict(layer, *role) for role in roles)
    figures = auc(*cells), _frame_auc(heats_of, what), _benign_auc(heats_of, what)
    return LayerReport(layer, as_s.score, *figures, verdict)


def _verdict(layer: str, role: str, measure: str, alone: RoleScore, chosen: RoleScore) -> str:
    if layer == chosen.layers[0]:
        return f"{role}: best {measure}, {alone.score:.3f}"
    if layer in chosen.layers:
        return f"{role}: lifts the {measure} to {chosen.score:.3f}"
    return f"not {role}: {measure} {alone.score:.3f} of {chosen.score:.3f}"


def _frame_auc(heats_of: CandidateHeats, heat: Tensor) -> float:
    hottest = heat.amax((-3, -2, -1))
    return auc(hottest[_frames(heats_of.truth)], hottest[_clean(heats_of)])


def _benign_auc(heats_of: CandidateHeats, heat: Tensor) -> float:
    return auc(heat[heats_of.truth > COVERED], heat[heats_of.benign > COVERED])


def _frames(coverage: Tensor) -> Tensor:
    return coverage.amax((-3, -2, -1)) > 0


def _clean(heats_of: CandidateHeats) -> Tensor:
    return ~(_frames(heats_of.truth) | _frames(heats_of.benign))


def _branch(chosen: RoleScore, kernels: tuple[Size, ...]) -> Branch:
    return Branch(chosen.layers, tuple(kernels[place] for place in chosen.places))
