"""Patches: objectives, expectation over transformation, attackers who know the defence, optimisation."""

from zmask_ros.attacks.attacker import Attacker, Step
from zmask_ros.attacks.eot import (
    EotRanges,
    Transforms,
    local_scale,
    patch_corners,
    sample_layout,
    sample_transforms,
    view_homography,
)
from zmask_ros.attacks.files import check_writable, load_patch, load_patches, load_recipe, recipe_path, save_patch
from zmask_ros.attacks.frames import AttackFrame, FrameStack, stack_frames
from zmask_ros.attacks.losses import AttackGradient, attack_gradient, normalized, smoothness, smoothness_gradient
from zmask_ros.attacks.objectives import Goal
from zmask_ros.attacks.pasting import apply_patch, apply_patches, paste, paste_at_random, to_tensor, to_uint8
from zmask_ros.attacks.patch_attack import PatchResult, Placement, train_patch
from zmask_ros.attacks.projection import PanelView, PinholeCamera, ScenePlacement, panel_corners, paste_on_panel
from zmask_ros.attacks.recipe import Recipe
from zmask_ros.attacks.scenes import AttackScene, gear_scene, street_scene
from zmask_ros.errors import AttackError

__all__ = [
    "AttackError",
    "AttackFrame",
    "AttackGradient",
    "Attacker",
    "PinholeCamera",
    "EotRanges",
    "FrameStack",
    "Goal",
    "PanelView",
    "PatchResult",
    "Placement",
    "Recipe",
    "AttackScene",
    "ScenePlacement",
    "Step",
    "Transforms",
    "apply_patch",
    "apply_patches",
    "attack_gradient",
    "check_writable",
    "gear_scene",
    "load_patch",
    "load_patches",
    "load_recipe",
    "local_scale",
    "normalized",
    "panel_corners",
    "paste",
    "paste_at_random",
    "paste_on_panel",
    "patch_corners",
    "recipe_path",
    "sample_layout",
    "sample_transforms",
    "save_patch",
    "smoothness",
    "smoothness_gradient",
    "stack_frames",
    "street_scene",
    "to_tensor",
    "to_uint8",
    "train_patch",
    "view_homography",
]
