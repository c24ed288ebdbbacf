"""The documentation against the code: links, commands, parameters, launch arguments, topics, constants."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import zmask_ros.defense
import zmask_ros.flags
import zmask_ros.training
from support import ROOT
from zmask_ros.cli.main import zmask
from zmask_ros.errors import ZmaskError
from zmask_ros.io.images.codec import ENCODINGS
from zmask_ros.launching.arguments import DEFENSE, DEMO, REPLAY, Argument
from zmask_ros.node.parameters.docs import with_tables
from zmask_ros.runtime.picture_topics import PICTURE_TOPICS, UNDEFENDED

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models" / "README.md"]
NODE = ROOT / "docs" / "node.md"
METHOD = ROOT / "docs" / "method.md"
ROOMS_WITH_CONSTANTS = (zmask_ros.defense, zmask_ros.flags, zmask_ros.training)
COMMAND_ENDS = {"|", "||", "&&", ";", "&", ">", "2>"}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def shell_lines(document: Path) -> Iterator[str]:
    """The lines of bash blocks, continued ones joined."""
    for block in re.findall(r"^```bash\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE):
        yield from block.replace("\\\n", " ").splitlines()


def shell_words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def rows_below(document: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its title and its rule."""
    _, _, rest = document.read_text().partition(f"\n{heading}\n")
    assert rest, f"{document.name} has no heading '{heading}'"
    table = re.search(r"(?:^\|.*\n)+", rest, flags=re.MULTILINE)
    assert table is not None, f"there is no table below '{heading}'"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def as_table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def assert_same_rows(document: Path, heading: str, expected: list[list[str]]) -> None:
    assert rows_below(document, heading) == expected, f"below '{heading}' should stand:\n{as_table(expected)}"


def anchors(document: Path) -> set[str]:
    """What headings can be linked to by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


def zmask_calls(document: Path) -> Iterator[list[str]]:
    """The arguments of every `zmask` in a bash block."""
    for line in shell_lines(document):
        words = shell_words(line)
        for position, word in enumerate(words):
            called = position == 0 or words[position - 1] in {"zmask_ros", "scripts/run.sh", "exec", "&&"}
            if word == "zmask" and called:
                rest = words[position + 1 :]
                yield rest[: next((i for i, other in enumerate(rest) if other in COMMAND_ENDS), len(rest))]


def parse(command: click.Command, name: str, arguments: list[str]) -> None:
    """Parse the arguments as a call would, without calling anything."""
    while isinstance(command, click.Group):
        subcommand = command.get_command(click.Context(command), arguments[0])
        assert subcommand is not None, f"there is no `{name} {arguments[0]}`"
        command, name, arguments = subcommand, arguments[0], arguments[1:]
    command.make_context(name, list(arguments))


@each_document
def test_zmask_commands_parse(document: Path) -> None:
    for arguments in zmask_calls(document):
        try:
            parse(zmask, "zmask", arguments)
        except click.ClickException as error:
            pytest.fail(f"zmask {shlex.join(arguments)}: {error.format_message()}")


@each_document
def test_zmask_commands_in_prose_exist(document: Path) -> None:
    named = re.findall(r"`zmask ([a-z]+)", prose(document))
    assert set(named) <= set(zmask.list_commands(click.Context(zmask)))


def test_every_command_is_documented() -> None:
    called = {arguments[0] for arguments in zmask_calls(ROOT / "docs" / "tools.md")}
    assert called >= set(zmask.list_commands(click.Context(zmask)))


@each_document
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    in_blocks = {
        words[position + 1]
        for line in shell_lines(document)
        for words in [shell_words(line)]
        for position, word in enumerate(words[:-1])
        if word == "make"
    }
    assert in_blocks | set(re.findall(r"`make ([a-z-]+)", prose(document))) <= targets


@each_document
def test_executables_exist(document: Path) -> None:
    installed = set(re.findall(r"install_(?:node|executable)\((\w+)", (ROOT / "CMakeLists.txt").read_text()))
    assert set(re.findall(r"ros2 run zmask_ros (\w+)", document.read_text())) <= installed


@pytest.fixture(scope="module")
def constants() -> dict[str, list[object]]:
    """The values of each constant of the rooms whose constants the documentation names."""
    values: dict[str, list[object]] = defaultdict(list)
    for room in ROOMS_WITH_CONSTANTS:
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if name.isupper():
                    values[name].append(value)
    return values


@each_document
def test_constants_have_their_values(document: Path, constants: dict[str, list[object]]) -> None:
    for name, value in re.findall(r"`([A-Z][A-Z_]+) = ([(0-9][^`]*)`", document.read_text()):
        assert ast.literal_eval(value) in constants[name], f"{name} is {constants[name]}"


def names_in_code(document: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that stands after "Code:", where each link to a file is followed by its names."""
    for paragraph in re.findall(r"^Code: (.*?)\n\n", document.read_text(), flags=re.DOTALL | re.MULTILINE):
        for link, names in re.findall(r"\]\((\S+)\)([^\[]*)", paragraph):
            path = (document.parent / link).resolve().relative_to(ROOT.resolve())
            yield from ((".".join(path.with_suffix("").parts), name) for name in re.findall(r"`(\w+)`", names))


