"""`zmask world`: what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from zmask_ros.cli.main import zmask
from zmask_ros.errors import ZmaskError


def test_exports_that_cannot_be_are_refused(tmp_path: Path) -> None:
    def export(*arguments: str) -> None:
        zmask.main(["world", "export", *arguments, "-o", str(tmp_path / "set")], standalone_mode=False)

    with pytest.raises(ZmaskError, match="one scene without billboards"):
        export("1", "2", "--carrier", "none")
    with pytest.raises(ZmaskError, match="needs a carrier"):
        export("1", "--carrier", "none", "--patch", "patch.png")
    assert list(tmp_path.iterdir()) == []
