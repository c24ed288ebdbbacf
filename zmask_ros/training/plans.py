"""What is fitted: the layers, kernels, grid and mask growth of a profile, by default and as in the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from zmask_ros.defense import Profile, ProfileError, bind, check_binding, working_grid
from zmask_ros.defense.evidence.grid import Size, nearest_odd
from zmask_ros.defense.evidence.head import Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.profile.detector import statistics_key
from zmask_ros.defense.profile.profile import OURS, PAPER, Binding, MergeKey, merge_key
from zmask_ros.segmenters import Segmenter
from zmask_ros.training.encoder import SLOTS, edge_layer, encoder_layers
from zmask_ros.training.transfer import KERNEL_SHARE, TransferableHead, load_transferable_head

MEAN_Z = "mean-z"
"""What our plan without a head is called; its profile is of our variant."""
GRID_FRACTION = 8
# Shares of the image's height and width. The reference cascades four kernels, 0.43 to 0.05, on S: their product falls
# off towards the patch's border. Two on S, of which the last is one grid cell, keep it sharp.
SHALLOW_KERNELS = (0.11, 0.0)
DEEP_KERNELS = (0.11,)
GROWTH_SHARE = 0.3
CLOSING = 0.14
# The paper's variant: the four kernels of the reference, 64x128 to 8x16 on its grid of 150x300, and no growth.
PAPER_SHALLOW_KERNELS = (64 / 150, 32 / 150, 16 / 150, 8 / 150)
PAPER_DEEP_KERNELS = PAPER_SHALLOW_KERNELS[:2]
NO_GROWTH = Growth(1.0, (1, 1))
HEAD_GROWTH = Growth(1.0, (3, 3), 0.05)
"""Of the masks of a head, whose heat ends with a patch."""
SOLID = 0.4
"""Of the masks of what learned from attackers on this very network, who keep a part of a patch cool; see `Growth`.

