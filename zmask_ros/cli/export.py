"""`zmask export`: a network and a profile to graphs for an inference engine."""

from __future__ import annotations

from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_table
from zmask_ros.defense import load_profile
from zmask_ros.defense.engine import export_graphs, on_engine
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.segmenters.engine.graphs import write_graphs


@click.command()
@click.argument("segmenter")
@options.path("--profile", help="Profile.  [default: the one shipped with the segmenter]")
@options.path("-o", "--output", required=True, help="Folder of the graphs; made where there is none.")
@options.threads
@options.as_json
def command(segmenter: str, profile: Path | None, output: Path, as_json: bool) -> None:
    """Write the network of SEGMENTER as ONNX graphs, cut where the defence looks and acts.

    The graphs are compared with torch before they are written. They go with this network and this profile alone, and
    are refused with others: export again after fitting or calibrating. Needs the packages onnx and onnxruntime
    (pip install -r requirements/onnx.txt).

    \b
      zmask export lraspp_camvid -o graphs
      zmask replay drive_7 --runtime onnx --graphs graphs
    """
    network = load_segmenter(segmenter, "cpu")
    fitted = load_profile(profile or shipped_profile(network.name))
    export = export_graphs(network, fitted)
    engine = on_engine(network.description, network.device, fitted, export).engine
    paths = write_graphs(export, output)
    if as_json:
        print_json({"segmenter": network.name, "digest": network.digest, "graphs": list(map(str, paths[:-1]))})
        return
    sizes = {str(path): f"{path.stat().st_size / 1e6:.1f} MB" for path in paths}
    print_table("Export", {"segmenter": network.name, "compared on": engine} | sizes)
