"""Train the transferable head: the evidence head that `zmask fit` gives to networks that it was not trained on.

It learns on several networks, described by YAML files or by the names of segmenters that come with the package. For
each of them patches are optimized, a profile is fitted as `zmask fit` does, and the descriptors of held-out frames are
taken: clean, in other light, with benign pictures, and with the patches. Both are kept in the folder --work and made
once. The head then sees these descriptors, changed as another network might change them.

    PYTHONPATH=tools python tools/train_transferable_head.py out/networks/*.yaml lraspp_camvid \\
        -o models/transferable_head.safetensors
    ... --leave-out unet -o out/networks/heads/unet.safetensors    # to measure on a network that it has not seen

Of the segmenter that knows the street simulator, --street, its drives are shown as well, with patches on their
carriers. Pictures of other cameras are further benign frames if --roads, or ZMASK_ROADS, names a folder with
clips/*.mp4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, takewhile
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from train_network import LEARNED_DRIVES
from train_segmenter import camvid_frames, set_up_torch
from zmask_ros.attacks import (
    EotRanges,
    Recipe,
    load_patches,
    load_recipe,
    paste_at_random,
    recipe_path,
    save_patch,
    train_patch,
)
from zmask_ros.cli.console import progress
from zmask_ros.data.camvid import LabeledFrame
from zmask_ros.data.street import StreetDrive
from zmask_ros.data.textures.benign import benign_pictures, in_other_light
from zmask_ros.defense import ActivationTaps, Branch, Defense, LayerStatistics, Moments, Profile
from zmask_ros.defense.analyzer import LearnedEvidence
from zmask_ros.defense.evidence.descriptors import (
    DESCRIPTORS,
    MODERATE,
    VIEWS,
    DescriptorFeatures,
)
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.head import EvidenceHead, untrained_head
from zmask_ros.demo.scenario import CARRIERS, Scenario, clean_drives
from zmask_ros.io.files import replace_file
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.adversarial import EVEN_HEAT, HeadTraining, attacked_loss, benign_loss
from zmask_ros.training.clean_fit import CleanMeasurements, ProfileFit
from zmask_ros.training.double_oracle import ShownImages
from zmask_ros.training.encoder import SLOTS
from zmask_ros.training.margin import with_margin
from zmask_ros.training.plans import FittingPlan, transfer_plan
from zmask_ros.training.sources import CleanFrame, at_input_size
from zmask_ros.training.thresholds import opening_at
from zmask_ros.training.transfer import TransferableHead, save_transferable_head

NO_LAYERS = Branch(("none",) * SLOTS, ((1, 1),))
WORK = Path("out/networks/transfer")
STREET_SEGMENTER = "lraspp_camvid"
VARIED = EotRanges(
    scale=(0.5, 1.1), rotation_deg=(-8, 8), yaw_deg=(-25, 25), contrast=(0.7, 1.1), noise=(0, 0.03), blur=(0, 1)
)
TRAINING_PATCHES = {
    "big": Recipe((144, 144), 70, batch=2, lr=0.06, gamma=1.0, eot=VARIED, seed=6),
    "small": Recipe((72, 72), 60, batch=2, lr=0.06, gamma=1.0, eot=VARIED, patches=4, seed=7),
    "target": Recipe(
        (96, 160), 60, batch=2, lr=0.06, gamma=1.0, eot=VARIED, objective="targeted", target="Road", seed=8
    ),
}
BENIGN_PICTURES, BENIGN_SIZE = 40, (128, 128)
STREET_SIZE = Scenario(width=480, height=360)
STREET_DRIVES = 8
STREET_BENIGN_SEED, STREET_ATTACK_SEED = 300, 400
STREET_PICTURES, STREET_PICTURE_FRAMES = 12, 4
STREET_ATTACKS, STREET_ATTACK_FRAMES = 2, 12
"""Drives with each patch on each carrier, and frames of each of them."""
STREET_SECONDS = 12.0
CLIP_FRAMES = 12
"""Of each clip of another camera."""
FALSE_ALARM_RATE = 0.001
PAIRS = 8
"""Attacked frames a step, and as many benign ones."""
WEIGHT_DECAY = 1e-2
GAIN, LAYER_GAIN = 0.25, 0.2
"""Standard deviations of the logarithms of what a network's descriptors are multiplied by: each, and all of a layer."""
SHIFT = 0.3
"""Standard deviation of what is added to each descriptor, and to all of a layer, in deviations of clean cells."""
REPEATED_SHARE = 0.3
"""Of the frames, in which one layer stands for two, as in networks with few resolutions."""


def attacked_indices(images: ShownImages) -> np.ndarray:
    """Indices of the images with an adversarial patch."""
    return np.flatnonzero((images.share.flatten(1) > 0).any(1).numpy())


