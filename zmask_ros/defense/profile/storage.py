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

from zmask_ros.defense.drift.reference import DriftReference
from zmask_ros.defense.evidence.feature_kind import FeatureKind
from zmask_ros.defense.evidence.head import WEIGHTS, Head
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.masking.growth import Growth
from zmask_ros.defense.profile.detector import Detector, RateInterval, Screen, Threshold, statistics_key
from zmask_ros.defense.profile.profile import OURS, Binding, Profile, ProfileError, Source
from zmask_ros.flags.alarm import VoteRule
from zmask_ros.io.files import check_place, replace_file

FORMAT = 1
SUFFIX = ".safetensors"
HEAD, SCREEN, DRIFT = "head", "screen", "drift"
"""What the names of the head's tensors, those of the screen, and those of the reference of drift, begin with."""


def check_profile_place(path: Path) -> None:
    """Refuse a path where no profile can be written, before minutes are spent on fitting one.

    Raises:
        ZmaskError: the name does not end in .safetensors, or its folder does not exist or cannot be written.
    """
    if path.suffix != SUFFIX:
        raise ProfileError(f"A profile's name ends in {SUFFIX}, unlike '{path.name}': name it NAME.zmask{SUFFIX}.")
    check_place(path)


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile to a temporary file next to ``path`` and rename it: there is never half a profile.

    Raises:
        ZmaskError: the folder does not exist or cannot be written.
    """
    tensors, description = _tensors(profile), _description(profile)
    metadata = {"zmask_profile": description, "sha256": _seal(description, tensors)}
    replace_file(path, _in_order(save(tensors, metadata)))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library draws one anew for each call.

    A flag names its profile by the bytes of the file: the same profile must not have two names.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Tensors begin at a multiple of 8.
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + content[8 + size :]


def profile_digest(profile: Profile) -> str:
    """SHA-256 of all that is in a profile, hexadecimal: the one by which its file is sealed."""
    return _seal(_description(profile), _tensors(profile))


def load_profile(path: Path) -> Profile:
    """Read a profile and check that it is complete and unchanged.

    Raises:
        ProfileError: there is no such file, or it is no profile, truncated, edited, or of another format version.
    """
    if not path.is_file():
        raise ProfileError(f"There is no profile {path}: fit one with zmask fit BAG -o {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
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


def _description(profile: Profile) -> str:
    return json.dumps(_describe(profile), sort_keys=True)


def _seal(description: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(description.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(profile: Profile) -> dict[str, Tensor]:
    tensors = {"fusion": profile.detector.fusion.float().contiguous()}
    for key, own in profile.detector.statistics.items():
        tensors |= _statistics_tensors(key, own)
    tensors |= _head_tensors(HEAD, profile.detector.head)
    if profile.screen is not None:
        tensors |= _head_tensors(SCREEN, profile.screen.head)
        for layer, own in profile.screen.statistics.items():
            tensors |= _statistics_tensors(statistics_key(SCREEN, layer), own)
    if profile.drift is not None:
        for layer, stretches in profile.drift.stretches.items():
            tensors[f"{DRIFT}:{layer}"] = stretches.float().contiguous()
    return tensors


def _head_tensors(name: str, head: Head | None) -> dict[str, Tensor]:
    weights = {} if head is None else head.tensors
    return {f"{name}.{weight}": tensor.float().contiguous() for weight, tensor in weights.items()}


def _statistics_tensors(key: str, own: LayerStatistics) -> dict[str, Tensor]:
    return {
        f"{key}:count": torch.tensor(own.moments.count, dtype=torch.int64),
        f"{key}:mean": own.moments.mean.contiguous(),
        f"{key}:m2": own.moments.m2.contiguous(),
    }


def _describe(profile: Profile) -> dict[str, Any]:
    detector, screen = profile.detector, profile.screen
    return {
        "format": FORMAT,
        "binding": asdict(profile.binding),
        "grid_fraction": detector.grid_fraction,
        "shallow": asdict(detector.shallow),
        "deep": asdict(detector.deep),
        "growth": asdict(detector.growth),
        "threshold": asdict(detector.threshold),
        # Beside the threshold, where versions that do not know it pass it over; not at all where there is none, so that
        # older profiles keep their digest.
        **({} if detector.patched is None else {"patched": detector.patched}),
        "sources": [asdict(source) for source in profile.sources],
        "created": profile.created,
        "tool_version": profile.tool_version,
        "notes": list(profile.notes),
        "variant": profile.variant,
        "vote": asdict(profile.vote),
        "head": None if detector.head is None else _describe_head(detector.head),
        "precaution": None if detector.precaution is None else asdict(detector.precaution),
        "screen": None
        if screen is None
        else {"head": _describe_head(screen.head), "threshold": asdict(screen.threshold)},
        "drift": None if profile.drift is None else {"drives": profile.drift.drives, "scales": profile.drift.scales},
    }


def _describe_head(head: Head) -> dict[str, Any]:
    return asdict(head.branch) | {"kind": head.kind.value}


def _restore(description: dict[str, Any], tensors: dict[str, Tensor]) -> Profile:
    statistics = _all_statistics(tensors)
    return Profile(
        binding=_binding(description["binding"]),
        detector=_detector(description, statistics, tensors),
        # Files from before there were variants, votes, heads, precautions, screens and drift lack these.
        screen=None if description.get("screen") is None else _screen(description["screen"], statistics, tensors),
        sources=tuple(Source(**source) for source in description["sources"]),
        created=description["created"],
        tool_version=description["tool_version"],
        notes=tuple(description["notes"]),
        variant=description.get("variant", OURS),
        vote=VoteRule(**description.get("vote", {})),
        drift=None if description.get("drift") is None else _drift(description["drift"], tensors),
    )


def _binding(entries: dict[str, Any]) -> Binding:
    return Binding(
        segmenter=entries["segmenter"],
        digest=entries["digest"],
        input_size=_pair(entries["input_size"]),
        mean=tuple(entries["mean"]),
        std=tuple(entries["std"]),
        shapes={name: tuple(shape) for name, shape in entries["shapes"].items()},
    )


def _detector(entries: dict[str, Any], statistics: dict[str, LayerStatistics], tensors: dict[str, Tensor]) -> Detector:
    return Detector(
        grid_fraction=entries["grid_fraction"],
        shallow=_branch(entries["shallow"]),
        deep=_branch(entries["deep"]),
        growth=Growth(**(entries["growth"] | {"closing": _pair(entries["growth"]["closing"])})),
        statistics={key: own for key, own in statistics.items() if not key.startswith(statistics_key(SCREEN, ""))},
        fusion=tensors["fusion"],
        threshold=_threshold(entries["threshold"]),
        head=None if entries.get("head") is None else _head(entries["head"], HEAD, tensors),
        precaution=None if entries.get("precaution") is None else _threshold(entries["precaution"]),
        patched=entries.get("patched"),
    )


def _screen(entries: dict[str, Any], statistics: dict[str, LayerStatistics], tensors: dict[str, Tensor]) -> Screen:
    head = _head(entries["head"], SCREEN, tensors)
    own = {layer: statistics[statistics_key(SCREEN, layer)] for layer in head.branch.layers}
    return Screen(head, own, _threshold(entries["threshold"]))


def _drift(entries: dict[str, Any], tensors: dict[str, Tensor]) -> DriftReference:
    scales = entries["scales"]
    stretches = {layer: tensors[f"{DRIFT}:{layer}"] for layer in scales}
    return DriftReference(stretches, tuple(entries["drives"]), scales)


def _all_statistics(tensors: dict[str, Tensor]) -> dict[str, LayerStatistics]:
    """By their keys in the file: ``branch:layer``."""
    keys = sorted({name.rpartition(":")[0] for name in tensors if name.endswith(":count")})
    return {
        key: LayerStatistics(Moments(int(tensors[f"{key}:count"]), tensors[f"{key}:mean"], tensors[f"{key}:m2"]))
        for key in keys
    }


def _threshold(entries: dict[str, Any]) -> Threshold:
    interval = entries.get("interval")
    return Threshold(**(entries | {"interval": RateInterval(**interval) if interval else None}))


def _branch(entries: dict[str, Any]) -> Branch:
    return Branch(tuple(entries["layers"]), tuple(_pair(kernel) for kernel in entries["kernels"]))


def _head(entries: dict[str, Any], own: str, tensors: dict[str, Tensor]) -> Head:
    try:
        return Head(_branch(entries), _kind(entries), *(tensors[f"{own}.{name}"] for name in WEIGHTS))
    except KeyError as missing:
        again = {HEAD: "zmask calibrate --rivals", SCREEN: "zmask screen"}[own]
        raise ProfileError(f"The profile's {own} lacks its weights {missing}: train it again with {again}.") from None


def _kind(entries: dict[str, Any]) -> FeatureKind:
    """What a head sees; in older files, only whether energies are among it."""
    if "kind" in entries:
        try:
            return FeatureKind(entries["kind"])
        except ValueError:
            raise ProfileError(
                f"The profile's head sees {entries['kind']}, which is unknown here: a newer version made it."
            ) from None
    return FeatureKind.ENERGIES if entries.get("textured", True) else FeatureKind.CHANNELS


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return first, second
