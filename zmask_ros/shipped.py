"""What comes with a segmenter of the package: its profile, and a patch against it."""

from __future__ import annotations

from pathlib import Path

from zmask_ros.errors import ZmaskError
from zmask_ros.resources import find_resource

DEFAULT_SEGMENTER = "lraspp_camvid"
PROFILE_SUFFIX = ".zmask.safetensors"
PATCH_SUFFIX = ".patch.png"


def shipped_profile(segmenter: str) -> Path:
    """The profile that comes with ``segmenter``.

    Raises:
        ZmaskError: there is none.
    """
    return _shipped(segmenter, PROFILE_SUFFIX, "profile", "fit one with zmask fit")


def shipped_patch(segmenter: str) -> Path:
    """The adversarial patch against ``segmenter`` that comes with it.

    Raises:
        ZmaskError: there is none.
    """
    return _shipped(segmenter, PATCH_SUFFIX, "patch", "make one with zmask attack")


def _shipped(segmenter: str, suffix: str, what: str, remedy: str) -> Path:
    try:
        return find_resource(f"models/{segmenter}{suffix}")
    except ZmaskError as error:
        raise ZmaskError(f"No {what} is shipped for segmenter '{segmenter}': {remedy} and name it.") from error
