"""Ctrl-C within a head's training that a command does."""

from __future__ import annotations

import pytest

from zmask_ros.training import adversarial


def interrupt_training(patched: pytest.MonkeyPatch, after: int | None) -> list[float]:
    """Have Ctrl-C come in step ``after`` of each training from now on, None: never.

    Returns:
        the losses of all steps from now on, that of the step in which it comes among them.
    """
    losses: list[float] = []

    def note(loss: float) -> str:
        losses.append(loss)
        if len(losses) == after:
            raise KeyboardInterrupt
        return ""

    patched.setattr(adversarial, "loss_note", note)
    return losses
