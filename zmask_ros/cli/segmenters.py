"""`zmask segmenters`: the networks that there are, and the layers of one."""

from __future__ import annotations

import click
import torch

from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_rows, stdout
from zmask_ros.defense.evidence.taps import feature_layers
from zmask_ros.segmenters import Segmenter, descriptions, load_segmenter, read_description


@click.command()
@click.argument("name", required=False)
@options.threads
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
        print_json(
            [{"name": d.name, "builder": d.builder, "input_size": d.input_size, "file": str(d.source)} for d in known]
        )
        return
    rows = [(d.name, d.builder, f"{d.input_size[1]} x {d.input_size[0]}", len(d.classes), d.source) for d in known]
    print_rows("Segmenters", rows, ("name", "builder", "input (w x h)", "classes", "file"))


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
    rows = [(name, *shape, chosen.get(name, "")) for name, shape in layers.items()]
    print_rows("Layers that can be tapped", rows, ("layer", "channels", "height", "width", "set"))
