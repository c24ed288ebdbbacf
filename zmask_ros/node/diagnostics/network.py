"""The state of the device and of a profile, for diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmask_ros.node.diagnostics.health import Assessment, Level

if TYPE_CHECKING:
    import torch

    from zmask_ros.runtime.camera import DefendedCamera


def assess_device(task: str, device: torch.device, threads: int) -> Assessment:
    """Where the network runs, with how many threads on a CPU, and how full the memory there is."""
    import torch

    if device.type != "cuda":
        return Assessment(task, Level.OK, str(device), {"threads": str(threads)})
    free, total = torch.cuda.mem_get_info(device)
    values = {
        "name": torch.cuda.get_device_name(device),
        "memory free [MiB]": str(free >> 20),
        "memory total [MiB]": str(total >> 20),
        "memory of this node [MiB]": str(torch.cuda.memory_allocated(device) >> 20),
    }
    level = Level.WARN if free < total // 50 else Level.OK
    return Assessment(task, level, "memory is nearly full" if level else str(device), values)


def assess_profile(task: str, camera: DefendedCamera, identity: str) -> Assessment:
    """Which profile defends, what it was fitted on, and which thresholds are in use."""
    defense, profile = camera.defense, camera.defense.profile
    fitted, precaution = profile.detector.threshold, profile.detector.precaution
    overridden = defense.threshold != fitted.value or defense.precaution != profile.detector.masking_threshold
    message = f"{camera.segmenter.name}, fitted on {profile.frames} frames"
    values = {
        "profile": identity,
        "segmenter": camera.segmenter.name,
        "network": camera.segmenter.digest[:12],
        "engine": camera.segmenter.engine,
        "fitted on": "; ".join(f"{source.bag} {source.topic}" for source in profile.sources) or "not recorded",
        "frames": str(profile.frames),
        "fitted at": profile.created,
        "vote": str(profile.vote),
        "threshold of the profile": f"{fitted.value:.6g}",
        "false-alarm rate it was set for": f"{fitted.false_alarm_rate:g}",
        "threshold in use": f"{defense.threshold:.6g}",
        "masking threshold of the profile": "none" if precaution is None else f"{precaution.value:.6g}",
        "masking threshold in use": f"{defense.thresholds.masking:.6g}",
    }
    return Assessment(task, Level.OK, message + (", threshold overridden" if overridden else ""), values)
