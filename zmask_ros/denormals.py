"""Numbers too small for a CPU's full speed. Imports nothing of ours."""

from __future__ import annotations


def flush_denormals() -> None:
    """Take what is nearer to zero than 1.2e-38 for zero, in this thread and in all that it starts from now on.

    A CPU computes with such numbers ten times as slowly and more, and weight decay leaves networks full of them: one
    that was published for the drivable area takes fifteen times as long, and says the same to the last bit. Threads
    that are there already are not reached, torch's own among them: call it before torch has computed anything.
    """
    import torch

    torch.set_flush_denormal(True)
