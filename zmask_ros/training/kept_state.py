"""Work between two of its steps on disk, with what it belongs to: the next call goes on with it, and nobody else."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from zmask_ros.errors import ZmaskError
from zmask_ros.io.files import make_folder, replace_file
from zmask_ros.progress import Advance


class UnfitWorkError(ZmaskError):
    """Kept work that cannot be gone on with."""


class Training(Protocol):
    """A training between two of its steps.

    Attributes:
        steps: that it has taken.
    """

    steps: int

    def step(self) -> float:
        """Take a step; its loss."""

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, apart from what it was begun with, for `restore`."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a training that was begun in the same way, as if it had never stopped."""


Own = TypeVar("Own", bound=Training)


def train(
    begin: Callable[[], Own],
    steps: int,
    state: Path | None,
    belongs_to: Callable[[], dict[str, str]],
    every: int,
    advance: Advance,
    note: Callable[[float], str],
) -> Own:
    """A training after so many steps, whose state is kept meanwhile.

    Args:
        begin: makes it.
        steps: that it takes in all.
        state: file that the state is kept in; where there is one already, it goes on from there, and ends as if it had
            never stopped. The caller deletes it. None: nothing is kept.
        belongs_to: gives digests of what it is made with, see `write_state`.
        every: steps between two states on disk.
        advance: counts steps, each with its note.
        note: what is said of a step's loss.

    Raises:
        UnfitWorkError: ``state`` belongs to another training; it is refused before ``begin`` is called.
    """
    digests = {} if state is None else belongs_to()
    kept = None if state is None else read_state(state, digests, state)
    training = begin()
    if state is not None and kept is not None:
        try:
            training.restore(kept)
        # An older version kept other things.
        except (KeyError, TypeError, ValueError) as error:
            raise unfit(state) from error
        advance(training.steps)
    while training.steps < steps:
        loss = training.step()
        if state is not None and training.steps % every == 0:
            write_state(state, training.state(), digests)
        advance(note=note(loss))
    return training


def write_state(path: Path, state: Any, belongs_to: dict[str, str]) -> None:
    """Keep ``state``, plain values and tensors, in the place of what was kept before.

    Args:
        path: the file; a reader never sees half of it.
        state: of the work.
        belongs_to: digests of what the work is made with, by words that a sentence can use.

    Raises:
        ZmaskError: the place cannot be written to.
    """
    make_folder(path.parent)
    content = io.BytesIO()
    torch.save({"belongs_to": belongs_to, "state": state}, content)
    replace_file(path, content.getvalue())


def read_state(path: Path, belongs_to: dict[str, str], told: Path) -> Any:
    """What `write_state` kept; None: there is nothing.

    Args:
        path: the file.
        belongs_to: as when it was kept.
        told: what a sentence names that is to be deleted: the file, or its folder.

    Raises:
        UnfitWorkError: it is damaged, of another version, or belongs to something else.
    """
    if not path.exists():
        return None
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        belonged_to: dict[str, str] = kept["belongs_to"]
        state = kept["state"]
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise unfit(told) from error
    if belonged_to.keys() != belongs_to.keys():
        raise UnfitWorkError(f"{told} is of another version: delete it and begin anew.")
    for what, digest in belongs_to.items():
        if belonged_to[what] != digest:
            raise UnfitWorkError(f"{told} was begun with another {what}: go on with the same, or delete it.")
    return state


def digest_of(images: Iterable[np.ndarray]) -> str:
    """SHA-256 of the pixels of images that work is made with, in order, hexadecimal."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.tobytes())
    return digest.hexdigest()


def unfit(told: Path) -> UnfitWorkError:
    """What is said of work that is damaged, or that an older version kept."""
    return UnfitWorkError(f"{told} cannot be gone on with: delete it and begin anew.")
