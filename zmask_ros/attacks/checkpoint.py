"""The state of an attack between two of its steps, in memory and on disk, so that it can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from zmask_ros.attacks.attacker import Step
from zmask_ros.attacks.balance import Balance
from zmask_ros.attacks.optimizers import optimizer_of
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.errors import AttackError
from zmask_ros.io.files import replace_file

RESTART_SEED_STRIDE = 1_000_003
"""Difference between the seeds of one restart and the next."""


class UnfitStateError(AttackError):
    """A kept state that cannot be gone on with."""


@dataclass(frozen=True)
class Snapshot:
    """An attack between two of its steps, as values that can be written to a file: JSON-ready ones, and tensors."""

    record: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass
class AttackState:
    """All that the next step depends on, apart from the frames and the attacker.

    Attributes:
        recipe: of the attack.
        leaves: the adversarial patches and the decoys, each [n, 3, h, w] on the network's device.
        generator: source of all random choices of this run.
        restart: number of the run, from 0.
        index: number of its next step, from 0.
        history: outcomes of the steps of all runs.
        merits: of the runs that are finished, 0..1, see `Attacker.merit`.
        best: patches [N, 3, h, w] of the best of these, on the CPU.
        balance: of the attack's terms in this run.
    """

    recipe: Recipe
    leaves: tuple[Tensor, Tensor]
    generator: torch.Generator
    restart: int = 0
    index: int = 0
    history: list[Step] = field(default_factory=list)
    merits: list[float] = field(default_factory=list)
    best: Tensor | None = None
    balance: Balance = field(default_factory=Balance)

    def __post_init__(self) -> None:
        # An optimizer takes no tensor without elements.
        self.trained = [leaf for leaf in self.leaves if len(leaf)]
        self.optimizer = optimizer_of(self.recipe, self.trained)

    @staticmethod
    def start(recipe: Recipe, device: torch.device, restart: int = 0) -> AttackState:
        """The beginning of a run: patches of noise."""
        generator = torch.Generator().manual_seed(recipe.seed + RESTART_SEED_STRIDE * restart)
        low, high = recipe.printable
        noise = low + (high - low) * torch.rand(recipe.patches, 3, *recipe.size, generator=generator)
        split = recipe.patches - recipe.decoys
        leaves = noise[:split].to(device).requires_grad_(), noise[split:].to(device).requires_grad_()
        return AttackState(recipe, leaves, generator, restart)

    def begin_with(self, patches: Tensor) -> None:
        """Take ``patches`` [N, 3, h, w] in 0..1 instead of noise, the adversarial ones first.

        Raises:
            AttackError: they are more or fewer, or of another size, than the recipe's.
        """
        wanted = (self.recipe.patches, 3, *self.recipe.size)
        if tuple(patches.shape) != wanted:
            raise AttackError(f"Patches of shape {tuple(patches.shape)} cannot begin a recipe for {wanted}.")
        with torch.no_grad():
            first = len(self.leaves[0])
            for leaf, values in zip(self.leaves, (patches[:first], patches[first:]), strict=True):
                leaf.copy_(values.clamp(*self.recipe.printable))

    def restarted(self, device: torch.device) -> AttackState:
        """The beginning of the next run, which knows how the earlier ones ended."""
        following = AttackState.start(self.recipe, device, self.restart + 1)
        following.history, following.merits, following.best = self.history, self.merits, self.best
        return following

    def patches(self) -> Tensor:
        """[N, 3, h, w] on the CPU, the adversarial ones first."""
        return torch.cat(self.leaves).detach().cpu()

    def descend(self, gradients: tuple[Tensor, Tensor], step: Step) -> None:
        """One step of the recipe's optimizer along ``gradients``, kept within what can be printed."""
        moving = [gradient for leaf, gradient in zip(self.leaves, gradients, strict=True) if len(leaf)]
        self.optimizer.step(moving, step.achieved)
        self.history.append(step)
        self.index += 1

    def finish(self, merit: float) -> None:
        """The run is over; its patches are kept if they are the best."""
        if not self.merits or merit > max(self.merits):
            self.best = self.patches()
        self.merits.append(merit)

    def snapshot(self) -> Snapshot:
        """All that `restored` needs to go on from here, on the CPU."""
        tensors = self.optimizer.tensors()
        tensors |= {f"leaf.{n}": leaf.detach() for n, leaf in enumerate(self.trained)}
        tensors |= {"generator": self.generator.get_state()} | ({} if self.best is None else {"best": self.best})
        record = {
            "restart": self.restart,
            "index": self.index,
            "merits": self.merits,
            "history": [asdict(step) for step in self.history],
            "balance": asdict(self.balance),
            **self.optimizer.record(),
        }
        return Snapshot(record, {name: tensor.cpu().clone().contiguous() for name, tensor in tensors.items()})

    @staticmethod
    def restored(snapshot: Snapshot, recipe: Recipe, device: torch.device) -> AttackState:
        """The attack that a snapshot was taken of, ready to go on as if it had never stopped."""
        record, tensors = snapshot.record, snapshot.tensors
        attack = AttackState.start(recipe, device, record["restart"])
        attack.index, attack.merits = record["index"], list(record["merits"])
        attack.history = [Step(**step) for step in record["history"]]
        attack.best = tensors.get("best")
        attack.generator.set_state(tensors["generator"])
        with torch.no_grad():
            for n, leaf in enumerate(attack.trained):
                leaf.copy_(tensors[f"leaf.{n}"])
        attack.balance = Balance(**record.get("balance", {}))
        attack.optimizer.restore(tensors, record, attack.index > 0)
        return attack

    def save(self, path: Path, belongs_to: dict[str, str]) -> None:
        """Write everything to ``path``; a reader never sees half of a file.

        Args:
            path: the file, replaced if it is there.
            belongs_to: digests of what the attack is made with, by words that a sentence can use.

        Raises:
            ZmaskError: the place cannot be written to.
        """
        snapshot = self.snapshot()
        record = snapshot.record | {"belongs_to": belongs_to}
        replace_file(path, save(snapshot.tensors, {"zmask_attack": json.dumps(record)}))

    @staticmethod
    def resume(path: Path, recipe: Recipe, device: torch.device, belongs_to: dict[str, str]) -> AttackState:
        """What `save` wrote, ready to go on as if it had never stopped; for the arguments see `start` and `save`.

        Raises:
            UnfitStateError: it is damaged, or of another recipe, network, profile or other frames.
        """
        snapshot = _read(path)
        for what, digest in belongs_to.items():
            if snapshot.record["belongs_to"].get(what) != digest:
                raise UnfitStateError(f"{path} was begun with another {what}: go on with the same, or delete the file.")
        return AttackState.restored(snapshot, recipe, device)


def _read(path: Path) -> Snapshot:
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["zmask_attack"])
            # A safetensors file has names, but cannot be iterated over.
            return Snapshot(record, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UnfitStateError(f"{path} is no attack to go on with ({error}): delete it and begin anew.") from error
