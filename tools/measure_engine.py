"""Measure the shipped network on ONNX Runtime beside torch; the tables go into docs/performance.md.

    python tools/measure_engine.py              # a quarter of an hour, on a machine that does nothing else
    python tools/measure_engine.py --vehicle    # also an installation for vehicles; needs a package index
    python tools/measure_engine.py --imports    # only how long the node's modules take to import; seconds

`zmask bench` on images of two sizes, on a quiet machine and beside two busy processes: ratios to the plain network in
torch and to that on the engine, start-up time and memory. With --vehicle, a new virtual environment is made: how long
that takes and how large it is, and the same start in it. The node's imports are measured where its ROS is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from zmask_ros.cli.console import progress
from zmask_ros.defense import load_profile
from zmask_ros.defense.engine import export_graphs
from zmask_ros.evaluation.performance.benchmark import ENGINE_NAMES
from zmask_ros.evaluation.performance.footprint import Footprint, Subject, measure_footprint
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import DEFAULT_SEGMENTER, shipped_profile
from zmask_ros.segmenters import load_segmenter
from zmask_ros.segmenters.engine.graphs import write_graphs

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
INSTALLATION = ROOT / "docs" / "deployment.md"
MARKS = Marks("<!-- engine: written by tools/measure_engine.py -->", "<!-- end of engine -->")
INSTALLED = Marks("<!-- vehicle: written by tools/measure_engine.py --vehicle -->", "<!-- end of vehicle -->")
IMPORTED = Marks("<!-- imports: written by tools/measure_engine.py -->", "<!-- end of imports -->")
NODE, TORCH = "zmask_ros.node.defense_node", "torch"
LOADED = f"{NODE}, zmask_ros.runtime.camera, zmask_ros.defense.engine, onnxruntime"
"""What the defense node imports when it starts, what takes the most of the rest, and all until its network is there."""
RUNS = (("480x360", 0), ("640x480", 0), ("480x360", 2))
"""Sizes of the images, and numbers of busy processes beside."""
STARTS = 3
IMPORTS = 3
BYTES_PER_MIB = 1 << 20
AIMS = {"plain": None, "clean_streaming": 0.50, "clean_full": 0.55, "tracked": 0.55, "two_pass": 1.00}
OWN_AIMS = {"clean_streaming": 1.20, "tracked": 1.30, "two_pass": 2.40}
"""Ratios to the plain network in torch, and to that on the engine, that are aimed at."""
NAMES = {
    "plain": "plain",
    "clean_streaming": "clean, streaming",
    "clean_full": "clean, as a whole",
    "tracked": "known patch",
    "two_pass": "segmented twice",
}


def bench(size: str, neighbors: int, frames: int, threads: int) -> dict[str, Any]:
    """The figures of `zmask bench` in a process of its own."""
    settings = {"--size": size, "--neighbours": neighbors, "--frames": frames, "--threads": threads, "--starts": 0}
    words = [str(word) for pair in settings.items() for word in pair]
    command = [sys.executable, "-m", "zmask_ros.cli.main", "bench", "--runtime", "onnx", "--json", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def over_own_plain(figures: Mapping[str, Any]) -> dict[str, float]:
    """The defended network over the plain one, both on the engine: medians, by the names of ratios."""
    return {name: figures[case]["engine_overhead_quartiles"][1] for case, name in ENGINE_NAMES.items()}


def rows(measured: Mapping[tuple[str, int], Mapping[str, Any]]) -> Iterator[str]:
    """The table of ratios."""
    yield f"| images | over plain in | {' | '.join(NAMES.values())} |"
    yield "| --- " * (2 + len(NAMES)) + "|"
    for (size, neighbors), figures in measured.items():
        place = size + (f", beside {neighbors} busy processes" if neighbors else "")
        yield _row(place, "torch", figures["engine"], AIMS)
        yield _row(place, "the engine", {"plain": 1.0} | over_own_plain(figures), OWN_AIMS)


def _row(place: str, below: str, ratios: Mapping[str, float], aims: Mapping[str, float | None]) -> str:
    cells = []
    for name in NAMES:
        aim = aims.get(name)
        cells.append(f"{ratios[name]:.2f}" + ("" if aim is None else f" (aim {aim:.2f})"))
    return f"| {place} | {below} | {' | '.join(cells)} |"


def stages(measured: Mapping[tuple[str, int], Mapping[str, Any]]) -> Iterator[str]:
    """The table of stages on the engine, of the first run."""
    figures = next(iter(measured.values()))
    yield "| case | p50 / p99, plain | p50 / p99, defended | stages, ms |"
    yield "| --- | --- | --- | --- |"
    for case, name in ENGINE_NAMES.items():
        own = figures[case]
        plain, defended = (own[f"engine_{kind}_ms_quartiles"][1] for kind in ("plain", "defended"))
        slow_plain, slow = own["engine_plain_ms_p99"], own["engine_defended_ms_p99"]
        times = f"{plain:.1f} / {slow_plain:.1f} ms", f"{defended:.1f} / {slow:.1f} ms"
        told = ", ".join(f"{stage} {ms:.1f}" for stage, ms in own["engine_stages_ms"].items())
        yield f"| {NAMES[name]} | {' | '.join(times)} | {told} |"


def footprints(found: Mapping[str, Footprint]) -> Iterator[str]:
    """The table of processes."""
    first = next(iter(found.values()))
    yield "| one process | start to first frame | most memory | as shares of the first |"
    yield "| --- | --- | --- | --- |"
    for name, own in found.items():
        shares = f"{own.start_s / first.start_s:.2f}, {own.peak_mib / first.peak_mib:.2f}"
        yield f"| {name} | {own.start_s:.1f} s | {own.peak_mib:.0f} MiB | {shares} |"


def import_seconds(modules: str) -> float:
    """Seconds of processor time that a new process takes to import modules: the median of several."""
    code = f"import time; began = time.process_time(); import {modules}; print(time.process_time() - began)"
    command = [sys.executable, "-c", code]
    return median(float(subprocess.check_output(command)) for _ in range(IMPORTS))


def write_imports() -> None:
    """Measure how long the node's modules take to import, and write that."""
    node, loaded, torch = map(import_seconds, (NODE, LOADED, TORCH))
    told = (
        f"The node's imports take {node:.1f} s of processor time until it answers, and {loaded:.1f} s until it has all "
        f"that its network needs on the engine, of which torch takes {torch:.1f} s."
    )
    IMPORTED.write(INSTALLATION, told)
    click.echo(told)


