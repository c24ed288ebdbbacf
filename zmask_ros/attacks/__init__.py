"""Adversarial patches: white-box evasion attacks on segmentation, over transformations or in scenes, adaptive or not.

The road of an attack: `Recipe` -> `train_patch` -> `PatchResult` -> `save_patch`. This room may import defense,
segmenters, data and io; it never imports training, evaluation, node or cli.
"""

from zmask_ros.attacks.attacker import Attacker, Step
from zmask_ros.attacks.eot import EotRanges
from zmask_ros.attacks.files import check_writable, load_patch, load_patches, load_recipe, recipe_path, save_patch
from zmask_ros.attacks.frames import AttackFrame, FrameStack, stack_frames
from zmask_ros.attacks.pasting import paste_at_random, to_tensor, to_uint8
from zmask_ros.attacks.patch_attack import PatchResult, Placement, train_patch
from zmask_ros.attacks.recipe import Recipe
