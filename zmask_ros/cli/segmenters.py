"""`zmask segmenters`: the networks that there are, and the layers of one."""

from __future__ import annotations

import click
import torch
from rich.markup import escape
from rich.table import Table

from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, stdout
from zmask_ros.defense.evidence.taps import feature_layers
from zmask_ros.segmenters import Segmenter, descriptions, load_segmenter, read_description


@click.command()
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List the segmenters, or show one: classes, input size, and every layer that can be tapped.

    \b
      zmask segmenters
      zmask segmenters lraspp_camvid
      zmask segmenters my_network.yaml
    """
    if name is None:
        _list(as_json)
    else:
        _show(load_segmenter(name, "cpu"), as_json)


def _list(as_json: bool) -> None:
    known = [read_description(str(path)) for path in descriptions().values()]
    if as_json:
        rows = [(d.name, d.builder, d.input_size, str(d.source)) for d in known]
        print_json([dict(zip(("name", "builder", "input_size", "file"), row, strict=True)) for row in rows])
        return
    table = Table("name", "builder", "input (w x h)", "classes", "file", title="Segmenters", title_justify="left")
    for d in known:
        size = f"{d.input_size[1]} x {d.input_size[0]}"
        table.add_row(escape(d.name), escape(d.builder), size, str(len(d.classes)), escape(str(d.source)))
    stdout.print(table)


@torch.inference_mode()
def _show(segmenter: Segmenter, as_json: bool) -> None:
    gray = torch.zeros(1, 3, *segmenter.input_size, device=segmenter.device)
    # Those down to two levels below the network that give one feature map, with their shapes [C, h, w].
    layers = dict(feature_layers(segmenter.network, lambda: segmenter.logits(gray)))
    chosen = {name: "S" for name in segmenter.description.shallow_layers}
    for name in segmenter.description.deep_layers:
        chosen[name] = chosen.get(name, "") + "D"
    if as_json:
        print_json({"name": segmenter.name, "digest": segmenter.digest, "layers": layers, "chosen": chosen})
        return
    stdout.print(f"{segmenter.name}: {', '.join(segmenter.classes)}", highlight=False, markup=False)
    columns = ("layer", "channels", "height", "width", "set")
    table = Table(*columns, title="Layers that can be tapped", title_justify="left")
    for name, shape in layers.items():
        table.add_row(escape(name), *(str(n) for n in shape), chosen.get(name, ""))
    stdout.print(table)
