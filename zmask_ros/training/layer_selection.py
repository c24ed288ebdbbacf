"""From clean frames and patches to a plan: which layers and kernels tell the two apart in this network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zmask_ros.defense import Profile, bind, working_grid
from zmask_ros.defense.evidence.grid import Size, resample
from zmask_ros.defense.evidence.overactivation import Branch, LayerOverActivation, fuse_layers, kernel_cascade
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import ActivationTaps, feature_layers
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.clean_fit import observe
from zmask_ros.training.examples import COVERED, Part, coverage, pictures
from zmask_ros.training.figures import auc, best_iou
from zmask_ros.training.plans import GRID_FRACTION, Plan, default_plan, kernels_on

# Cascades that are tried, by their places in the menu of kernels, the largest first.
SHALLOW_CASCADES = ((0, 2), (1, 3), (0, 1, 2, 3), (1,), (2,), (2, 3), (3,))
DEEP_CASCADES = ((0,), (1,), (0, 1), (2,))
MOST_LAYERS = 2
LEAST_GAIN = 0.01


class CandidateStatistics:
    """Clean statistics of many layers at once, for a menu of kernels; frames come one after the other."""

    def __init__(self, layers: Sequence[str], kernels: tuple[Size, ...], grid: Size) -> None:
        self._layers, self._kernels, self._grid = tuple(layers), kernels, grid
        self._moments: dict[str, Moments] = {}

    def add(self, taps: ActivationTaps) -> None:
        """Take the clean frames behind ``taps``."""
        for layer in self._layers:
            moments = observe(taps[layer], self._kernels, self._grid)
            self._moments[layer] = self._moments[layer].merge(moments) if layer in self._moments else moments

    def heat_makers(self) -> dict[str, LayerOverActivation]:
        """What makes heat maps of each layer that is finite and has channels that vary."""
        finite = {layer: LayerStatistics(m) for layer, m in self._moments.items() if m.finite}
        return {k: LayerOverActivation(s, self._kernels) for k, s in finite.items() if bool(s.alive.any())}


def candidate_heat(makers: dict[str, LayerOverActivation], taps: ActivationTaps, grid: Size) -> dict[str, Tensor]:
    """For each layer one heat map a kernel, float16 [1, K, *grid] on the CPU."""
    return {layer: _on_grid(maker.heat_maps(taps[layer], grid), grid) for layer, maker in makers.items()}


def _on_grid(maps: list[Tensor], grid: Size) -> Tensor:
    return resample(torch.cat(maps, 1), grid).half().cpu()


@dataclass(frozen=True)
class Observed:
    """Heat of all candidates on N pictures: clean ones, with an adversarial and with a harmless patch.

    Attributes:
        heats: by layer, [N, K, h, w], one map a kernel of the menu.
        truth, harmless: share of each cell that an adversarial, or a harmless patch covers, [N, 1, h, w], 0..1.
    """

    heats: dict[str, Tensor]
    truth: Tensor
    harmless: Tensor

    def heat(self, layers: Sequence[str], places: Sequence[int]) -> Tensor:
        """Heat [N, 1, h, w] of these layers, fused, with the cascade of these places in the menu."""
        return fuse_layers(
            [kernel_cascade([self.heats[layer][:, i : i + 1].float() for i in places]) for layer in layers]
        )


@dataclass(frozen=True)
class RoleScore:
    """A set of layers with a cascade, and how well it does in its role, 0..1."""

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
        harmless_auc: cells of adversarial patches against cells of harmless ones; the mean of the two decides on D.
        verdict: a sentence.
    """

    layer: str
    overlap: float
    pixel_auc: float
    frame_auc: float
    harmless_auc: float
    verdict: str


@dataclass(frozen=True)
class LayerChoice:
    """Layer sets S and D with their kernels on the grid, and a report on each candidate."""

    shallow: Branch
    deep: Branch
    reports: tuple[LayerReport, ...]


