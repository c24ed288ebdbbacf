"""Options that several commands share."""

from __future__ import annotations

import click
import torch
from click.testing import CliRunner

from zmask_ros.cli import options


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
