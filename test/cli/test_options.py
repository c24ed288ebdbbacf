"""Options that several commands share."""

from __future__ import annotations

import click
import pytest
import torch
from click.testing import CliRunner

from zmask_ros.cli import options
from zmask_ros.cli.main import zmask


def test_threads_are_those_of_torch() -> None:
    @click.command()
    @options.threads
    def command() -> None:
        click.echo(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        assert CliRunner().invoke(command, ["--threads", "3"]).stdout == "3\n"
        assert CliRunner().invoke(command, []).stdout == "3\n", "left as they are where nothing is said"
    finally:
        torch.set_num_threads(before)
    assert "is not in the range" in CliRunner().invoke(command, ["--threads", "0"]).output


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "drive", "--threshold"),
        ("fit", "drive", "-o", "a.zmask.safetensors", "--false-alarm-rate"),
        ("calibrate", "a.zmask.safetensors", "-o", "b.zmask.safetensors", "--precaution-rate"),
        ("finetune", "drive", "-o", "tuned.yaml", "--learning-rate"),
        ("world", "street", "1", "-o", "drive.mcap", "--seconds"),
    ],
)
def test_numbers_that_are_none_are_refused(arguments: tuple[str, ...], value: str) -> None:
    """Click's own ranges take nan: `zmask replay --threshold nan` flagged nothing, and did not say so."""
    result = CliRunner().invoke(zmask, [*arguments, value])
    assert result.exit_code == 2
    assert f"{value} is not " in result.output
