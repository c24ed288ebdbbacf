"""Profiles on disk: one safetensors file, tensors plus JSON metadata, sealed by a digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from zmask_ros.defense.evidence.head import WEIGHTS, Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.profile.profile import (
    OURS,
    Binding,
    Profile,
    ProfileError,
    RateInterval,
    Screen,
    Source,
    Threshold,
)
from zmask_ros.flags.vote import VoteRule
from zmask_ros.io.files import check_place, replace_file

FORMAT = 1
SUFFIX = ".safetensors"


def check_profile_place(path: Path) -> None:
    """Refuse a place for a profile before minutes are spent on it, and one that is rather a recording's.

    Raises:
        ZmaskError: the name does not end in .safetensors, or its folder does not exist or cannot be written.
    """
    if path.suffix != SUFFIX:
        raise ProfileError(f"A profile's name ends in {SUFFIX}, unlike '{path.name}': name it NAME.zmask{SUFFIX}.")
    check_place(path)


def save_profile(profile: Profile, path: Path) -> None:
    """Write ``profile`` beside ``path``, then rename: there is never half a profile.

    Raises:
        ZmaskError: the folder does not exist or cannot be written.
    """
    tensors = _tensors(profile)
    description = json.dumps(_describe(profile), sort_keys=True)
    metadata = {"zmask_profile": description, "sha256": _seal(description, tensors)}
    replace_file(path, save(tensors, metadata))


def load_profile(path: Path) -> Profile:
    """Read a profile and check that it is whole.

    Raises:
        ProfileError: no such file, not a profile, truncated, edited, or of another format version.
    """
    if not path.is_file():
        raise ProfileError(f"There is no profile {path}: fit one with zmask fit BAG -o {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ProfileError(f"{path} is damaged or no profile ({error}): copy or fit it again.") from error
    if "zmask_profile" not in metadata:
        raise ProfileError(f"{path} is a safetensors file, but no zmask profile.")
    if metadata.get("sha256") != _seal(metadata["zmask_profile"], tensors):
        raise ProfileError(f"{path} was changed after it was written: copy or fit it again.")
    description = json.loads(metadata["zmask_profile"])
    if description["format"] != FORMAT:
        raise ProfileError(f"{path} has format {description['format']}, this version reads {FORMAT}: fit it again.")
    profile = _restore(description, tensors)
    profile.check_finite()
    return profile


def _seal(description: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(description.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(profile: Profile) -> dict[str, Tensor]:
    tensors = {"fusion": profile.fusion.float().contiguous()}
    heads = {"head": profile.head, "screen": None if profile.screen is None else profile.screen.head}
    for own, head in heads.items():
        if head is not None:
            tensors |= {f"{own}.{name}": tensor.float().contiguous() for name, tensor in head.tensors.items()}
    for key, statistics in profile.statistics.items():
        moments = statistics.moments
        tensors[f"{key}:count"] = torch.tensor(moments.count, dtype=torch.int64)
        tensors[f"{key}:mean"] = moments.mean.contiguous()
        tensors[f"{key}:m2"] = moments.m2.contiguous()
    return tensors


def _describe(profile: Profile) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "binding": asdict(profile.binding),
        "grid_fraction": profile.grid_fraction,
        "shallow": asdict(profile.shallow),
        "deep": asdict(profile.deep),
        "growth": asdict(profile.growth),
        "threshold": asdict(profile.threshold),
        "sources": [asdict(source) for source in profile.sources],
        "created": profile.created,
        "tool_version": profile.tool_version,
        "notes": list(profile.notes),
        "variant": profile.variant,
        "vote": asdict(profile.vote),
        "head": None if profile.head is None else _describe_head(profile.head),
        "precaution": None if profile.precaution is None else asdict(profile.precaution),
        "screen": None if profile.screen is None else _describe_screen(profile.screen),
    }


def _describe_screen(screen: Screen) -> dict[str, Any]:
    return {"head": _describe_head(screen.head), "threshold": asdict(screen.threshold)}


def _describe_head(head: Head) -> dict[str, Any]:
    return asdict(head.branch) | {"textured": head.textured}


def _restore(description: dict[str, Any], tensors: dict[str, Tensor]) -> Profile:
    binding = description["binding"]
    keys = sorted({name.rpartition(":")[0] for name in tensors if name.endswith(":count")})
    return Profile(
        binding=Binding(
            segmenter=binding["segmenter"],
            digest=binding["digest"],
            input_size=_pair(binding["input_size"]),
            mean=tuple(binding["mean"]),
            std=tuple(binding["std"]),
            shapes={name: tuple(shape) for name, shape in binding["shapes"].items()},
        ),
        grid_fraction=description["grid_fraction"],
        shallow=_branch(description["shallow"]),
        deep=_branch(description["deep"]),
        growth=Growth(**(description["growth"] | {"closing": _pair(description["growth"]["closing"])})),
        statistics={key: _statistics(key, tensors) for key in keys},
        fusion=tensors["fusion"],
        threshold=_threshold(description["threshold"]),
        sources=tuple(Source(**source) for source in description["sources"]),
        created=description["created"],
        tool_version=description["tool_version"],
        notes=tuple(description["notes"]),
        # Files from before there were variants, votes, heads, precautions and screenings lack these.
        variant=description.get("variant", OURS),
        vote=VoteRule(**description.get("vote", {})),
        head=None if description.get("head") is None else _head(description["head"], "head", tensors),
        precaution=None if description.get("precaution") is None else _threshold(description["precaution"]),
        screen=None if description.get("screen") is None else _screen(description["screen"], tensors),
    )


def _threshold(entries: dict[str, Any]) -> Threshold:
    interval = entries.get("interval")
    return Threshold(**(entries | {"interval": RateInterval(**interval) if interval else None}))


def _statistics(key: str, tensors: dict[str, Tensor]) -> LayerStatistics:
    return LayerStatistics(Moments(int(tensors[f"{key}:count"]), tensors[f"{key}:mean"], tensors[f"{key}:m2"]))


def _branch(entries: dict[str, Any]) -> Branch:
    return Branch(tuple(entries["layers"]), tuple(_pair(kernel) for kernel in entries["kernels"]))


def _screen(entries: dict[str, Any], tensors: dict[str, Tensor]) -> Screen:
    return Screen(_head(entries["head"], "screen", tensors), _threshold(entries["threshold"]))


def _head(entries: dict[str, Any], own: str, tensors: dict[str, Tensor]) -> Head:
    try:
        return Head(_branch(entries), entries.get("textured", True), *(tensors[f"{own}.{name}"] for name in WEIGHTS))
    except KeyError as missing:
        again = {"head": "zmask calibrate --rivals", "screen": "zmask screen"}[own]
        raise ProfileError(f"The profile's {own} lacks its weights {missing}: train it again with {again}.") from None


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return first, second
