"""The scenes that `zmask attack --scene` knows."""

from __future__ import annotations

import re
from pathlib import Path

from zmask_ros.attacks.scenes import BLANK, Scene, gear_scene, street_scene
from zmask_ros.cli.console import progress
from zmask_ros.errors import ZmaskError
from zmask_ros.world.carla_gear import CarlaGear
from zmask_ros.world.street import StreetDrive

HELP = (
    "Attack one scene by projection, the patch on its billboard: street:SEED, street:SEED:truck, or a scene's folder "
    "in CARLA-GeAR's layout such as SET/billboard01. Place, size and turn then come from the poses; --scale has no "
    "effect."
)
STREET_SECONDS = 20.0
STREET_RATE_HZ = 15.0


def describe_scene(name: str) -> str:
    """One short line, as a patch's recipe keeps it."""
    return f"scene {name}"


def load_scene(name: str, frames: int) -> Scene:
    """Up to ``frames`` frames of the scene ``name``, with a progress bar.

    Raises:
        ZmaskError: there is no such scene, it cannot be read, or its panel is never large enough.
    """
    street = re.fullmatch(r"street:(\d+)(?::(billboard|truck))?", name)
    if street is None and name.startswith("street:"):
        raise ZmaskError(f"'{name}' is no street scene: write street:SEED or street:SEED:truck, such as street:4.")
    with progress("Looking", "frames", frames) as advance:
        if street is None:
            return gear_scene(CarlaGear(Path(name)), frames, advance)
        drive = StreetDrive(
            int(street[1]), STREET_SECONDS, STREET_RATE_HZ, carrier=street[2] or "billboard", picture=BLANK
        )
        return street_scene(drive, frames, advance)
