"""What an earlier demo has made and need not be made again."""

from __future__ import annotations

from pathlib import Path

from zmask_ros.demo.reuse import Origins, source_digest


def test_what_was_made_from_the_same_is_current(tmp_path: Path) -> None:
    origins, file = Origins(tmp_path / "made.json"), tmp_path / "file"
    assert not origins.is_current(file, "a")
    origins.note(file, "a")
    assert not origins.is_current(file, "a"), "the file itself is not there"
    file.touch()
    assert origins.is_current(file, "a")
    assert not origins.is_current(file, "b")
    (tmp_path / "made.json").write_text("{")
    assert not origins.is_current(file, "a")


def test_source_digest_tells_parts_apart() -> None:
    assert source_digest("data/street") == source_digest("data/street")
    assert source_digest("data/street") != source_digest("data/street", "errors.py")