def install(folder: Path) -> tuple[Path, float]:
    """The Python of a new environment with what a vehicle needs, and the seconds that it took to install."""
    began = time.perf_counter()
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    files = [word for name in ("vehicle", "arrays") for word in ("-r", str(ROOT / "requirements" / f"{name}.txt"))]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    environment = own_environment()
    subprocess.run([*pip, *files], check=True, env=environment)
    subprocess.run([*pip, f"{ROOT}[vehicle]"], check=True, env=environment)
    return python, time.perf_counter() - began


def own_environment() -> dict[str, str]:
    """The environment without what leads a Python to the packages of another one."""
    others = ("PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    return {name: value for name, value in os.environ.items() if name not in others}


def size_mib(folder: Path) -> float:
    """What the files in a folder take, in MiB."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / BYTES_PER_MIB


@click.command(help=__doc__)
@click.option("--frames", default=60, show_default=True, help="Frames of each case.")
@click.option("--threads", default=2, show_default=True)
@click.option("--vehicle", is_flag=True, help="Also install and start what a vehicle needs.")
@click.option("--imports", is_flag=True, help="Only measure how long the node's modules take to import.")
def main(frames: int, threads: int, vehicle: bool, imports: bool) -> None:
    """Measure, and write the tables."""
    MARKS.check(DOCUMENT)
    for marks in (INSTALLED, IMPORTED):
        marks.check(INSTALLATION)
    write_imports()
    if imports:
        return
    measured: dict[tuple[str, int], dict[str, Any]] = {}
    with progress("Measuring", "runs", len(RUNS) + 2 + vehicle) as advance, TemporaryDirectory() as place:
        for run in RUNS:
            measured[run] = bench(*run, frames, threads)
            advance(note=str(run))
        network, path = load_segmenter(DEFAULT_SEGMENTER, "cpu"), shipped_profile(DEFAULT_SEGMENTER)
        graphs = Path(place) / "graphs"
        write_graphs(export_graphs(network, load_profile(path)), graphs)
        subject = Subject(DEFAULT_SEGMENTER, str(path), "cpu", threads)
        exported = replace(subject, graphs=str(graphs))
        found = {"torch": measure_footprint(subject, STARTS)}
        advance()
        found["the engine, from exported graphs"] = measure_footprint(exported, STARTS)
        advance()
        if vehicle:
            python, seconds = install(Path(place) / "vehicle")
            size = size_mib(Path(place) / "vehicle")
            own = measure_footprint(exported, STARTS, str(python), own_environment())
            found["the same, installed from requirements/vehicle.txt"] = own
            advance()
            told = (
                f"Installed in {seconds:.0f} s (downloads included), {size:.0f} MiB on disk; {own.start_s:.1f} s from "
                f"the start of a process to its first frame, {own.peak_mib:.0f} MiB of memory at most."
            )
            INSTALLED.write(INSTALLATION, told)
    engine = measured[RUNS[0]]["engine"]["name"]
    title = f"{DEFAULT_SEGMENTER}, {threads} threads, {engine}; medians over {frames} frames of each case."
    tables = [title, *map("\n".join, (rows(measured), stages(measured), footprints(found)))]
    MARKS.write(DOCUMENT, "\n\n".join(tables))
    click.echo("\n\n".join(tables))


if __name__ == "__main__":
    main()
