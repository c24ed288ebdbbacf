"""`zmask bench`: what the defense costs on top of the plain network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

from zmask_ros.attacks import load_patch
from zmask_ros.cli import options
from zmask_ros.cli.console import print_json, print_table, progress, warn
from zmask_ros.defense import Defense, Profile, load_profile
from zmask_ros.defense.engine import deploy, export_graphs
from zmask_ros.errors import ZmaskError
from zmask_ros.evaluation.performance.benchmark import Benchmark, device_name, run_benchmark
from zmask_ros.evaluation.performance.benchmark_report import NAIVE, cost_plot, markdown, modes_markdown
from zmask_ros.evaluation.performance.footprint import Footprint, Subject, measure_footprint
from zmask_ros.evaluation.performance.modes import SIZES, measure_modes
from zmask_ros.evaluation.performance.timing import PairedTimes, Quartiles, p99
from zmask_ros.inference import RUNTIMES, Runtime
from zmask_ros.io.files import check_place, replace_file
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import DEFAULT_SEGMENTER, shipped_patch, shipped_profile
from zmask_ros.segmenters import Segmenter, choose_device, load_segmenter
from zmask_ros.segmenters.engine.graphs import write_graphs

PERFORMANCE = Marks("<!-- figures: written by zmask bench --docs -->", "<!-- end of figures -->")
MODES = Marks("<!-- modes: written by zmask bench --modes --docs -->", "<!-- end of modes -->")


@click.command()
@options.defended_segmenter
@options.path("--profile", help="Profile.  [default: the one shipped]")
@options.path("--patch", help="Patch, a picture.  [default: the one shipped]")
@click.option("--size", type=options.IMAGE_SIZE, help="The camera's images.  [default: the network's input size]")
@click.option("--frames", type=options.COUNT, default=60, help="Frames of each case.")
@options.threads
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    help="What is measured beside torch: auto, ONNX Runtime where it can be used; onnx, the same or nothing at all; "
    "torch, nothing.",
)
@options.graphs
@click.option(
    "--neighbours",
    type=click.IntRange(min=0),
    default=0,
    help="So many processes keep a core busy each meanwhile, as on a vehicle.",
)
@click.option(
    "--starts",
    type=click.IntRange(min=0),
    default=3,
    help="So many processes are started in torch, and as many on the engine, for start-up time and memory.",
)
@click.option(
    "--sweep", is_flag=True, help="Also other image sizes, input sizes and layers, and cameras together in one batch."
)
@click.option("--networks", is_flag=True, help="Also torchvision's networks with random weights; takes minutes.")
@click.option(
    "--modes",
    is_flag=True,
    help="Instead: networks with random weights in each of torch's modes, for a GPU: eager, compiled with CUDA graphs, "
    "in half precision, four cameras in a batch; and how often the host waits for the device.",
)
@click.option("--demo", is_flag=True, help="Also time the analysis as the paper's authors' demo does it; slow.")
@options.path("--plot", help="Draw how the cost grows (SVG); with --sweep.")
@options.path("--docs", help="Write the figures into this document.")
@options.device
@options.as_json
def command(
    segmenter: str | None,
    profile: Path | None,
    patch: Path | None,
    size: tuple[int, int] | None,
    frames: int,
    runtime: Runtime,
    graphs: Path | None,
    neighbours: int,
    starts: int,
    sweep: bool,
    networks: bool,
    modes: bool,
    demo: bool,
    plot: Path | None,
    docs: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure what the defence costs on top of the plain network.

    Plain and defended network see the same street-world frames in turn, in one process: from the camera's image to
    labels. Each frame gives a ratio of two times that lie next to each other; medians and quartiles of the ratios
    are printed: for clean frames in streaming mode, most of which are only glanced at; for clean frames that are all
    analysed as a whole; for frames with a patch, which are segmented twice where masked; and for a patch that is known
    already, which is taken out in one pass. The analysis is also timed against the paper's description of it,
    step by step, on the same layers and kernels: in the same pass of the network, and, as the authors' demo does it, in
    one pass for each layer; with --demo, on the demo's grid and with its kernels as well.

    Where ONNX Runtime is installed, it runs the plain and the defended network on the same frames, in turn with torch.
    Processes that start the defence in torch, and on the engine with exported graphs, say how long that takes up to the
    first frame and how much memory; --starts 0 leaves that out.

    \b
      zmask bench
      zmask bench --threads 2 --neighbours 2
      zmask bench --size 1280x720 --frames 200 --device cuda --json
      zmask bench --modes --device cuda --docs docs/performance.md
    """
    if modes:
        _check_only_modes(sweep=sweep, networks=networks, demo=demo, plot=plot, profile=profile, graphs=graphs)
        _report_modes(device, size, frames, patch, docs, as_json)
        return
    if plot is not None:
        if not sweep:
            raise ZmaskError("There is nothing to draw without --sweep: add it, or leave --plot away.")
        check_place(plot)
    if docs is not None:
        PERFORMANCE.check(docs)
    segmenter = options.named_segmenter(segmenter, profile)
    network = load_segmenter(segmenter, device)
    path = profile or shipped_profile(network.name)
    fitted = load_profile(path)
    defense = Defense(network, fitted)
    deployment = deploy(network, fitted, runtime, graphs)
    if deployment.reason:
        warn(f"only torch is measured: {deployment.reason}")
    engine = None if deployment.segmenter is network else deployment.segmenter
    picture = load_patch(patch or shipped_patch(network.name))
    result = run_benchmark(network, defense, picture, size, frames, sweep, networks, demo, progress, engine, neighbours)
    if starts:
        subject = Subject(segmenter, str(path), device, torch.get_num_threads())
        folder = graphs or network.description.graphs
        result = replace(result, footprints=_footprints(subject, starts, network, fitted, engine, folder))
    if plot is not None:
        replace_file(plot, cost_plot(result).encode())
    if docs is not None:
        PERFORMANCE.write(docs, markdown(result))
    if as_json:
        print_json(result.to_json())
    else:
        print_table("Bench", _rows(result))


