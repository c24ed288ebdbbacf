"""Tables that commands write into Markdown documents, between two marks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zmask_ros.errors import ZmaskError
from zmask_ros.io.files import replace_file


@dataclass(frozen=True)
class Marks:
    """Where a table begins and ends."""

    begin: str
    end: str

    def check(self, path: Path) -> None:
        """Refuse a document without marks before an hour is spent on it.

        Raises:
            ZmaskError: it cannot be read, or lacks the marks.
        """
        try:
            text = path.read_text()
        except OSError as error:
            raise ZmaskError(f"{path} cannot be read: {error.strerror}.") from error
        if not self._between.search(text):
            raise ZmaskError(
                f"{path} lacks the marks {self.begin} and {self.end}: put them where the tables shall stand."
            )

    def write(self, path: Path, text: str) -> None:
        """Put ``text`` between the marks in the document ``path``.

        Raises:
            ZmaskError: as `check`, or it cannot be written.
        """
        self.check(path)
        replaced = self._between.sub(lambda _: f"{self.begin}\n{text}\n{self.end}", path.read_text())
        replace_file(path, replaced.encode())

    @property
    def _between(self) -> re.Pattern[str]:
        return re.compile(f"{re.escape(self.begin)}.*{re.escape(self.end)}", re.DOTALL)
