"""A head's long training that is interrupted: where its state lies, and what is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from zmask_ros.cli.main import INTERRUPTED

SUFFIX = ".training.pt"


@contextmanager
def kept_training(output: Path) -> Iterator[Path]:
    """Give the file that keeps the state of a training for the profile ``output``; it is deleted at the end.

    After Ctrl-C, if there is one, say that the same command goes on, and end.
    """
    state = output.with_name(output.name + SUFFIX)
    try:
        yield state
    except KeyboardInterrupt:
        if not state.exists():
            raise
        click.echo(f"Interrupted: the same command goes on from here, by {state}.", err=True)
        sys.exit(INTERRUPTED)
    state.unlink(missing_ok=True)
