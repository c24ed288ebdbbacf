"""Patches on disk: PNGs to print, the recipe and the history as JSON, exact values as safetensors, and curves."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from zmask_ros.attacks.attacker import Step
from zmask_ros.attacks.pasting import to_uint8
from zmask_ros.attacks.patch_attack import PatchResult
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.errors import AttackError
from zmask_ros.io.files import check_place, replace_file
from zmask_ros.io.images.files import read_picture
from zmask_ros.segmenters import Segmenter

FORMAT = 1
CURVES = "_curves"
PACKED = "zmask_attack_result"
WINDOW_SHARE = 0.05
"""Share of the steps that the drawn mean runs over: each batch shows other frames, and single steps jump."""


def recipe_path(png: Path) -> Path:
    """Where the recipe of the patch ``png`` lies."""
    return png.with_suffix(".json")


def exact_path(png: Path) -> Path:
    """Where the exact values of the patch ``png`` lie."""
    return png.with_suffix(".safetensors")


def numbered_path(png: Path, number: int) -> Path:
    """Where patch ``number``, from 0, of several that belong together lies: NAME.png, NAME_2.png, NAME_3.png..."""
    return png if number == 0 else png.with_stem(f"{png.stem}_{number + 1}")


def curves_path(png: Path) -> Path:
    """Where the curves of the patch ``png`` lie."""
    return png.with_stem(f"{png.stem}{CURVES}")


def patches_in(folder: Path) -> list[Path]:
    """The PNGs in ``folder``, sorted, but for the curves that ``zmask attack`` draws beside its patches."""
    return [png for png in sorted(folder.glob("*.png")) if not png.stem.endswith(CURVES)]


def save_patch(png: Path, result: PatchResult, recipe: Recipe, segmenter: Segmenter, sources: tuple[str, ...]) -> None:
    """Write a finished attack; a reader never sees half of a file.

    Args:
        png: of the first patch; further patches, exact values and the recipe lie beside it.
        result: the patches.
        recipe: that made them.
        segmenter: that they attack.
        sources: where the frames came from, a line each.

    Raises:
        ZmaskError: the name does not end in .png, or the folder cannot be written.
    """
    check_writable(png)
    pictures = [_encode(png, patch, result.shape) for patch in result.patches]
    exact = {"patches": result.patches.contiguous()}
    if result.shape is not None:
        exact["shape"] = result.shape.contiguous()
    record = {
        "format": FORMAT,
        "segmenter": {"name": segmenter.name, "digest": segmenter.digest, "input_size": segmenter.input_size},
        "sources": sources,
        "recipe": recipe.entries(),
        "merits": result.merits,
        "history": [{k: v for k, v in asdict(step).items() if v is not None} for step in result.history],
    }
    replace_file(recipe_path(png), json.dumps(record, indent=1).encode())
    replace_file(exact_path(png), save(exact))
    for number, content in reversed(list(enumerate(pictures))):
        replace_file(numbered_path(png, number), content)


def pack_result(result: PatchResult) -> bytes:
    """A result as one file, which `unpack_result` reads."""
    tensors = {"patches": result.patches, "shape": result.shape}
    record = {"merits": result.merits, "history": [asdict(step) for step in result.history]}
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
    return save(kept, {PACKED: json.dumps(record)})


def unpack_result(path: Path) -> PatchResult:
    """The result that `pack_result` made a file of.

    Raises:
        AttackError: it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()[PACKED])
            # A tensor of a file is that file, also after it was written anew.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, SafetensorError) as error:
        raise AttackError(f"The result {path} of a run cannot be read: delete it.") from error
    history = tuple(Step(**step) for step in record["history"])
    return PatchResult(tensors["patches"], history, tuple(record["merits"]), tensors.get("shape"))


