"""`zmask` itself."""

from support.commands import zmask
from zmask_ros.cli.main import COMMANDS


def test_help_lists_every_command_and_each_teaches(capsys):
    code, out, _ = zmask(capsys, "--help")
    assert code == 0
    for name in COMMANDS:
        assert name in out
        code, text, _ = zmask(capsys, name, "--help")
        assert code == 0
        assert "Usage:" in text
