"""`zmask` itself."""

from support.commands import zmask
from zmask_ros.cli.main import COMMANDS

WITHOUT_A_NETWORK = {"play", "record", "reload", "world"}


def test_help_lists_every_command_and_each_teaches(capsys):
    code, out, _ = zmask(capsys, "--help")
    assert code == 0
    for name in COMMANDS:
        assert name in out
        code, text, _ = zmask(capsys, name, "--help")
        assert code == 0
        assert "Usage:" in text


def test_every_command_that_runs_a_network_takes_a_number_of_threads(capsys):
    for name in COMMANDS:
        assert ("--threads" in zmask(capsys, name, "--help")[1]) == (name not in WITHOUT_A_NETWORK), name
