"""Auxiliary outputs: the further logits that some networks put out beside their main ones."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

AUXILIARY = "aux"


class AuxiliaryTap:
    """Context manager that keeps the auxiliary logits of the network's latest forward pass.

    Understands what `Segmenter.logits` does: of a dict it takes ``aux``, of a tuple what follows the main logits.
    The defence sees main logits only, so that these are heard at the network itself.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._handle: RemovableHandle | None = None
        self.outputs: tuple[Tensor, ...] = ()

    def __enter__(self) -> AuxiliaryTap:
        self._handle = self._network.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.remove()

    def _keep(self, network: nn.Module, inputs: Any, output: Any) -> None:
        further: Any = ()
        if isinstance(output, dict):
            further = [output.get(AUXILIARY)]
        elif isinstance(output, tuple | list):
            further = output[1:]
        self.outputs = tuple(o for o in further if isinstance(o, Tensor) and o.dim() == 4)
