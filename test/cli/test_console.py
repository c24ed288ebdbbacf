"""What commands print of their progress."""

import re

from zmask_ros.cli import console


def test_progress_in_a_log_is_a_line_now_and_then(capsys, monkeypatch):
    with console.progress("train", "step", 300) as advance:
        advance(10)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with console.progress("train", "step", 300) as advance:
        advance(40, note="loss 0.1")
    assert re.fullmatch(r"train: 40 of 300, [0-9.]+ step/s, [0-9]+ min left loss 0.1\n", capsys.readouterr().err)
