"""Patches: losses, expectation over transformation, optimisation."""

from zmask_ros.attacks.eot import EotRanges, Transforms, local_scale, patch_corners, sample_transforms, view_homography
from zmask_ros.attacks.errors import AttackError
from zmask_ros.attacks.files import check_writable, load_patch, load_recipe, recipe_path, save_patch
from zmask_ros.attacks.losses import AttackGradient, attack_gradient, normalised, smoothness, smoothness_gradient
from zmask_ros.attacks.optimise import AttackFrame, FrameStack, PatchResult, Step, stack_frames, train_patch
from zmask_ros.attacks.pasting import apply_patch, paste, paste_at_random, to_tensor, to_uint8
from zmask_ros.attacks.recipe import Recipe

__all__ = [
    "AttackError",
    "AttackFrame",
    "AttackGradient",
    "EotRanges",
    "FrameStack",
    "PatchResult",
    "Recipe",
    "Step",
    "Transforms",
    "apply_patch",
    "attack_gradient",
    "check_writable",
    "load_patch",
    "load_recipe",
    "local_scale",
    "normalised",
    "paste",
    "paste_at_random",
    "patch_corners",
    "recipe_path",
    "sample_transforms",
    "save_patch",
    "smoothness",
    "smoothness_gradient",
    "stack_frames",
    "to_tensor",
    "to_uint8",
    "train_patch",
    "view_homography",
]
