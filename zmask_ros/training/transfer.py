"""The head that needs no training: one that was trained on other networks, brought to this one.

It sees channel-agnostic descriptors of four layers, from the finest resolution of the network's encoder to the
coarsest that still says where something is; see `training.encoder` and `defense.evidence.descriptors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.grid import Size
from zmask_ros.defense.evidence.head import WEIGHTS, Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.resources import find_resource

HEAD_FILE = "models/transferable_head.safetensors"
KERNEL_SHARE = 0.11
"""Of the image's height and width: the kernel of its pooled z-scores."""


@dataclass(frozen=True)
class TransferableHead:
    """A head that belongs to no network.

    Attributes:
        weights: by name, see `Head`.
        opening: float [8], scalars of the fusion block that opens where it is to be masked.
    """

    weights: dict[str, Tensor]
    opening: Tensor

    def head(self, layers: tuple[str, ...], kernel: Size) -> Head:
        """The head of a network with these layers."""
        return Head(Branch(layers, (kernel,)), FeatureKind.DESCRIPTORS, **self.weights)


def load_transferable_head(path: Path | None = None) -> TransferableHead:
    """The head in the file ``path``; None: the one that comes with the package.

    Raises:
        ZmaskError: the package's is missing.
    """
    with safe_open(path or find_resource(HEAD_FILE), framework="pt") as file:
        return TransferableHead({name: file.get_tensor(name) for name in WEIGHTS}, file.get_tensor("opening"))


def save_transferable_head(own: TransferableHead, path: Path) -> None:
    """Write ``own`` to a file of the package."""
    save_file({name: tensor.contiguous() for name, tensor in (own.weights | {"opening": own.opening}).items()}, path)
