"""The Z-Mask method in pure torch, from the activations of a network to a defended segmentation.

The order is `evidence`, `masking`, `resegmentation`, `drift`, `profile`, `analyzer`, `defense`, `streaming`,
`engine`: each imports only what stands before it, the rooms `segmenters`, `io` and `flags`, and the errors. Nothing
here imports training, attacks, evaluation, runtime, node or cli.
"""

from zmask_ros.defense.analyzer import Analysis, Analyzer, Evidence
from zmask_ros.defense.defense import (
    Defense,
    DefenseResult,
    FirstPass,
    Thresholds,
    bind,
    check_binding,
    masked_labels,
)
from zmask_ros.defense.evidence.grid import working_grid
from zmask_ros.defense.evidence.overactivation import Branch
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import ActivationTaps, LayerError, tap
from zmask_ros.defense.profile.detector import Detector, RateInterval, Screen, Threshold
from zmask_ros.defense.profile.merging import merge_profiles
from zmask_ros.defense.profile.profile import Profile, ProfileError, Source
from zmask_ros.defense.profile.storage import load_profile, save_profile
from zmask_ros.defense.resegmentation.inpainting import inpaint
from zmask_ros.defense.resegmentation.stem import masked_logits
from zmask_ros.defense.streaming.camera_state import CameraState
from zmask_ros.defense.streaming.streaming import KEYFRAME_INTERVAL_S, StreamingDefense

__all__ = [
    "KEYFRAME_INTERVAL_S",
    "ActivationTaps",
    "Analysis",
    "Analyzer",
    "Branch",
    "CameraState",
    "Defense",
    "DefenseResult",
    "Detector",
    "Evidence",
    "FirstPass",
    "LayerError",
    "LayerStatistics",
    "Moments",
    "Profile",
    "ProfileError",
    "RateInterval",
    "Screen",
    "Source",
    "StreamingDefense",
    "Threshold",
    "Thresholds",
    "bind",
    "check_binding",
    "inpaint",
    "load_profile",
    "masked_labels",
    "masked_logits",
    "merge_profiles",
    "save_profile",
    "tap",
    "working_grid",
]