def choose_layers(observed: Observed, kernels: tuple[Size, ...]) -> LayerChoice:
    """The layers and cascades that do best in their roles.

    The best single layer of each role is taken; a further one is added where it lifts the score by ``LEAST_GAIN``.

    Args:
        observed: pictures of all three kinds, at least one candidate.
        kernels: the menu, largest first; four of them.
    """
    alone = {
        "S": _single_scores(observed, SHALLOW_CASCADES, localisation),
        "D": _single_scores(observed, DEEP_CASCADES, recognition),
    }
    shallow = _extended(observed, alone["S"], localisation)
    deep = _extended(observed, alone["D"], recognition)
    reports = tuple(_report(observed, alone["S"][layer], alone["D"][layer], shallow, deep) for layer in observed.heats)
    return LayerChoice(_branch(shallow, kernels), _branch(deep, kernels), reports)


def localisation(observed: Observed, heat: Tensor) -> float:
    """How well ``heat`` [N, 1, h, w] shows where adversarial patches are: the score of S."""
    attacked = _frames(observed.truth)
    return best_iou(heat[attacked], observed.truth[attacked] > COVERED)


def recognition(observed: Observed, heat: Tensor) -> float:
    """How well ``heat`` [N, 1, h, w] fires on what is adversarial, and on nothing else: the score of D."""
    return (_frame_auc(observed, heat) + _harmless_auc(observed, heat)) / 2


def _single_scores(
    observed: Observed, cascades: Sequence[tuple[int, ...]], role: Callable[[Observed, Tensor], float]
) -> dict[str, RoleScore]:
    """Each layer alone, with the cascade that suits it best."""

    def best(layer: str) -> RoleScore:
        tried = [RoleScore((layer,), places, role(observed, observed.heat((layer,), places))) for places in cascades]
        return max(tried, key=lambda one: one.score)

    return {layer: best(layer) for layer in observed.heats}


def _extended(observed: Observed, alone: dict[str, RoleScore], role: Callable[[Observed, Tensor], float]) -> RoleScore:
    chosen = max(alone.values(), key=lambda one: one.score)
    while len(chosen.layers) < MOST_LAYERS:
        rest = [layer for layer in observed.heats if layer not in chosen.layers]
        sets = [(*chosen.layers, layer) for layer in rest]
        tried = [RoleScore(s, chosen.places, role(observed, observed.heat(s, chosen.places))) for s in sets]
        better = max(tried, key=lambda one: one.score, default=chosen)
        if better.score < chosen.score + LEAST_GAIN:
            break
        chosen = better
    return chosen


def _report(observed: Observed, as_s: RoleScore, as_d: RoleScore, shallow: RoleScore, deep: RoleScore) -> LayerReport:
    layer = as_s.layers[0]
    where, what = observed.heat((layer,), as_s.places), observed.heat((layer,), as_d.places)
    cells = where[observed.truth > COVERED], where[_clean(observed)]
    roles = (("S", "overlap", as_s, shallow), ("D", "recognition", as_d, deep))
    verdict = "; ".join(_verdict(layer, *role) for role in roles)
    figures = auc(*cells), _frame_auc(observed, what), _harmless_auc(observed, what)
    return LayerReport(layer, as_s.score, *figures, verdict)


def _verdict(layer: str, role: str, measure: str, alone: RoleScore, chosen: RoleScore) -> str:
    if layer == chosen.layers[0]:
        return f"{role}: best {measure}, {alone.score:.3f}"
    if layer in chosen.layers:
        return f"{role}: lifts the {measure} to {chosen.score:.3f}"
    return f"not {role}: {measure} {alone.score:.3f} of {chosen.score:.3f}"


def _frame_auc(observed: Observed, heat: Tensor) -> float:
    hottest = heat.amax((-3, -2, -1))
    return auc(hottest[_frames(observed.truth)], hottest[_clean(observed)])


def _harmless_auc(observed: Observed, heat: Tensor) -> float:
    return auc(heat[observed.truth > COVERED], heat[observed.harmless > COVERED])


def _frames(coverage: Tensor) -> Tensor:
    return coverage.amax((-3, -2, -1)) > 0


def _clean(observed: Observed) -> Tensor:
    return ~(_frames(observed.truth) | _frames(observed.harmless))


def _branch(chosen: RoleScore, kernels: tuple[Size, ...]) -> Branch:
    return Branch(chosen.layers, tuple(kernels[place] for place in chosen.places))


