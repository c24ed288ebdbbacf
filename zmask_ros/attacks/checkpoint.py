"""One run of optimisation between two of its steps, in memory and on disk."""

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
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.errors import AttackError
from zmask_ros.io.files import replace_file

FINAL_LR = 0.1
"""Share of the learning rate that is left at the last step."""
STRIDE = 1_000_003
"""Between the seeds of restarts."""
ADAM = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Training:
    """All that the next step depends on, but for what it is trained with.

    Attributes:
        leaves: the adversarial patches and the decoys, each [n, 3, h, w] on the network's device.
        generator: of all random choices of this run.
        restart: number of the run, from 0.
        index: of its next step.
        history: of all runs.
        merits: of the runs that are finished.
        best: patches [N, 3, h, w] of the best of these, on the CPU.
    """

    recipe: Recipe
    leaves: tuple[Tensor, Tensor]
    generator: torch.Generator
    restart: int = 0
    index: int = 0
    history: list[Step] = field(default_factory=list)
    merits: list[float] = field(default_factory=list)
    best: Tensor | None = None

    def __post_init__(self) -> None:
        # An optimiser takes no tensor without elements.
        self.trained = [leaf for leaf in self.leaves if len(leaf)]
        self.optimiser = torch.optim.Adam(self.trained, lr=self.recipe.lr)
        final = self.recipe.lr * FINAL_LR
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, self.recipe.steps, final)

    @staticmethod
    def start(recipe: Recipe, device: torch.device, restart: int = 0) -> Training:
        """The beginning of a run: patches of noise."""
        generator = torch.Generator().manual_seed(recipe.seed + STRIDE * restart)
        low, high = recipe.printable
        noise = low + (high - low) * torch.rand(recipe.patches, 3, *recipe.size, generator=generator)
        split = recipe.patches - recipe.decoys
        leaves = noise[:split].to(device).requires_grad_(), noise[split:].to(device).requires_grad_()
        return Training(recipe, leaves, generator, restart)

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

    def restarted(self, device: torch.device) -> Training:
        """The beginning of the next run, which knows how the earlier ones ended."""
        following = Training.start(self.recipe, device, self.restart + 1)
        following.history, following.merits, following.best = self.history, self.merits, self.best
        return following

    def patches(self) -> Tensor:
        """[N, 3, h, w] on the CPU, the adversarial ones first."""
        return torch.cat(self.leaves).detach().cpu()

    def descend(self, gradients: tuple[Tensor, Tensor], step: Step) -> None:
        """One step of Adam along ``gradients``, kept within what can be printed."""
        for leaf, gradient in zip(self.leaves, gradients, strict=True):
            leaf.grad = gradient
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            for leaf in self.leaves:
                leaf.clamp_(*self.recipe.printable)
        self.history.append(step)
        self.index += 1

    def finish(self, merit: float) -> None:
        """The run is over; its patches are kept if they are the best."""
        if not self.merits or merit > max(self.merits):
            self.best = self.patches()
        self.merits.append(merit)

    def save(self, path: Path, belongs_to: dict[str, str]) -> None:
        """Write everything beside ``path``, then rename.

        Raises:
            ZmaskError: the place cannot be written to.
        """
        states = [self.optimiser.state[leaf] for leaf in self.trained]
        tensors = {f"{name}.{n}": state[name] for n, state in enumerate(states) for name in ADAM}
        tensors |= {f"leaf.{n}": leaf.detach() for n, leaf in enumerate(self.trained)}
        tensors |= {"generator": self.generator.get_state()} | ({} if self.best is None else {"best": self.best})
        record = {
            "belongs_to": belongs_to,
            "restart": self.restart,
            "index": self.index,
            "merits": self.merits,
            "history": [asdict(step) for step in self.history],
            "schedule": self.schedule.state_dict(),
            "lr": self.optimiser.param_groups[0]["lr"],
        }
        content = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        replace_file(path, save(content, {"zmask_attack": json.dumps(record)}))

    @staticmethod
    def resume(path: Path, recipe: Recipe, device: torch.device, belongs_to: dict[str, str]) -> Training:
        """What `save` wrote, ready to go on as if it had never stopped.

        Raises:
            AttackError: it is damaged, or of another recipe, network, profile or other frames.
        """
        record, tensors = _read(path)
        for what, digest in belongs_to.items():
            if record["belongs_to"].get(what) != digest:
                raise AttackError(f"{path} was begun with another {what}: go on with the same, or delete the file.")
        training = Training.start(recipe, device, record["restart"])
        training.index, training.merits = record["index"], record["merits"]
        training.history = [Step(**step) for step in record["history"]]
        training.best = tensors.get("best")
        training.generator.set_state(tensors["generator"])
        with torch.no_grad():
            for n, leaf in enumerate(training.trained):
                leaf.copy_(tensors[f"leaf.{n}"])
                # Adam wants its count of steps on the CPU.
                places = {"step": torch.device("cpu")}
                state = {name: tensors[f"{name}.{n}"].to(places.get(name, device)) for name in ADAM}
                training.optimiser.state[leaf] = state
        training.schedule.load_state_dict(record["schedule"])
        training.optimiser.param_groups[0]["lr"] = record["lr"]
        return training


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return json.loads(metadata["zmask_attack"]), {n: file.get_tensor(n) for n in file.keys()}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise AttackError(f"{path} is no attack to go on with ({error}): delete it and begin anew.") from error
