"""The Z-Mask method in pure torch: statistics, over-activation, fusion, score, masking."""

from zmask_ros.defense.analysis import Analyser, Analysis, Evidence, hard_mask
from zmask_ros.defense.defense import Defended, Defense, FirstPass, Thresholds, bind, masked_labels
from zmask_ros.defense.filling import fill_masked
from zmask_ros.defense.fitting import CleanFit, Plan
from zmask_ros.defense.fusion import FusionBlock, attack_score
from zmask_ros.defense.growth import Growth
from zmask_ros.defense.merging import merge_profiles
from zmask_ros.defense.overactivation import Branch, LayerOverActivation
from zmask_ros.defense.pooling import working_grid
from zmask_ros.defense.profile import (
    Profile,
    ProfileError,
    RateInterval,
    Screen,
    Source,
    Threshold,
    without_head,
    without_screen,
)
from zmask_ros.defense.profile_file import load_profile, save_profile
from zmask_ros.defense.statistics import LayerStatistics, Moments
from zmask_ros.defense.stem import masked_logits
from zmask_ros.defense.stream_state import StreamState
from zmask_ros.defense.streaming import KEYFRAME_INTERVAL_S, StreamingDefense
from zmask_ros.defense.taps import ActivationTaps, LayerError
from zmask_ros.defense.vote import Vote, VoteRule

__all__ = [
    "KEYFRAME_INTERVAL_S",
    "ActivationTaps",
    "Analyser",
    "Analysis",
    "Branch",
    "CleanFit",
    "Defended",
    "Defense",
    "Evidence",
    "FirstPass",
    "FusionBlock",
    "Growth",
    "LayerError",
    "LayerOverActivation",
    "LayerStatistics",
    "Moments",
    "Plan",
    "Profile",
    "ProfileError",
    "RateInterval",
    "Screen",
    "Source",
    "StreamState",
    "StreamingDefense",
    "Threshold",
    "Thresholds",
    "Vote",
    "VoteRule",
    "attack_score",
    "bind",
    "fill_masked",
    "hard_mask",
    "load_profile",
    "masked_labels",
    "masked_logits",
    "merge_profiles",
    "save_profile",
    "without_head",
    "without_screen",
    "working_grid",
]
