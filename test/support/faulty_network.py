"""The tiny network, which fails as it is told: by files in a folder, one a forward pass, ordered by their names."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from support import tiny_network

DESCRIPTION = tiny_network.DESCRIPTION.replace("support.tiny_network:build", "support.faulty_network:build")
DESCRIPTION = DESCRIPTION.replace("{{seed: {seed}}}", "{{seed: {seed}, faults: {faults}}}")
RELEASE = "release"
POLL_S = 0.005
SLOW_S = 0.1


class FaultyNetwork(nn.Sequential):
    """Layers as those of the tiny network, so that its profiles fit."""

    def __init__(self, layers: nn.Sequential, faults: Path) -> None:
        super().__init__(*layers)
        self._faults = faults

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self._fault()

    def _fault(self) -> float:
        """What is added to the output; raises, or hangs, if that is the fault."""
        told = next(iter(sorted(self._faults.iterdir())), None)
        if told is None or told.name == RELEASE:
            return 0.0
        told.unlink()
        kind = told.suffix
        if kind == ".memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        if kind == ".device":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if kind == ".bug":
            raise ValueError("nobody expected this")
        if kind == ".hang":
            while not (self._faults / RELEASE).exists():
                time.sleep(POLL_S)
        if kind == ".slow":
            time.sleep(SLOW_S)
        return float("nan") if kind == ".nan" else 0.0


def build(seed: int, faults: str) -> nn.Module:
    """The tiny network with the weights of ``seed``, told by the folder ``faults``."""
    return FaultyNetwork(tiny_network.build(seed), Path(faults))


class Faults:
    """The test's side: tells the network how its next passes go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "faults"
        self.folder.mkdir()
        self._numbers = count()

    def describe(self, folder: Path, seed: int = 0) -> Path:
        """Write the description of the network into ``folder``; a profile of the tiny network fits it."""
        path = folder / f"faulty_{seed}.yaml"
        path.write_text(DESCRIPTION.format(seed=seed, faults=self.folder))
        return path

    def tell(self, *kinds: str) -> None:
        """The next passes: memory, device, bug, nan, slow, hang (until `release`), or none."""
        for kind in kinds:
            (self.folder / f"{next(self._numbers):06d}.{kind}").touch()

    @property
    def left(self) -> int:
        """How many faults have not happened yet."""
        return sum(path.name != RELEASE for path in self.folder.iterdir())

    def passes_of_loading(self, see: Callable[[], bool]) -> int:
        """How many passes it takes to load everything anew after an error of the device.

        Args:
            see: has one frame segmented, and says whether that went well.
        """
        many = 100
        self.tell("device", *["none"] * many)
        assert see()
        passes = many - self.left - 1  # the last one is the frame's
        for path in self.folder.iterdir():
            path.unlink()
        return passes

    def release(self) -> None:
        """Let what hangs go on."""
        (self.folder / RELEASE).touch()

    def hold(self) -> None:
        """What hangs from now on waits for another `release`."""
        (self.folder / RELEASE).unlink()
