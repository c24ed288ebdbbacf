"""A preparation that takes seconds."""

from zmask_ros.training.settings import PreparationSettings

SETTINGS = PreparationSettings(
    patch_steps=2,
    least_patch_steps=2,
    shown_frames=6,
    drawn_pictures=2,
    head_steps=9,
    patience=2,
    compared_frames=2,
    reported_frames=3,
    screen_steps=0,
)
