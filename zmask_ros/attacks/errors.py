"""The error of this ring."""

from __future__ import annotations

from zmask_ros.errors import ZmaskError


class AttackError(ZmaskError):
    """An attack that cannot be run as asked, or a patch file that cannot be read or written."""
