"""What these tests share."""

from support.short_trial import short_trial

__all__ = ["short_trial"]
