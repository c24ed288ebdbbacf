"""Entry point of `zmask`; subcommands are imported when they are called, so that --help is quick."""

from __future__ import annotations

import importlib
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

import click

from zmask_ros import __version__
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.raw_messages import BagWarning
from zmask_ros.malloc import keep_freed_memory
from zmask_ros.openmp import set_up_openmp

COMMANDS = {
    "prepare": "Make the best profile that can be had in the time given, from clean drives and a network.",
    "fit": "Fit the clean statistics of a camera from bags of clean drives.",
    "calibrate": "Train the fusion block of a profile on patches, and set its threshold.",
    "screen": "Give a profile a screening: a small head that sees frames of a clean drive first, which costs less.",
    "inspect": "Show what is in a profile, or in a bag.",
    "replay": "Run the defence over a bag; write a bag and a video.",
    "play": "Play a bag into ROS 2 topics, as ros2 bag play does.",
    "record": "Write every flag, and the pictures around an attack, to disk.",
    "reload": "Give a running node new profiles, without losing a frame.",
    "finetune": "Make the network itself harder to attack: adversarial fine-tuning on clean drives, without labels.",
    "attack": "Optimise an adversarial patch against a segmenter.",
    "evaluate": "Measure what attackers can do against the defence, beside other defences.",
    "export": "Write a network as ONNX graphs, which run faster than torch.",
    "bench": "Measure what the defence costs on top of the plain network.",
    "segmenters": "List the segmenters, or the layers of one.",
    "world": "Record drives of the street world, or of CamVid, into a bag.",
    "demo": "A drive behind a truck with an adversarial patch, through ROS 2, defended.",
}
BAD_INPUT = 2
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose subcommand ``x`` is ``command`` of ``zmask_ros.cli.x``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the subcommand; None where there is none of that name."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"zmask_ros.cli.{name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; a package that is not installed is named, wherever it turns out to be missing.

        Raises:
            ZmaskError: one is.
        """
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise ZmaskError(
                f"This needs the Python package {(error.name or '').partition('.')[0]}, which an installation for "
                "vehicles leaves out: pip install 'zmask_ros[desk]', or requirements/torch.txt and "
                "requirements/python.txt."
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="zmask")
def zmask() -> None:
    """Find, mask and report adversarial patches in camera streams.

    A vehicle's four steps: record clean drives (ros2 bag record), `zmask prepare` a profile of them,
    `ros2 launch zmask_ros defense.launch.py profile:=...`, and look in RViz. `zmask COMMAND --help` teaches each.
    """


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM unwind like Ctrl-C, so that no process and no half-written file is left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warned_of_bags() -> Iterator[None]:
    """Print each warning of a bag as the commands print theirs, and not as one of Python's."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, BagWarning):
            from zmask_ros.cli.console import warn

            warn(str(message))
        else:
            before(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        before, warnings.showwarning = warnings.showwarning, show
        warnings.simplefilter("always", BagWarning)
        yield


@contextmanager
def _undisturbed_json() -> Iterator[None]:
    """Keep stdout for JSON, if that is asked for."""
    if "--json" not in sys.argv:
        yield
        return
    from zmask_ros.cli.console import only_json_on_stdout

    with only_json_on_stdout():
        yield


def main() -> None:
    """Run `zmask`; a user's mistake is one sentence and exit code 2."""
    keep_freed_memory()
    set_up_openmp(spin=True)
    try:
        with _ended_by_sigterm(), _warned_of_bags(), _undisturbed_json():
            zmask(standalone_mode=False)
    except ZmaskError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing was left half-written.", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
