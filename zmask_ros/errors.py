"""The errors that users see: each is one sentence."""

from __future__ import annotations


class ZmaskError(Exception):
    """Bad input or a user's mistake: one clear sentence that says what to do."""


class AttackError(ZmaskError):
    """An attack that cannot be run as asked, or a patch file that cannot be read or written."""


def describe_error(error: BaseException) -> str:
    """Describe an error that is not ours in one line: its class and its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())
