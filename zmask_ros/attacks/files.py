"""A patch on disk: a PNG to print, and beside it the recipe as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from zmask_ros.attacks.errors import AttackError
from zmask_ros.attacks.optimise import PatchResult
from zmask_ros.attacks.pasting import to_uint8
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.files import check_place, replace_file
from zmask_ros.segmenters import Segmenter
from zmask_ros.world.picture_files import read_picture

FORMAT = 1


def recipe_path(png: Path) -> Path:
    """Where the recipe of the patch ``png`` lies."""
    return png.with_suffix(".json")


def save_patch(
    png: Path, result: PatchResult, recipe: Recipe, segmenter: Segmenter, sources: tuple[str, ...]
) -> None:
    """Write ``png`` and its recipe; a reader never sees half of a file.

    Raises:
        ZmaskError: the name does not end in .png, or the folder cannot be written.
    """
    check_writable(png)
    written, encoded = cv2.imencode(".png", cv2.cvtColor(to_uint8(result.patch), cv2.COLOR_RGB2BGR))
    if not written:
        raise AttackError(f"The patch could not be encoded as {png}.")
    record = {
        "format": FORMAT,
        "segmenter": {"name": segmenter.name, "digest": segmenter.digest, "input_size": segmenter.input_size},
        "sources": sources,
        "recipe": asdict(recipe),
        "history": [asdict(step) for step in result.history],
    }
    replace_file(recipe_path(png), json.dumps(record, indent=1).encode())
    replace_file(png, encoded.tobytes())


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
