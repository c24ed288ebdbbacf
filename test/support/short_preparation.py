"""A preparation that takes seconds."""

from zmask_ros.training.settings import PreparationSettings

SETTINGS = PreparationSettings(
    patch_steps=2,
    least_patch_steps=2,
    chunk_seconds=12,
    adversaries=1,
    compared_frames=2,
    reported_frames=3,
    screen_steps=0,
)