def benign_indices(images: ShownImages) -> np.ndarray:
    """Indices of the others."""
    return np.flatnonzero((images.share.flatten(1) == 0).all(1).numpy())


def clean_frames(frames: Sequence[LabeledFrame]) -> Iterator[CleanFrame]:
    """The frames as `zmask fit` counts them, each drive for itself."""
    for drive in dict.fromkeys(frame.drive for frame in frames):
        own = [frame for frame in frames if frame.drive == drive]
        yield from (CleanFrame(drive, "/camera/image_raw", index, frame.image) for index, frame in enumerate(own))


def fitted(segmenter: Segmenter, plan: FittingPlan, frames: Sequence[CleanFrame]) -> Profile:
    """What `zmask fit` makes of the plan."""
    return with_margin(segmenter, measured(segmenter, plan, frames), FALSE_ALARM_RATE, progress)


def measured(segmenter: Segmenter, plan: FittingPlan, frames: Sequence[CleanFrame]) -> CleanMeasurements:
    """What clean frames give."""
    fit = ProfileFit(segmenter, plan)
    with progress(f"Fitting {segmenter.name}", "frames", len(frames)) as advance:
        fit.add_all(frames, advance)
    return fit.measured()


def patch_against(
    segmenter: Segmenter, name: str, recipe: Recipe, frames: Sequence[np.ndarray], work: Path
) -> np.ndarray:
    """The patches of ``recipe``, uint8 [N, h, w, 3], made once and kept as ``name``.png."""
    png = work / segmenter.name / f"{name}.png"
    png.parent.mkdir(parents=True, exist_ok=True)
    if not png.exists() or load_recipe(png) != recipe or segmenter.digest not in recipe_path(png).read_text():
        with progress(f"Attacking {segmenter.name}: {name}", "steps", recipe.steps) as advance:
            result = train_patch(segmenter, [(frame, None) for frame in frames], recipe, lambda step: advance())
        save_patch(png, result, recipe, segmenter, ("CamVid",))
    return load_patches(png)


def untrained_transferable_head(seed: int = 0) -> TransferableHead:
    """A head with random weights, whose fusion block opens where a patch is more likely than not."""
    head = untrained_head(NO_LAYERS, SLOTS * VIEWS * DESCRIPTORS, seed, FeatureKind.DESCRIPTORS)
    return TransferableHead(head.tensors, opening_at(EVEN_HEAT / 2, EVEN_HEAT))


def features_of_no_network(grid: Size) -> DescriptorFeatures:
    """Features of layers with one channel: a head takes the grid and the number of its inputs from them."""
    (name,) = set(NO_LAYERS.layers)
    channel = LayerStatistics(Moments(1, torch.zeros(2, 1), torch.ones(2, 1)))
    clean = LayerStatistics(Moments(1, torch.zeros(1, DESCRIPTORS), torch.ones(1, DESCRIPTORS)))
    return DescriptorFeatures(NO_LAYERS, {name: channel}, {name: clean}, {name: grid}, grid)


def head_of(segmenter: Segmenter, profile: Profile) -> EvidenceHead:
    """The evidence head of the profile, ready to run."""
    evidence = Defense(segmenter, profile).analyzer.evidence
    assert isinstance(evidence, LearnedEvidence)
    return evidence.head


Shot = tuple[np.ndarray, np.ndarray]
"""An image, uint8 [H, W, 3] RGB, and the mask of its adversarial patches, bool [H, W]."""


def without_patch(image: np.ndarray) -> Shot:
    """A benign image."""
    return image, np.zeros(image.shape[:2], bool)


def camvid_shots(frames: Sequence[np.ndarray], patches: Sequence[np.ndarray]) -> Iterator[Shot]:
    """Each frame as it is, in other light, with a benign picture, and with each of the patches."""
    generator, rng = torch.Generator().manual_seed(3), np.random.default_rng(3)
    pictures = benign_pictures(BENIGN_PICTURES, BENIGN_SIZE, frames, seed=1)
    for frame in frames:
        yield without_patch(frame)
        yield without_patch(in_other_light(frame, rng))
        picture = pictures[int(rng.integers(len(pictures)))]
        yield without_patch(paste_at_random(frame, picture, VARIED, generator)[0])
        for own in patches:
            yield paste_at_random(frame, own, VARIED, generator)


