"""The Z-Mask method in pure torch: statistics, over-activation, fusion, score, masking."""

from zmask_ros.defense.analyzer import Analysis, Analyzer, Evidence, hard_mask
from zmask_ros.defense.defense import Defense, DefenseResult, FirstPass, Thresholds, bind, masked_labels
from zmask_ros.defense.evidence.fusion import FusionBlock, attack_score
from zmask_ros.defense.evidence.grid import working_grid
from zmask_ros.defense.evidence.overactivation import Branch, LayerOverActivation
from zmask_ros.defense.evidence.statistics import LayerStatistics, Moments
from zmask_ros.defense.evidence.taps import ActivationTaps, LayerError
from zmask_ros.defense.masking.growth import Growth
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
    "Analyser",
    "Analysis",
    "Branch",
    "Defended",
    "Defense",
    "Detector",
    "Evidence",
    "FirstPass",
    "FusionBlock",
    "Growth",
    "LayerError",
    "LayerOverActivation",
    "LayerStatistics",
    "Moments",
    "Profile",
    "ProfileError",
    "RateInterval",
    "Screen",
    "Source",
    "StreamState",
    "StreamingDefense",
    "Threshold",
    "Thresholds",
    "attack_score",
    "bind",
    "fill_masked",
    "hard_mask",
    "load_profile",
    "masked_labels",
    "masked_logits",
    "merge_profiles",
    "save_profile",
    "working_grid",
]
