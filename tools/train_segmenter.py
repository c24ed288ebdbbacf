"""Train the shipped segmenters from scratch: lraspp_mobilenet_v3_large, and an ordinary U-Net.

The first is trained on CamVid and on the street world, in four stages, each a one-cycle schedule: CamVid alone first
(few frames, the harder task), then batches of both worlds, then longer with more of the street world, and last with
parts hidden as the defense hides them. The weights that are kept are an exponential moving average.

    python tools/train_segmenter.py --stage camvid -o out/train/camvid.pt
    python tools/train_segmenter.py --stage joint --start out/train/camvid.pt -o out/train/joint.pt
    python tools/train_segmenter.py --stage long --start out/train/joint.pt -o out/train/long.pt
    python tools/train_segmenter.py --stage hidden --start out/train/long.pt -o out/train/hidden.pt

The U-Net is trained as people train networks: on CamVid, in one stage, with nothing hidden.

    python tools/train_segmenter.py --network unet --stage ordinary -o out/train/unet.pt
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from zmask_ros.data.camvid import CamVid, LabeledFrame, camvid_root
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import inpaint
from zmask_ros.evaluation.metrics.segmentation import Confusion
from zmask_ros.io.images.nearest import resize_nearest
from zmask_ros.segmenters.unet import small_unet

NUM_CLASSES = 11
IGNORE = 255
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
CROP = (240, 320)
FRAME = (360, 480)


@dataclass(frozen=True)
class Stage:
    """One one-cycle schedule.

    Attributes:
        steps: number of optimizer steps.
        batch: crops a step.
        peak_lr: highest learning rate.
        street_share: share of the crops that are of the street world.
        loss_stride: the loss is taken of every such row and column; 2 saves a third of the time.
        hidden_share: share of the crops in which something is hidden, see `hide`.
        crop: height and width of the crops.
        average_decay: of the moving average of the weights, a step.
    """

    steps: int
    batch: int
    peak_lr: float
    street_share: float
    loss_stride: int
    hidden_share: float = 0.0
    crop: tuple[int, int] = CROP
    average_decay: float = 0.995


STAGES = {
    "camvid": Stage(steps=1800, batch=8, peak_lr=3e-3, street_share=0.0, loss_stride=1),
    "joint": Stage(steps=1700, batch=8, peak_lr=2e-3, street_share=0.375, loss_stride=2),
    "long": Stage(steps=4200, batch=8, peak_lr=1.5e-3, street_share=0.625, loss_stride=2),
    "ordinary": Stage(steps=3600, batch=8, peak_lr=3e-3, street_share=0.0, loss_stride=2),
    "hidden": Stage(steps=1500, batch=8, peak_lr=8e-4, street_share=0.5, loss_stride=2, hidden_share=0.6),
}


@dataclass(frozen=True)
class Network:
    """A network that is shipped.

    Attributes:
        build: makes it, untrained.
        scores: the layer whose biases are those of the classes.
    """

    build: Callable[[], nn.Module]
    scores: str


NETWORKS = {
    "lraspp": Network(
        lambda: lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=NUM_CLASSES),
        "classifier.high_classifier",
    ),
    "unet": Network(lambda: small_unet(NUM_CLASSES), "classifier"),
}


@dataclass(frozen=True)
class Frames:
    """``images`` [N,h,w,3] uint8 RGB and ``labels`` [N,h,w] uint8, 255 = unlabelled."""

    images: np.ndarray
    labels: np.ndarray


def camvid_frames(split: str, drives: Collection[str] = ()) -> list[LabeledFrame]:
    """The frames of a split of CamVid: all of them, or those of some drives."""
    root = camvid_root()
    if root is None:
        raise click.ClickException("CamVid was not found: set ZMASK_CAMVID to the folder with train/ and trainannot/.")
    return list(CamVid(root, split, drives))


def load_camvid(split: str, drives: Collection[str] = ()) -> Frames:
    """The same in one array, at their own size."""
    frames = camvid_frames(split, drives)
    return Frames(np.stack([f.image for f in frames]), np.stack([f.labels for f in frames]))


def load_street(seeds: Sequence[int], frames_per_seed: int) -> Frames:
    """Frames spread over drives of the street world, brought to the network's input size."""
    images, labels = [], []
    for seed in seeds:
        carrier = (None, "billboard", "truck")[seed % 3]
        drive = StreetDrive(seed, duration_s=20.0, carrier=carrier)
        for index in np.linspace(0, len(drive) - 1, frames_per_seed).astype(int):
            frame = drive[int(index)]
            size = (FRAME[1], FRAME[0])
            images.append(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))
            labels.append(resize_nearest(frame.labels, FRAME))
    return Frames(np.stack(images), np.stack(labels))