def street_shots(frames: Sequence[np.ndarray], patches: Sequence[np.ndarray]) -> Iterator[Shot]:
    """Each frame as it is and in other light, then drives with benign pictures and with each patch on a carrier."""
    rng = np.random.default_rng(3)
    for frame in frames:
        yield without_patch(frame)
        yield without_patch(in_other_light(frame, rng))
    carried = [
        (picture, carrier)
        for picture in benign_pictures(STREET_PICTURES, BENIGN_SIZE, frames[::3], seed=1)
        for carrier in CARRIERS
    ]
    for seed, (picture, carrier) in enumerate(carried, STREET_BENIGN_SEED):
        for image, _ in carrier_shots(seed, carrier, picture, STREET_PICTURE_FRAMES):
            yield without_patch(image)
    attacks = [(own[0], carrier) for own in patches for carrier in CARRIERS] * STREET_ATTACKS
    for seed, (patch, carrier) in enumerate(attacks, STREET_ATTACK_SEED):
        yield from carrier_shots(seed, carrier, patch, STREET_ATTACK_FRAMES)


def carrier_shots(seed: int, carrier: str, picture: np.ndarray, count: int) -> Iterator[Shot]:
    """Those of ``count`` frames of a simulated drive in which the picture is seen."""
    size = STREET_SIZE.width, STREET_SIZE.height
    for frame in StreetDrive(seed, STREET_SECONDS, count / STREET_SECONDS, *size, carrier, picture):
        if frame.patch_mask.any():
            yield frame.image, frame.patch_mask


def street_frames() -> list[CleanFrame]:
    """Clean drives of the street simulator."""
    return [
        CleanFrame(f"street {drive.seed}", "/camera/image_raw", index, frame.image)
        for drive in clean_drives(STREET_DRIVES, STREET_SIZE)
        for index, frame in enumerate(drive)
    ]


@dataclass(frozen=True)
class World:
    """Where a network is shown to a head.

    Attributes:
        name: of what is kept.
        clean: frames; those that are held out of the statistics are shown.
        shots: makes what is shown of the held-out frames and of patches, each uint8 [N, h, w, 3].
        others: further benign images, uint8 [H, W, 3] RGB each.
    """

    name: str
    clean: Sequence[CleanFrame]
    shots: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Iterator[Shot]]
    others: Sequence[np.ndarray] = ()


def show(segmenter: Segmenter, world: World, patches: Sequence[np.ndarray], made_of: str, work: Path) -> ShownImages:
    """What the frames of a world show a head on this network, with patches and without.

    Args:
        segmenter: the network.
        world: the frames.
        patches: adversarial ones, each uint8 [N, h, w, 3].
        made_of: what else it depends on.
        work: folder in which the result is kept.
    """
    path = work / segmenter.name / f"{world.name}.safetensors"
    made_of = f"{segmenter.digest}, {len(world.clean)} frames, {len(world.others)} other pictures, {made_of}"
    if (kept := _read(path, made_of)) is not None:
        return kept
    plan = transfer_plan(segmenter, untrained_transferable_head())
    head = head_of(segmenter, measured(segmenter, plan, world.clean).profile(FALSE_ALARM_RATE))
    held_out = [at_input_size(segmenter, frame.image) for frame in world.clean if frame.held_out]
    shots = chain(world.shots(held_out, patches), map(without_patch, world.others))
    images: list[ShownImages] = []
    with (
        progress(f"Showing {segmenter.name}, {world.name}", "images", None) as advance,
        torch.inference_mode(),
        ActivationTaps(segmenter.network, head.branch.layers) as taps,
    ):
        for image, mask in shots:
            segmenter.logits(segmenter.prepare(image))
            images.append(ShownImages.of(head, taps, mask))
            advance()
    shown = ShownImages.joined(images)
    tensors = {str(slot): own for slot, own in enumerate(shown.seen)} | {"share": shown.share}
    replace_file(path, save(tensors, metadata={"made_of": made_of}))
    return shown