def save_curves(png: Path, history: Sequence[Step]) -> None:
    """Draw over the steps what the attack won, its loss, and where the defense is known, its score and what it masks.

    The picture goes to `curves_path` of the patch ``png``.

    Raises:
        ZmaskError: the folder cannot be written.
    """
    # Slow to import, and needed only here.
    from matplotlib.figure import Figure

    lines: dict[str, Sequence[float | None]] = {
        "attacked pixels that resist": [step.pixel_accuracy for step in history],
        "loss": [step.loss for step in history],
        "score of the defence": [step.score for step in history],
        "share of images masked": [step.masked for step in history],
    }
    drawn = {name: np.array(values, float) for name, values in lines.items() if None not in values}
    window = max(1, round(WINDOW_SHARE * len(history)))
    figure = Figure(figsize=(8, 2 * len(drawn)), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(drawn), 1, sharex=True), drawn.items(), strict=True):
        axes.plot(values, linewidth=0.5, color="0.7")
        axes.plot([values[max(0, end - window) : end].mean() for end in range(1, len(values) + 1)], color="tab:blue")
        axes.set_ylabel(name, fontsize=8)
        axes.grid(visible=True, linewidth=0.3)
    axes.set_xlabel("step")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    replace_file(curves_path(png), picture.getvalue())


def check_writable(png: Path) -> None:
    """Refuse a place for a patch before minutes are spent on it.

    Raises:
        ZmaskError: the name does not end in .png, or its folder does not exist or cannot be written.
    """
    if png.suffix.lower() != ".png":
        raise AttackError(f"The patch is saved as PNG: name it {png.stem or 'patch'}.png instead of '{png.name}'.")
    check_place(png)


def load_patch(png: Path) -> np.ndarray:
    """A patch image, uint8 [h, w, 3] RGB.

    Raises:
        ZmaskError: no such file, or no image.
    """
    if not png.is_file():
        raise AttackError(f"There is no patch {png}: make one with `zmask attack`.")
    return read_picture(png)


def load_patches(png: Path) -> np.ndarray:
    """All patches that ``zmask attack`` wrote as ``png`` and beside it, for `paste_at_random`.

    uint8 [N, h, w, 3] RGB, or [N, h, w, 4] where they are no rectangles. A picture without exact values beside it is
    one patch.

    Raises:
        ZmaskError: no such file, no image, or damaged exact values.
    """
    first = load_patch(png)
    if not exact_path(png).is_file():
        return first[None]
    patches, shape = load_exact(png)
    pictures = np.stack([to_uint8(patch) for patch in patches])
    if shape is None:
        return pictures
    alpha = (shape * 255).round().to(torch.uint8).numpy()[None, ..., None]
    return np.concatenate([pictures, np.repeat(alpha, len(pictures), 0)], -1)


def load_exact(png: Path) -> tuple[Tensor, Tensor | None]:
    """The exact patches, float [N, 3, h, w] in 0..1, and their shape, float [h, w] in 0..1; None: rectangles.

    Raises:
        AttackError: they are missing or damaged.
    """
    path = exact_path(png)
    try:
        tensors = load_file(path)
        return tensors["patches"], tensors.get("shape")
    except (OSError, KeyError, SafetensorError) as error:
        raise AttackError(f"The exact values {path} of the patch cannot be read: make it anew.") from error


def load_recipe(png: Path) -> Recipe:
    """The recipe beside a patch.

    Raises:
        AttackError: it is missing or damaged.
    """
    path = recipe_path(png)
    try:
        text = path.read_text()
    except OSError as error:
        raise AttackError(f"The patch {png} has no recipe {path} beside it.") from error
    return Recipe.from_json(text)


def _encode(png: Path, patch: Tensor, shape: Tensor | None) -> bytes:
    pixels = cv2.cvtColor(to_uint8(patch), cv2.COLOR_RGB2BGR)
    if shape is not None:
        pixels = np.dstack([pixels, (shape * 255).round().to(torch.uint8).numpy()])
    written, encoded = cv2.imencode(".png", pixels)
    if not written:
        raise AttackError(f"The patch could not be encoded as {png}.")
    return encoded.tobytes()
