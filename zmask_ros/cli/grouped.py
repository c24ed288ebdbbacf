"""Commands whose help lists options under headings, because they have so many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click


class GroupedCommand(click.Command):
    """A command whose help lists options under headings.

    Args:
        groups: names of parameters by heading, in the order of the help; what is in none comes last, under Options.
    """

    def __init__(self, *arguments: Any, groups: Mapping[str, Sequence[str]], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        records = {p.name: record for p in self.get_params(ctx) if (record := p.get_help_record(ctx)) is not None}
        headed = [(heading, [records.pop(n) for n in names if n in records]) for heading, names in self._groups.items()]
        for heading, rows in [*headed, ("Options", list(records.values()))]:
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