def test_names_of_the_method_are_those_of_the_code() -> None:
    named = list(names_in_code(METHOD))
    assert named
    for module, name in named:
        found = vars(importlib.import_module(module)).get(name)
        assert found is not None and getattr(found, "__module__", module) == module, f"{module} defines no {name}"


def test_parameters_are_those_of_the_code() -> None:
    text = NODE.read_text()
    assert with_tables(text) == text, "run make docs"


@pytest.mark.parametrize("document", ["", "\n### Parameters of defense_node\nnothing\n"])
def test_a_document_without_the_tables_is_refused(document: str) -> None:
    with pytest.raises(ZmaskError, match="no table below '### Parameters of defense_node'"):
        with_tables(document)


def launch_row(argument: Argument) -> list[str]:
    return [
        f"`{argument.name}`",
        "(required)" if argument.default is None else f"`{argument.default}`" if argument.default else "",
        ", ".join(f"`{choice}`" for choice in argument.choices if choice),
        argument.description,
    ]


@pytest.mark.parametrize(("name", "table"), [("defense", DEFENSE), ("replay", REPLAY), ("demo", DEMO)])
def test_launch_arguments_are_those_of_the_table(name: str, table: tuple[Argument, ...]) -> None:
    rows = [launch_row(argument) for argument in table]
    assert_same_rows(ROOT / "docs" / "launch.md", f"## Arguments of {name}.launch.py", rows)


def test_published_pictures_are_those_of_the_code() -> None:
    published = {row[0]: row[1] for row in rows_below(NODE, "### Published by defense_node")}
    for topic in (*PICTURE_TOPICS, UNDEFENDED):
        assert published.get(f"`{topic.name}`") == f"`sensor_msgs/Image`, {topic.encoding}"


def test_encodings_are_those_of_the_codec() -> None:
    _, _, rest = NODE.read_text().partition("\nEncodings: ")
    named = re.findall(r"`([^`]+)`", rest.partition("; others through")[0])
    *plain, bayer = named
    match = re.fullmatch(r"bayer_\{(.*)\}\{(.*)\}", bayer)
    assert match is not None
    orders, bits = (part.split(",") for part in match.groups())
    assert sorted([*plain, *(f"bayer_{order}{bit}" for order in orders for bit in bits)]) == sorted(ENCODINGS)


def test_flag_fields_are_those_of_the_message() -> None:
    lines = [line.split("#")[0].split() for line in (ROOT / "msg" / "AttackFlag.msg").read_text().splitlines()]
    fields = [[f"`{words[1]}`", f"`{words[0]}`"] for words in lines if len(words) == 2 and "=" not in words[1]]
    assert [row[:2] for row in rows_below(NODE, "### AttackFlag")] == fields


@each_document
def test_documents_are_plain(document: Path) -> None:
    assert not [line for line in document.read_text().splitlines() if line != line.rstrip()]
    assert "\t" not in document.read_text()