Under the transferable head, what is hot beside a patch would be completed as well.
"""


@dataclass(frozen=True)
class LearnedPart:
    """What a fit keeps as it is: a head, and ``opening``, float [8], the fusion block that goes with it."""

    head: Head
    opening: Tensor


@dataclass(frozen=True)
class FittingPlan:
    """What is fitted.

    Attributes:
        binding: the network, and its layers.
        shallow, deep: the layer sets S and D with their kernels.
        growth: how the mask grows.
        grid_fraction: the working grid G is the input size divided by this.
        variant: which sigma the z-scores are taken with: ``ours``, of the pooled activations, one a kernel; ``paper``,
            of the activations themselves, the same for all kernels.
        learned: a head that is there already; None: the evidence are the mean z-scores of S and D.
        precaution_rate: share of clean frames that may be masked without being flagged, in 0..1; None: none.
    """

    binding: Binding
    shallow: Branch
    deep: Branch
    growth: Growth
    grid_fraction: int
    variant: str = OURS
    learned: LearnedPart | None = None
    precaution_rate: float | None = None

    @property
    def head(self) -> Head | None:
        """The head that is there already."""
        return None if self.learned is None else self.learned.head

    @property
    def head_transfers(self) -> bool:
        """Whether it has a head that was trained on other networks, and has not seen this one attacked."""
        return self.head is not None and self.head.transfers

    @property
    def grid(self) -> Size:
        """Height and width of the working grid G."""
        return working_grid(self.binding.input_size, self.grid_fraction)

    @property
    def merge_key(self) -> MergeKey | None:
        """What must be alike in profiles that are merged."""
        return merge_key(self.grid_fraction, self.shallow, self.deep, self.growth, self.variant, self.head)

    @property
    def branches(self) -> Iterator[tuple[str, str, Branch]]:
        """(statistics key, layer, branch) of every layer in S, in D and of the head, each once."""
        learned = () if self.head is None else (("head", self.head.branch),)
        for name, branch in (("shallow", self.shallow), ("deep", self.deep), *learned):
            for layer in dict.fromkeys(branch.layers):
                yield statistics_key(name, layer), layer, branch


def mean_z_plan(segmenter: Segmenter) -> FittingPlan:
    """Our plan without a head: the layer sets and kernels of mean z-scores.

    Raises:
        LayerError: its description names a layer that the network does not have.
        ProfileError: it names some for S or for D alone.
    """
    shallow_layers, deep_layers = described_layers(segmenter)
    return plan_for(segmenter, shallow_layers, deep_layers)


def plan_for(segmenter: Segmenter, shallow_layers: tuple[str, ...], deep_layers: tuple[str, ...]) -> FittingPlan:
    """The kernels and the growth of mean z-scores, for these layers.

    Raises:
        LayerError: the network does not have one of them.
    """
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    shallow = Branch(shallow_layers, kernels_on(grid, SHALLOW_KERNELS))
    deep = Branch(deep_layers, kernels_on(grid, DEEP_KERNELS))
    closing = nearest_odd(CLOSING * grid[0])
    growth = Growth(GROWTH_SHARE, (closing, closing))
    return FittingPlan(bind(segmenter, shallow_layers + deep_layers), shallow, deep, growth, GRID_FRACTION)


def transfer_plan(segmenter: Segmenter, transferable: TransferableHead | None = None) -> FittingPlan:
    """Our plan: a head that was trained on other networks, and masks that end where a fine layer says.

    The mean z-scores of S and D are fitted as well, for who wants to compare or to calibrate.

    Args:
        segmenter: the network.
        transferable: the head; None: the one that comes with the package.

    Raises:
        LayerError: the description names a layer that the network does not have.
        ZmaskError: it names some for S or for D alone, or the network has none that could be tapped.
    """
    plan, transferable = mean_z_plan(segmenter), transferable or load_transferable_head()
    layers = encoder_layers(segmenter)
    edge = edge_layer(segmenter, plan.grid)
    binding = bind(segmenter, (*plan.shallow.layers, *plan.deep.layers, *layers, *([] if edge is None else [edge])))
    head = transferable.head(layers, kernels_on(plan.grid, (KERNEL_SHARE,))[0])
    growth = replace(HEAD_GROWTH, edge=edge)
    return replace(plan, binding=binding, growth=growth, learned=LearnedPart(head, transferable.opening))


def completing(growth: Growth) -> Growth:
    """The growth of what learned from attackers: `SOLID`, if it is not lower already.

    Without a layer for the edge nothing would take the street between two patches out of a rectangle again.
    """
    return growth if growth.edge is None else replace(growth, solid=min(growth.solid, SOLID))


def plan_of(segmenter: Segmenter, profile: Profile) -> FittingPlan:
    """The plan that fits ``profile`` anew, to another camera or city: its layers, head and growth are kept.

    Raises:
        ProfileError: the profile belongs to another network.
    """
    plain, own = profile.without_screen(), profile.detector
    check_binding(plain.binding, segmenter, plain.bound_layers)
    return FittingPlan(
        plain.binding,
        own.shallow,
        own.deep,
        own.growth,
        own.grid_fraction,
        profile.variant,
        None if own.head is None else LearnedPart(own.head, own.fusion),
        None if own.precaution is None or own.alarm_is_raised else own.precaution.false_alarm_rate,
    )


def paper_plan(segmenter: Segmenter) -> FittingPlan:
    """The paper's own choices, as its reference code makes them, to compare with.

    Four cascaded kernels on S and the two largest of them on D, D with the shallow layers in it, one sigma a channel
    whatever the kernel, and the mask as the fusion block gives it.

    Raises:
        LayerError: the description names a layer that the network does not have.
        ProfileError: it names some for S or for D alone.
    """
    shallow_layers, deep_layers = described_layers(segmenter)
    grid = working_grid(segmenter.input_size, GRID_FRACTION)
    shallow = Branch(shallow_layers, kernels_on(grid, PAPER_SHALLOW_KERNELS))
    deep_layers = tuple(dict.fromkeys(deep_layers + shallow_layers))
    deep = Branch(deep_layers, kernels_on(grid, PAPER_DEEP_KERNELS))
    binding = bind(segmenter, shallow.layers + deep.layers)
    return FittingPlan(binding, shallow, deep, NO_GROWTH, GRID_FRACTION, PAPER)


def head_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """The layers of an evidence head that sees channels: those that the description names, or the encoder's."""
    return segmenter.description.head_layers or _distinct(encoder_layers(segmenter))


def screen_layers(segmenter: Segmenter) -> tuple[str, ...]:
    """The layers of a screening, as of `head_layers`."""
    return segmenter.description.screen_layers or _distinct(encoder_layers(segmenter))


def _distinct(layers: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layers))


def described_layers(segmenter: Segmenter) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """S and D; where the description names neither, the finer and the coarser ones of the encoder's."""
    layers = segmenter.description.shallow_layers, segmenter.description.deep_layers
    if not any(layers):
        slots = encoder_layers(segmenter)
        return _distinct(slots[: SLOTS // 2]), _distinct(slots[SLOTS // 2 :])
    for name, named in zip(("shallow", "deep"), layers, strict=True):
        if not named:
            raise ProfileError(
                f"The description of {segmenter.name} has no layers in '{name}', and there is nothing to fit without: "
                f"name one, `zmask segmenters {segmenter.description.source}` lists them, or leave `layers` away."
            )
    return layers


PLANS: dict[str, Callable[[Segmenter], FittingPlan]] = {
    OURS: transfer_plan,
    MEAN_Z: mean_z_plan,
    PAPER: paper_plan,
}
"""How a plan is made, by the name of its variant."""


def kernels_on(grid: Size, shares: tuple[float, ...]) -> tuple[Size, ...]:
    """Kernels that are these shares of the grid's height and width, odd."""
    return tuple((nearest_odd(share * grid[0]), nearest_odd(share * grid[1])) for share in shares)
