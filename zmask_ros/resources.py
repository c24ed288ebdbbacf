"""Where the files that come with the package are: configuration, message definitions, models with profile and patch.

A source checkout holds them next to the package; pip and colcon install them under ``share/zmask_ros``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from zmask_ros.errors import ZmaskError

DEFAULT_SEGMENTER = "lraspp_camvid"
PROFILE_SUFFIX = ".zmask.safetensors"
PATCH_SUFFIX = ".patch.png"


def roots() -> Iterator[Path]:
    """Folders that may hold ``config/``, ``models/`` and ``msg/``, the nearest first."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "package.xml").is_file():
        yield checkout
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / "zmask_ros"
    yield Path(sys.prefix) / "share" / "zmask_ros"


def find_resource(relative: str) -> Path:
    """The path of a file that comes with the package, such as ``msg/AttackFlag.msg``.

    Raises:
        ZmaskError: it is nowhere; the sentence names the folders that were searched.
    """
    candidates = [root / relative for root in roots()]
    for path in candidates:
        if path.exists():
            return path
    places = ", ".join(str(path.parent) for path in candidates)
    raise ZmaskError(f"'{Path(relative).name}' belongs to zmask_ros but is missing (looked in {places}): reinstall it.")


def fast_dds_profile() -> dict[str, str]:
    """The variable by which Fast DDS finds its profile, with our profile, whose shared memory images fit into.

    Fast DDS 3, of ROS 2 Kilted and later, has renamed it, and complains on stderr where it finds the old one.
    """
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    renamed = not any(prefix and (Path(prefix) / "share/fastrtps").is_dir() for prefix in prefixes)
    variable = "FASTDDS_DEFAULT_PROFILES_FILE" if renamed else "FASTRTPS_DEFAULT_PROFILES_FILE"
    return {variable: str(find_resource("config/fastdds.xml"))}


def shipped_profile(segmenter: str) -> Path:
    """The profile that comes with ``segmenter``.

    Raises:
        ZmaskError: there is none.
    """
    return _shipped(segmenter, PROFILE_SUFFIX, "profile", "fit one with zmask fit, and name it with --profile")


def shipped_patch(segmenter: str, carrier: str = "") -> Path:
    """The adversarial patch against ``segmenter`` that comes with it.

    Args:
        segmenter: name of the attacked network.
        carrier: of the street world; where a patch was made for it, that one is taken, and else the one for any place.

    Raises:
        ZmaskError: there is none.
    """
    if carrier:
        with suppress(ZmaskError):
            return find_resource(f"models/{segmenter}.{carrier}{PATCH_SUFFIX}")
    return _shipped(segmenter, PATCH_SUFFIX, "patch", "make one with zmask attack, and name it with --patch")


def _shipped(segmenter: str, suffix: str, what: str, remedy: str) -> Path:
    try:
        return find_resource(f"models/{segmenter}{suffix}")
    except ZmaskError as error:
        raise ZmaskError(f"No {what} is shipped for segmenter '{segmenter}': {remedy}.") from error
