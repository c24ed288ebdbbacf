#!/usr/bin/env bash
# click.FloatRange takes nan, whatever the range: each of its two comparisons with nan is false, so neither bound refuses it, and
# clamp=True gives nan back. A threshold of nan on the command line then means that nothing is ever above it.
set -euo pipefail
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder" || exit 2
"$folder/bin/pip" install --quiet --disable-pip-version-check click==8.5.1 || exit 2

"$folder/bin/python" - <<'END'
import sys
from importlib.metadata import version

import click
from click.testing import CliRunner


@click.command()
@click.option("--share", type=click.FloatRange(0, 1))
@click.option("--clamped", type=click.FloatRange(0, 1, clamp=True))
def command(share: float | None, clamped: float | None) -> None:
    click.echo(clamped if share is None else share, nl=False)


def said(option: str, value: str) -> str:
    result = CliRunner().invoke(command, [option, value])
    return "refused" if result.exit_code else result.output


seen = {(option, value): said(option, value) for option in ("--share", "--clamped") for value in ("inf", "2", "nan")}
print("version: click", version("click"))
print("expected: --share from 0 to 1 refuses inf, 2 and nan; --clamped gives nothing that is not from 0 to 1")
print("seen:", {" ".join(asked): answer for asked, answer in seen.items()})
usual = {seen["--share", value] for value in ("inf", "2")} == {"refused"}
sys.exit(not (usual and seen["--share", "nan"] == seen["--clamped", "nan"] == "nan"))
END
