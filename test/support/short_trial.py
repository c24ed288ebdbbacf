"""A patch that is tried for a moment: for tests of everything around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zmask_ros.training import margin


@pytest.fixture(autouse=True, scope="module")
def short_trial() -> Iterator[None]:
    """Two steps instead of all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(margin, "TRIAL_STEPS", 2)
        yield
