"""`zmask segmenters`: the networks that there are, and the layers of one."""

from __future__ import annotations

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_rows, stdout, warn
from zmask_ros.errors import ZmaskError
from zmask_ros.segmenters import Segmenter, descriptions, load_segmenter, read_description
from zmask_ros.training.encoder import ALL_LEVELS, encoder_layers, tappable_layers
from zmask_ros.training.plans import described_layers


@click.command()
@click.argument("name", required=False)
@click.option(
    "--depth",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Layers of so many levels within the network are shown; more if these are few.",
)
@options.threads
@options.as_json
def command(name: str | None, depth: int, as_json: bool) -> None:
    """List the segmenters, or show one: classes, input size, and the layers that can be tapped.

    Loading one also tries it on two pictures, so this checks a description. In the column "set", S and D are layers of
    the description, for mean z-scores, tracking and drift; H are those that the head of zmask fit sees.

    \b
      zmask segmenters
      zmask segmenters lraspp_camvid
      zmask segmenters my_network.yaml --depth 4
    """
    if name is None:
        _list(as_json)
    else:
        _show(load_segmenter(name, "cpu"), depth, as_json)


def _list(as_json: bool) -> None:
    known = [read_description(str(path)) for path in descriptions().values()]
    if as_json:
        print_json(
            [{"name": d.name, "builder": d.builder, "input_size": d.input_size, "file": str(d.source)} for d in known]
        )
        return
    rows = [(d.name, d.builder, f"{d.input_size[1]} x {d.input_size[0]}", len(d.classes), d.source) for d in known]
    print_rows("Segmenters", rows, ("name", "builder", "input (w x h)", "classes", "file"))


def _show(segmenter: Segmenter, depth: int, as_json: bool) -> None:
    every = tappable_layers(segmenter, ALL_LEVELS)
    chosen = _chosen(segmenter)
    shown = tappable_layers(segmenter, depth).keys() | chosen.keys()
    layers = {name: shape for name, shape in every.items() if name in shown}
    if as_json:
        size, classes = segmenter.input_size, list(segmenter.classes)
        told = {"name": segmenter.name, "digest": segmenter.digest, "input_size": size, "classes": classes}
        print_json(told | {"layers": layers, "chosen": chosen})
        return
    height, width = segmenter.input_size
    stdout.print(
        f"{segmenter.name}, {width} x {height} pixels: {', '.join(segmenter.classes)}", highlight=False, markup=False
    )
    rows = [(name, *shape, chosen.get(name, "")) for name, shape in layers.items()]
    print_rows("Layers that can be tapped", rows, ("layer", "channels", "height", "width", "set"))
    if missing := chosen.keys() - every.keys():
        warn(f"The description names what cannot be tapped: {', '.join(sorted(missing))}")
    deeper = every.keys() - layers.keys()
    if deeper:
        levels = max(name.count(".") + 1 for name in deeper)
        stdout.print(f"{len(deeper)} more lie deeper: --depth {levels} shows them all.", highlight=False)


def _chosen(segmenter: Segmenter) -> dict[str, str]:
    """What layers are for, by name: S, D, and H for the transferable head of `zmask fit`."""
    shallow, deep = segmenter.description.shallow_layers, segmenter.description.deep_layers
    head: tuple[str, ...] = ()
    try:
        head = encoder_layers(segmenter)
        if not (shallow or deep):
            shallow, deep = described_layers(segmenter)
    except ZmaskError as error:
        warn(str(error))
    chosen: dict[str, str] = {}
    for letter, names in (("S", shallow), ("D", deep), ("H", head)):
        for name in dict.fromkeys(names):
            chosen[name] = chosen.get(name, "") + letter
    return chosen
