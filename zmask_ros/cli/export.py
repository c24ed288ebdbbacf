"""`zmask export`: a network and a profile to graphs for an inference engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_table, progress
from zmask_ros.defense import Profile, load_profile
from zmask_ros.defense.engine import Differences, compare_images, export_graphs, on_engine
from zmask_ros.errors import ZmaskError
from zmask_ros.resources import shipped_profile
from zmask_ros.segmenters import Segmenter, build_segmenter, read_description
from zmask_ros.segmenters.engine.graphs import write_graphs
from zmask_ros.training.sources import CleanFrame, CleanSources


@click.command()
@click.argument("segmenter")
@options.path("--profile", help="Profile.  [default: the one shipped with the segmenter]")
@options.path("-o", "--output", required=True, help="Folder of the graphs; made where there is none.")
@options.path("--bag", "bags", multiple=True, help="Also compare with torch on frames of this bag; repeatable.")
@options.topic
@click.option("--frames", type=options.COUNT, default=100, help="About so many frames of the bags, evenly over them.")
@options.significant_bits
@options.threads
@options.as_json
def command(
    segmenter: str,
    profile: Path | None,
    output: Path,
    bags: tuple[Path, ...],
    topic: str | None,
    frames: int,
    significant_bits: int,
    as_json: bool,
) -> None:
    """Write the network of SEGMENTER as ONNX graphs, cut where the defence looks and acts.

    The graphs are compared with torch before they are written, on two fixed pictures and, with --bag, on frames of a
    drive as well: nothing is written where they stray. They go with this network and this profile alone, and are
    refused with others: export again after fitting or calibrating. Needs the packages onnx and onnxruntime
    (pip install -r requirements/onnx.txt).

    \b
      zmask export lraspp_camvid -o graphs
      zmask export lraspp_camvid -o graphs --bag drive_7
      zmask replay drive_7 --runtime onnx --graphs graphs
    """
    description = read_description(segmenter)
    fitted = load_profile(profile or shipped_profile(description.name))
    network = build_segmenter(description, "cpu")
    export = export_graphs(network, fitted)
    engine = on_engine(network.description, network.device, fitted, export)
    sources = CleanSources(None, bags, topic, 1, frames, significant_bits)
    compared = _compare(network, engine, fitted, sources) if bags else None
    paths = write_graphs(export, output)
    if as_json:
        told = {"segmenter": network.name, "digest": network.digest, "graphs": list(map(str, paths[:-1]))}
        print_json(told | ({} if compared is None else {"compared": compared.to_json()}))
        return
    sizes = {str(path): f"{path.stat().st_size / 1e6:.1f} MB" for path in paths}
    own = {} if compared is None else compared.rows()
    print_table("Export", {"segmenter": network.name, "compared on": engine.engine} | own | sizes)


@dataclass(frozen=True)
class _Compared:
    """How far an engine is from torch on frames of a drive.

    Attributes:
        frames: number of frames.
        all: over all of them.
        worst: the frame whose labels, or else whose scores, differ most, and how much.
    """

    frames: int
    all: Differences
    worst: tuple[str, Differences]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready figures."""
        name, worst = self.worst
        return {
            "frames": self.frames,
            "labels_equal": 1 - self.all.changed,
            "score_difference": self.all.strayed,
            "worst_frame": {"name": name, "labels_equal": 1 - worst.changed, "score_difference": worst.strayed},
        }

    def rows(self) -> dict[str, str]:
        """The same as rows of a table."""
        name, worst = self.worst
        return {f"{self.frames} frames": _told(self.all), f"worst, {name}": _told(worst)}


def _told(differences: Differences) -> str:
    return f"{1 - differences.changed:.4%} of the labels equal, scores within {differences.strayed:.1g}"


def _compare(network: Segmenter, engine: Segmenter, profile: Profile, sources: CleanSources) -> _Compared:
    """How far the engine is from torch on these frames.

    Raises:
        EngineError: too far.
        ZmaskError: the frames cannot be read.
    """
    names, found = list[str](), list[Differences]()

    def named(frame: CleanFrame) -> Any:
        names.append(f"frame {frame.index} of {frame.bag}")
        return frame.image

    with progress("Comparing", "frames", None) as advance:
        for differences in compare_images(network, engine, profile, map(named, sources)):
            found.append(differences)
            advance()
    if not found:
        raise ZmaskError("There is no frame to compare on: name bags with images.")
    over = Differences.over(found)
    over.check(engine)
    return _Compared(len(found), over, max(zip(names, found, strict=True), key=_how_far))


def _how_far(named: tuple[str, Differences]) -> tuple[float, float]:
    return named[1].changed, named[1].strayed
