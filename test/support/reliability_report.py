"""Figures of the slow node tests, for docs/reliability.md: written where ZMASK_RELIABILITY names the document."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def report(section: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Put a table between the marks of a section, instead of what was there; nothing where no document is named."""
    place = os.environ.get("ZMASK_RELIABILITY")
    if not place:
        return
    path = Path(place)
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    before, found, rest = path.read_text().partition(begin)
    assert found and end in rest, f"{path} has no place for {section}"
    lines = [head, ("---",) * len(head), *rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    machine = f"On {os.cpu_count()} CPU cores ({platform.machine()}), load {os.getloadavg()[1]:.1f}.\n"
    path.write_text(f"{before}{begin}\n{table}\n{machine}\n{end}{rest.partition(end)[2]}")
