"""What commands print of their progress."""

import io
import re

from rich.console import Console

from zmask_ros.cli import console
from zmask_ros.progress import SECONDS


def test_progress_in_a_log_is_a_line_now_and_then(capsys, monkeypatch):
    with console.progress("train", "step", 300) as advance:
        advance(10)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with console.progress("train", "step", 300) as advance:
        advance(40, note="loss 0.1")
    assert re.fullmatch(r"train: 40 of 300, [0-9.]+ step/s, [0-9]+ min left loss 0.1\n", capsys.readouterr().err)


def test_of_seconds_the_time_left_is_what_is_not_over(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with console.progress("prepare", SECONDS, 1200) as advance:
        advance(900)  # Those of an interrupted call, all at once.
        advance(120)
        advance(240)
    assert capsys.readouterr().err.splitlines() == [
        "prepare: 900 of 1200 seconds, 5 min left",
        "prepare: 1020 of 1200 seconds, 3 min left",
        "prepare: 1260 of 1200 seconds, longer than asked for",
    ]


def test_of_seconds_the_bar_moves_by_itself(monkeypatch):
    clock = [1000.0]
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, get_time=lambda: clock[0])
    monkeypatch.setattr(console, "stderr", terminal)
    with console.progress("prepare", SECONDS, 1200) as advance:
        advance(600)
        clock[0] += 90
        with console.progress("patch", "steps", 10) as step:
            step()
            (bars,) = console._bars
            bars.refresh()
        shown = terminal.file.getvalue()
    assert "690/1200" in shown and "0:08:30" in shown
    assert "1/10" in shown