# Shares of the image's height and width, largest first.
MENU = (0.21, 0.11, 0.05, 0.0)
LEAST_SIDE = 6
JUDGE_EVERY = 4
MOST_JUDGING = 40
MOST_STATISTICS = 120


def candidate_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """Layers down to two levels below the network, whose maps are large enough to say where something is."""
    grey = torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device)
    with torch.inference_mode():
        layers = feature_layers(segmenter.network, lambda: segmenter.logits(grey))
    return tuple(name for name, (_, height, width) in layers.items() if min(height, width) >= LEAST_SIDE)


def with_edge(segmenter: Segmenter, profile: Profile) -> Profile:
    """``profile`` whose masks end where the finest of the network's first layers says, if that is finer than the grid.

    The first ones are those up to the first of S: what a decoder brings back to full size has seen all of the image.
    """
    layers = bind(segmenter, candidate_layers(segmenter) + profile.detector.shallow.layers).shapes
    names = list(layers)
    first = names[: min(names.index(layer) for layer in profile.detector.shallow.layers) + 1]
    finest = max(first, key=lambda name: layers[name][1:])
    if min(own - cells for own, cells in zip(layers[finest][1:], profile.grid, strict=True)) <= 0:
        return profile
    detector = replace(profile.detector, growth=replace(profile.detector.growth, edge=finest))
    sharper = replace(profile, detector=detector)
    return replace(sharper, binding=bind(segmenter, sharper.bound_layers))


def choosing_passes(part: Part) -> int:
    """Number of images that `choose_plan` sends through the network."""
    clean, judging = _divide(part)
    return len(clean.frames) + judging.pictures


@torch.inference_mode()
def choose_plan(segmenter: Segmenter, part: Part, seen: Callable[[], None] = lambda: None) -> tuple[Plan, LayerChoice]:
    """The plan with the layers and kernels that do best on ``part``, and why.

    Every fourth frame judges, the others give the candidates' clean statistics; the growth is that of the default plan.

    Args:
        seen: called after each image that went through the network.

    Raises:
        ZmaskError: the network has no layer that could be tapped.
    """
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    kernels = kernels_on(grid, MENU)
    layers = candidate_layers(segmenter)
    if not layers:
        raise ZmaskError(f"Segmenter '{segmenter.name}' has no layer that could be tapped: see `zmask segmenters`.")
    clean, judging = _divide(part)
    taps = ActivationTaps(segmenter.network, layers)
    statistics = CandidateStatistics(layers, kernels, grid)
    for frame in clean.frames:
        with taps:
            segmenter.logits(segmenter.prepare(frame))
            statistics.add(taps)
        seen()
    makers = statistics.heat_makers()
    heats, truths, harmless = [], [], []
    for image, patch_mask, harmless_mask in pictures(judging):
        with taps:
            segmenter.logits(segmenter.prepare(image))
            heats.append(candidate_heat(makers, taps, grid))
        truths.append(coverage(patch_mask, grid))
        harmless.append(coverage(harmless_mask, grid))
        seen()
    stacked = {layer: torch.cat([heat[layer] for heat in heats]) for layer in makers}
    choice = choose_layers(Observed(stacked, torch.cat(truths), torch.cat(harmless)), kernels)
    return _plan(segmenter, choice), choice


def _divide(part: Part) -> tuple[Part, Part]:
    judging = [i for i in range(len(part.frames)) if i % JUDGE_EVERY == JUDGE_EVERY - 1][:MOST_JUDGING]
    clean = [i for i in range(len(part.frames)) if i % JUDGE_EVERY != JUDGE_EVERY - 1][:MOST_STATISTICS]
    one, other = (replace(part, frames=tuple(part.frames[i] for i in chosen)) for chosen in (clean, judging))
    return one, other


def _plan(segmenter: Segmenter, choice: LayerChoice) -> Plan:
    growth = default_plan(segmenter).growth
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    binding = bind(segmenter, choice.shallow.layers + choice.deep.layers)
    return Plan(binding, choice.shallow, choice.deep, growth, GRID_FRACTION, grid)