def random_crop(
    frames: Frames, rng: np.random.Generator, crop: tuple[int, int] = CROP
) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a random frame, scaled by 2/3 (at `CROP` the whole frame) to 1.8, flipped, with shifted colors."""
    i = rng.integers(len(frames.images))
    image, labels = frames.images[i], frames.labels[i]
    scale = np.exp(rng.uniform(np.log(2 / 3), np.log(1.8)))
    height, width = (min(round(c / scale), f) for c, f in zip(crop, FRAME, strict=True))
    top, left = rng.integers(FRAME[0] - height + 1), rng.integers(FRAME[1] - width + 1)
    window = np.s_[top : top + height, left : left + width]
    size = (crop[1], crop[0])
    image = cv2.resize(image[window], size, interpolation=cv2.INTER_LINEAR)
    labels = resize_nearest(labels[window], crop)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return shift_colors(image, rng), np.ascontiguousarray(labels)


def shift_colors(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, saturation, gamma, white balance, and sometimes blur and noise.

    Takes uint8 [h, w, 3] and returns float32 [h, w, 3] in 0..1.
    """
    x = image.astype(np.float32) / 255.0
    x = (x - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.uniform(-0.12, 0.12)
    gray = x.mean(axis=2, keepdims=True)
    x = gray + (x - gray) * rng.uniform(0.5, 1.4)
    x = x * rng.uniform(0.92, 1.08, size=3).astype(np.float32)
    x = np.clip(x, 0, 1) ** np.float32(rng.uniform(0.75, 1.35))
    if rng.random() < 0.15:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.25:
        x = x + rng.normal(0, rng.uniform(0.005, 0.03), x.shape).astype(np.float32)
    return np.clip(x, 0, 1)


def make_batch(
    sources: Sequence[tuple[Frames, int]],
    rng: np.random.Generator,
    hidden_share: float = 0.0,
    crop: tuple[int, int] = CROP,
) -> tuple[Tensor, Tensor]:
    """So many random crops of each source: normalized images [B, 3, h, w] and labels, int64 [B, h, w]."""
    crops = [random_crop(frames, rng, crop) for frames, count in sources for _ in range(count)]
    images = torch.from_numpy(np.stack([c[0] for c in crops])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([c[1] for c in crops])).long()
    images = (images - MEAN) / STD
    if hidden_share > 0:
        images, labels = hide(images, labels, hidden_share, rng)
    return images.contiguous(memory_format=torch.channels_last), labels


def hide(images: Tensor, labels: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """In ``share`` of the images hide one to four rectangles, as the defense does, or put something strange there.

    The labels there become unlabelled: nobody has to guess what is behind, but all around it must be right.
    """
    mask = torch.zeros_like(images[:, :1])
    crop = images.shape[-2:]
    for i in np.flatnonzero(rng.random(len(mask)) < share):
        for _ in range(rng.integers(1, 5)):
            height, width = (int(c * np.sqrt(rng.uniform(0.005, 0.12))) for c in crop)
            top, left = rng.integers(crop[0] - height + 1), rng.integers(crop[1] - width + 1)
            mask[i, 0, top : top + height, left : left + width] = 1
    filled, strangers = inpaint(images, mask), images.roll(1, 0)
    noise = torch.from_numpy(rng.normal(size=images.shape).astype(np.float32))
    kinds = torch.from_numpy(rng.choice(3, len(images), p=(0.7, 0.15, 0.15)))[:, None, None, None]
    content = torch.where(kinds == 0, filled, torch.where(kinds == 1, strangers, noise))
    return torch.where(mask > 0, content, images), labels.masked_fill(mask[:, 0] > 0, IGNORE)


def class_weights(sources: Sequence[tuple[Frames, int]]) -> Tensor:
    """Inverse square root of each class's share, mean 1, at most 4: rare classes count more, none rules."""
    share = np.zeros(NUM_CLASSES)
    for frames, count in sources:
        counts = np.bincount(frames.labels.ravel(), minlength=256)[:NUM_CLASSES]
        share += count * counts / counts.sum()
    weights = 1.0 / np.sqrt(share / share.sum() + 1e-4)
    return torch.tensor(np.minimum(weights / weights.mean(), 4.0), dtype=torch.float32)


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """The scores [B, 11, h, w] of a network that puts out a tensor, or a dictionary as torchvision's do."""
    output = network(images)
    return output["out"] if isinstance(output, dict) else output


def segmentation_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy plus the soft Dice loss of the classes that are present."""
    entropy = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, label_smoothing=0.02)
    valid = (labels != IGNORE).unsqueeze(1)
    probability = logits.softmax(1) * valid
    truth = F.one_hot(labels.clamp(max=NUM_CLASSES - 1), NUM_CLASSES).permute(0, 3, 1, 2) * valid
    both, total = (probability * truth).sum((0, 2, 3)), (probability + truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    return entropy + 0.5 * (1 - (2 * both + 1) / (total + 1))[present].mean()


@torch.no_grad()
def settle(network: nn.Module, sources: Sequence[tuple[Frames, int]], batches: int = 60) -> nn.Module:
    """Set the batch-norm statistics of averaged weights: those gathered while the weights moved do not fit them."""
    rng = np.random.default_rng(0)
    update_bn((make_batch(sources, rng)[0] for _ in range(batches)), network)
    return network.eval()


@torch.inference_mode()
def balance(network: nn.Module, scores: str, sources: Sequence[tuple[Frames, int]], frames: int = 80) -> None:
    """Set each class's bias, in the layer ``scores``, such that the mIoU on training frames is highest.

    Each source counts alike.

    A loss that weights rare classes up helps them to be learned at all, but makes the network see them too often
    (Menon et al., ICLR 2021, take the weights back from the logits; here the data say by how much).
    """
    samples = [sampled_logits(network, source, frames) for source, _ in sources]
    bias = torch.zeros(NUM_CLASSES)

    def quality(candidate: Tensor) -> float:
        return float(np.mean([miou_of((logits + candidate).argmax(1).numpy(), truth) for logits, truth in samples]))

    best = quality(bias)
    for step in (0.8, 0.4, 0.2, 0.1):
        for c in [*range(NUM_CLASSES)] * 2:
            for sign in (-1.0, 1.0):
                candidate = bias.clone()
                candidate[c] += sign * step
                found = quality(candidate)
                if found > best:
                    best, bias = found, candidate
    network.get_submodule(scores).bias += bias  # type: ignore[union-attr, operator]
    click.echo(json.dumps({"biases": [round(float(b), 2) for b in bias], "train_miou": round(best, 4)}))


def sampled_logits(network: nn.Module, source: Frames, frames: int) -> tuple[Tensor, np.ndarray]:
    """Logits [N, 11] and labels [N] at every fourth row and column of frames that are spread over ``source``."""
    network.eval()
    scores, truth = [], []
    for i in np.linspace(0, len(source.images) - 1, frames).astype(int):
        logits = logits_of(network, network_input(source.images[i]))[0, :, 2::4, 2::4]
        scores.append(logits.flatten(1).T)
        truth.append(source.labels[i][2::4, 2::4].ravel())
    return torch.cat(scores), np.concatenate(truth)


def network_input(image: np.ndarray) -> Tensor:
    """One image, uint8 [h, w, 3], as the network takes it: normalized, [1, 3, h, w]."""
    x = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0 - MEAN) / STD
    return x.contiguous(memory_format=torch.channels_last)


def miou_of(predicted: np.ndarray, truth: np.ndarray) -> float:
    """MIoU of labels [N] over the classes that occur in the truth."""
    counts = Confusion(NUM_CLASSES)
    counts.add(predicted, truth)
    return counts.miou()


@torch.inference_mode()
def mean_iou(network: nn.Module, frames: Frames) -> float:
    """MIoU at the frames' own size."""
    network.eval()
    counts = Confusion(NUM_CLASSES)
    for image, labels in zip(frames.images, frames.labels, strict=True):
        counts.add(logits_of(network, network_input(image)).argmax(1)[0].numpy(), labels)
    return counts.miou()


def set_up_torch(seed: int) -> None:
    """Seed it, and give it as many threads as ``ZMASK_TRAIN_THREADS`` says; by default, one for each core."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    torch.set_num_threads(int(os.environ.get("ZMASK_TRAIN_THREADS", os.cpu_count() or 1)))


def train(
    network: nn.Module,
    sources: Sequence[tuple[Frames, int]],
    stage: Stage,
    seed: int,
    report: Callable[[int, float, nn.Module], None],
) -> nn.Module:
    """Run one stage; returns the network with the moving average of the weights.

    ``report`` is called after each step with its number from 1, the loss, and that network.
    """
    rng = np.random.default_rng(seed)
    weights = class_weights(sources)
    optimizer = torch.optim.AdamW(network.parameters(), lr=stage.peak_lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, stage.peak_lr, total_steps=stage.steps, pct_start=0.15)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(stage.average_decay))
    for step in range(1, stage.steps + 1):
        images, labels = make_batch(sources, rng, stage.hidden_share, stage.crop)
        network.train()
        seen = np.s_[..., :: stage.loss_stride, :: stage.loss_stride]
        loss = segmentation_loss(logits_of(network, images)[seen], labels[seen], weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        report(step, loss.item(), average.module)
    return average.module


@click.command(help=__doc__)
@click.option("--network", "network_name", type=click.Choice(sorted(NETWORKS)), default="lraspp", show_default=True)
@click.option("--stage", "stage_name", type=click.Choice(sorted(STAGES)), required=True)
@click.option("--start", type=click.Path(path_type=Path, exists=True), help="Weights to start from.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", type=int, help="Override the stage's number of steps.")
@click.option("--street-seeds", default=120, show_default=True, help="Drives to train on: seeds 1000, 1001, ...")
@click.option("--street-frames", default=16, show_default=True, help="Frames from each of those drives.")
def main(
    network_name: str,
    stage_name: str,
    start: Path | None,
    output: Path,
    seed: int,
    steps: int | None,
    street_seeds: int,
    street_frames: int,
) -> None:
    """Run one stage and keep its weights."""
    stage = STAGES[stage_name]
    if steps is not None:
        stage = replace(stage, steps=steps)
    set_up_torch(seed)
    network = NETWORKS[network_name].build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True))
    street_count = round(stage.batch * stage.street_share)
    sources = [(load_camvid("train"), stage.batch - street_count)]
    if street_count:
        sources.append((load_street(range(1000, 1000 + street_seeds), street_frames), street_count))
    checks = {"camvid_val": load_camvid("val")}
    if street_count:
        checks["street_unseen"] = load_street(range(5000, 5012), 6)
    output.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()

    def report(step: int, loss: float, averaged: nn.Module) -> None:
        if step % 20 == 0:
            left = (time.monotonic() - begun) / step * (stage.steps - step) / 60
            click.echo(f"step {step}/{stage.steps} loss {loss:.3f}, {left:.0f} min left")
        if step % 600 == 0 or step == stage.steps:
            settle(averaged, sources)
            if step == stage.steps:
                balance(averaged, NETWORKS[network_name].scores, sources)
            torch.save(averaged.state_dict(), output.with_suffix(".partial"))
            output.with_suffix(".partial").replace(output)
            figures = {name: round(mean_iou(averaged, frames), 4) for name, frames in checks.items()}
            click.echo(json.dumps({"step": step, "miou": figures}))

    train(network, sources, stage, seed, report)


if __name__ == "__main__":
    main()