def _read(path: Path, made_of: str) -> ShownImages | None:
    """What was kept, if it was made of the same."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        if file.metadata()["made_of"] != made_of:
            return None
        return ShownImages(tuple(file.get_tensor(str(slot)) for slot in range(SLOTS)), file.get_tensor("share"))


def as_another_network(standardized: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
    """The descriptors of a frame as another network might have them: stretched, shifted, a layer in another's place.

    Args:
        standardized: of each layer, [1, DESCRIPTORS, h, w], in `MODERATE` deviations.
        rng: of every choice.
    """
    changed = []
    for own in standardized:
        gain = np.exp(rng.normal(0, GAIN, DESCRIPTORS) + rng.normal(0, LAYER_GAIN))
        shift = (rng.normal(0, SHIFT, DESCRIPTORS) + rng.normal(0, SHIFT)) / MODERATE
        changed.append(own * _column(gain) + _column(shift))
    if rng.random() < REPEATED_SHARE:
        changed[int(rng.integers(len(changed)))] = changed[int(rng.integers(len(changed)))]
    return changed


def _column(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float()[None, :, None, None]


def train_head(networks: Sequence[ShownImages], steps: int, seed: int = 0) -> TransferableHead:
    """A head that has learned on these networks, which all have one working grid."""
    untrained = untrained_transferable_head(seed)
    grid = (int(networks[0].share.shape[-2]), int(networks[0].share.shape[-1]))
    head = EvidenceHead(untrained.head(NO_LAYERS.layers, (1, 1)), features_of_no_network(grid))
    trainer, rng = HeadTraining(head, steps, WEIGHT_DECAY), np.random.default_rng(seed)
    attacked, benign = [attacked_indices(own) for own in networks], [benign_indices(own) for own in networks]

    def drawn(indices: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Heat and share [PAIRS, 1, *grid] of frames, each of a random network."""
        heats, shares = [], []
        for number in rng.integers(len(networks), size=PAIRS):
            chosen = networks[number].only(int(rng.choice(indices[number])))
            descriptors, share = chosen.seen, chosen.share
            if rng.random() < 0.5:
                descriptors, share = tuple(own.flip(-1) for own in descriptors), share.flip(-1)
            heats.append(head.heat_of_seen(as_another_network(descriptors, rng)))
            shares.append(share)
        return torch.cat(heats), torch.cat(shares)

    with progress("Training the head", "steps", steps) as advance:
        for _ in range(steps):
            loss = attacked_loss(*drawn(attacked)) + benign_loss(drawn(benign)[0])
            advance(note=f"loss {trainer.descend(loss):.2f}")
    return TransferableHead(trainer.averaged().tensors, untrained.opening)


def road_pictures(folder: Path) -> list[np.ndarray]:
    """Frames, uint8 [H, W, 3] RGB, spread over each of the clips in ``folder``/clips."""
    pictures = []
    for path in sorted((folder / "clips").glob("*.mp4")):
        clip = cv2.VideoCapture(str(path))
        every = max(1, int(clip.get(cv2.CAP_PROP_FRAME_COUNT)) // CLIP_FRAMES)
        pictures += [picture for _, picture in each_nth(clip, every)]
    return pictures


def each_nth(clip: cv2.VideoCapture, every: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each so many-th frame of a clip, uint8 [H, W, 3] RGB, with its number."""
    for number in takewhile(lambda _: clip.grab(), count()):
        if number % every == 0:
            yield number, cv2.cvtColor(clip.retrieve()[1], cv2.COLOR_BGR2RGB)


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--leave-out", help="Name of a network that the head shall not see.")
@click.option("--steps", default=700, show_default=True, help="Of the head's optimizer.")
@click.option("--patch-steps", type=int, help="Override the number of steps of each patch.")
@click.option("--every", default=1, show_default=True, help="Take each n-th frame.")
@click.option(
    "--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="What is kept goes here."
)
@click.option(
    "--roads",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="ZMASK_ROADS",
    help="Folder with clips/*.mp4 of other cameras: further benign frames. [env: ZMASK_ROADS]",
)
@click.option("--street", "street", default=STREET_SEGMENTER, show_default=True, help="The network that knows it.")
@click.option("--seed", default=0, show_default=True)
def main(
    networks: tuple[str, ...],
    output: Path,
    leave_out: str | None,
    steps: int,
    patch_steps: int | None,
    every: int,
    work: Path,
    roads: Path | None,
    street: str,
    seed: int,
) -> None:
    """Show each network's frames to a head, and train it."""
    set_up_torch(seed)
    segmenters = [load_segmenter(name, "cpu") for name in networks]
    if leave_out is not None and leave_out not in {own.name for own in segmenters}:
        raise click.ClickException(
            f"There is no network '{leave_out}' to leave out: name one of {', '.join(own.name for own in segmenters)}."
        )
    segmenters = [own for own in segmenters if own.name != leave_out]
    if not segmenters:
        raise click.ClickException("No network is left to learn from: name another one.")
    recipes = {
        name: recipe if patch_steps is None else replace(recipe, steps=patch_steps)
        for name, recipe in TRAINING_PATCHES.items()
    }
    frames = list(clean_frames(camvid_frames("train", LEARNED_DRIVES)[::every]))
    camvid = World("camvid", frames, camvid_shots, [] if roads is None else road_pictures(roads))
    shown = []
    for own in segmenters:
        learned = [frame.image for frame in frames[::3]]
        patches = [patch_against(own, name, recipe, learned, work) for name, recipe in recipes.items()]
        worlds = [camvid, World("street", street_frames()[::every], street_shots)] if own.name == street else [camvid]
        shown += [show(own, world, patches, str(recipes), work) for world in worlds]
    output.parent.mkdir(parents=True, exist_ok=True)
    save_transferable_head(train_head(shown, steps, seed), output)
    click.echo(f"{output}: learned on {', '.join(own.name for own in segmenters)}")


if __name__ == "__main__":
    main()