def _check_only_modes(**others: object) -> None:
    """Refuse options that do not go with --modes.

    Raises:
        ZmaskError: one of them was given.
    """
    for name, value in others.items():
        if value:
            raise ZmaskError(f"--modes measures networks of its own and nothing else: leave --{name} away.")


def _report_modes(
    device: str, size: tuple[int, int] | None, frames: int, patch: Path | None, docs: Path | None, as_json: bool
) -> None:
    """Measure torch's modes, and print or write the tables."""
    if docs is not None:
        MODES.check(docs)
    place = choose_device(device)
    picture = load_patch(patch or shipped_patch(DEFAULT_SEGMENTER))
    sizes = SIZES if size is None else (size,)
    measured = measure_modes(str(place), sizes, frames, picture, progress)
    told = (
        f"{device_name(place)}, {torch.get_num_threads()} threads, torch {torch.__version__}; medians over {frames} "
        "frames of each case."
    )
    if docs is not None:
        MODES.write(docs, modes_markdown(measured, told))
    if as_json:
        print_json(
            {"device": device_name(place), "torch": str(torch.__version__), "modes": [m.to_json() for m in measured]}
        )
    else:
        click.echo(modes_markdown(measured, told))


def _footprints(
    subject: Subject,
    starts: int,
    network: Segmenter,
    profile: Profile,
    engine: Segmenter | None,
    graphs: Path | None,
) -> dict[str, Footprint]:
    """The footprint of processes that run the defense in torch and, if there is an engine, on that.

    Args:
        graphs: folder that `zmask export` wrote; None: graphs are made for the engine.
    """
    with progress("Starting", "ways", 1 if engine is None else 2) as advance, TemporaryDirectory() as temporary:
        found = {"torch": measure_footprint(subject, starts)}
        advance()
        if engine is not None:
            if graphs is None:
                graphs = Path(temporary)
                write_graphs(export_graphs(network, profile), graphs)
            found[engine.engine] = measure_footprint(replace(subject, graphs=str(graphs)), starts)
            advance()
    return found


def _rows(result: Benchmark) -> dict[str, str]:
    figures = result.to_json()
    rows = {name.replace("_", " "): str(value) for name, value in figures.items() if isinstance(value, str | int)}
    rows |= {NAIVE[name]: f"{factor:g} times ours" for name, factor in result.slowdowns.items()}
    for case, times in result.cases.items():
        plain, defended, ratio = Quartiles.of(times.plain), Quartiles.of(times.defended), times.ratio
        counts = len(times.plain), times.analyzed, times.flagged, times.twice, times.tracked
        rows[f"{case}: frames, analysed as a whole, flagged, segmented twice, known"] = ", ".join(map(str, counts))
        rows[f"{case}: plain"] = f"{_spread(plain)}, p99 {p99(times.plain):.1f} ms"
        rows[f"{case}: defended"] = f"{_spread(defended)}, p99 {p99(times.defended):.1f} ms"
        if times.engine is not None:
            rows[f"{case}: plain on the engine"] = _compared(times, times.engine.plain)
            rows[f"{case}: defended on the engine"] = _compared(times, times.engine.defended)
        rows[f"{case}: overhead"] = f"{ratio.median:.3f} times ({ratio.low:.3f} to {ratio.high:.3f})"
        rows[f"{case}: overhead over all frames"] = f"{times.mean_ratio:.3f} times"
        rows[f"{case}: stages"] = ", ".join(f"{name} {value:.1f} ms" for name, value in times.stage_medians.items())
        if times.engine is not None:
            own = times.engine.stage_medians
            rows[f"{case}: stages on the engine"] = ", ".join(f"{name} {value:.1f} ms" for name, value in own.items())
    if result.engine:
        rows["engine"] = result.engine
    for name, taken in result.footprints.items():
        rows[f"{name}: start to first frame, most memory"] = f"{taken.start_s:.1f} s, {taken.peak_mib:.0f} MiB"
    return rows


def _spread(times: Quartiles) -> str:
    return f"{times.median:.1f} ms ({times.low:.1f} to {times.high:.1f})"


def _compared(times: PairedTimes, engine: Sequence[float]) -> str:
    """Times on the engine, and how many times those of the plain network in torch they are."""
    own, ratio = Quartiles.of(engine), times.to_plain(engine)
    return (
        f"{_spread(own)}, p99 {p99(engine):.1f} ms, "
        f"{ratio.median:.3f} times torch's plain network ({ratio.low:.3f} to {ratio.high:.3f})"
    )
