"""The network and the profile, as the parameters want them. The only place here that imports torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zmask_ros.errors import ZmaskError
from zmask_ros.node.defense_parameters import DefenseParameters
from zmask_ros.node.diagnostics import Assessment, Level
from zmask_ros.shipped import shipped_profile

if TYPE_CHECKING:
    from zmask_ros.camera import DefendedCamera


def load_camera(parameters: DefenseParameters) -> DefendedCamera:
    """The defended camera.

    Raises:
        ZmaskError: torch is missing, or the segmenter, the device or the profile cannot be used; one sentence.
    """
    try:
        import torch
    except ImportError as error:
        raise ZmaskError(
            f"{sys.executable} cannot import torch ({error}): install it for this Python with "
            "'pip install -r requirements/torch.txt', or build the package with the Python that has it."
        ) from error
    from zmask_ros.camera import DefendedCamera
    from zmask_ros.defense import load_profile
    from zmask_ros.segmenters import load_segmenter

    if parameters.num_threads:
        torch.set_num_threads(parameters.num_threads)
    segmenter = load_segmenter(parameters.segmenter, parameters.device)
    camera = DefendedCamera(segmenter, load_profile(_profile_path(parameters, segmenter.name)))
    set_threshold(camera, parameters.threshold)
    return camera


def set_threshold(camera: DefendedCamera, override: float) -> None:
    """Use the override, or where it is 0 the profile's own threshold."""
    camera.threshold = override if override > 0.0 else camera.defense.profile.threshold.value


def _profile_path(parameters: DefenseParameters, segmenter: str) -> Path:
    if parameters.profile:
        return Path(parameters.profile).expanduser()
    return shipped_profile(segmenter)


def assess_device(camera: DefendedCamera) -> Assessment:
    """Where the network runs, and how full that is."""
    import torch

    device = camera.segmenter.device
    if device.type != "cuda":
        return Assessment("device", Level.OK, str(device), {"threads": str(torch.get_num_threads())})
    free, total = torch.cuda.mem_get_info(device)
    values = {
        "name": torch.cuda.get_device_name(device),
        "memory free [MiB]": str(free >> 20),
        "memory total [MiB]": str(total >> 20),
        "memory of this node [MiB]": str(torch.cuda.memory_allocated(device) >> 20),
    }
    level = Level.WARN if free < total // 50 else Level.OK
    return Assessment("device", level, "memory is nearly full" if level else str(device), values)


def assess_profile(camera: DefendedCamera) -> Assessment:
    """What is defended with what."""
    profile = camera.defense.profile
    fitted = profile.threshold
    overridden = camera.threshold != fitted.value
    message = f"{camera.segmenter.name}, fitted on {profile.frames} frames"
    values = {
        "segmenter": camera.segmenter.name,
        "network": camera.segmenter.digest[:12],
        "fitted on": "; ".join(f"{source.bag} {source.topic}" for source in profile.sources) or "not recorded",
        "frames": str(profile.frames),
        "fitted at": profile.created,
        "threshold of the profile": f"{fitted.value:.6g}",
        "false-alarm rate it was set for": f"{fitted.false_alarm_rate:g}",
        "threshold in use": f"{camera.threshold:.6g}",
    }
    return Assessment("profile", Level.OK, message + (", threshold overridden" if overridden else ""), values)
