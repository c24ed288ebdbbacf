"""The figures of `zmask bench` as tables and as a plot for a document."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure

from zmask_ros.evaluation.performance.benchmark import CASES, Benchmark
from zmask_ros.evaluation.performance.modes import CAMERAS, ModeTimes, own_times
from zmask_ros.evaluation.performance.timing import Quartiles, p99
from zmask_ros.evaluation.report.plots import COLORS, bare, svg
from zmask_ros.evaluation.report.tables import markdown_table

NAIVE = {
    "naive_analysis": "step by step as in the paper; same pass, grid and kernels",
    "naive_passes": "one forward pass for each layer, as in the authors' demo; same grid and kernels",
    "naive_demo": "as in the authors' demo: also its grid of 150x300 and its kernels, from 64x128 to 8x16",
}


def markdown(benchmark: Benchmark) -> str:
    """The figures as tables, with what they were measured on."""
    subject, count = benchmark.subject, len(benchmark.cases["clean"].plain)
    rows = []
    for size, case in itertools.product(benchmark.sizes, benchmark.cases):
        times = benchmark.sizes[size][case]
        ratio = times.ratio
        rows.append(
            {
                "camera's images": size,
                "case": CASES[case],
                "plain, p50 / p99": _typical(times.plain),
                "defended, p50 / p99": _typical(times.defended),
                "ratio (quartiles)": f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                "mean ratio": f"{times.mean_ratio:.2f}",
                "analysed": f"{times.analyzed / len(times.plain):.0%}",
                "stages": ", ".join(f"{name} {ms:.1f}" for name, ms in times.stage_medians.items()),
            }
        )
    engine_rows = []
    for size, case in itertools.product(benchmark.sizes, benchmark.cases):
        times = benchmark.sizes[size][case]
        if times.engine is not None:
            over_plain = [times.to_plain(own).median for own in (times.engine.plain, times.engine.defended)]
            engine_rows.append(
                {
                    "camera's images": size,
                    "case": CASES[case],
                    "plain, p50 / p99": _typical(times.engine.plain),
                    "defended, p50 / p99": _typical(times.engine.defended),
                    "plain, over torch's plain": f"{over_plain[0]:.2f}",
                    "defended, over torch's plain": f"{over_plain[1]:.2f}",
                    "defended over plain": f"{times.engine.ratio.median:.2f}",
                    "stages": ", ".join(f"{name} {ms:.1f}" for name, ms in times.engine.stage_medians.items()),
                }
            )
    columns = ("the analysis, without a head, on the same layers", "time, as a multiple of ours")
    slowdowns = [(NAIVE[name], f"{factor:g}") for name, factor in benchmark.slowdowns.items()]
    lines = [
        f"{subject.segmenter}, input {subject.input_size}, {subject.device}, {subject.threads} threads, "
        f"torch {subject.torch}{_beside(subject.neighbours)}; medians over {count} frames of each case.",
        "",
        *(markdown_table(list(rows[0]), [list(row.values()) for row in rows]), ""),
        *(markdown_table(columns, slowdowns), ""),
    ]
    if engine_rows:
        table = markdown_table(list(engine_rows[0]), [list(row.values()) for row in engine_rows])
        lines += [f"The same frames on {benchmark.engine}, in turn with those above:", "", table, ""]
    if benchmark.footprints:
        processes = benchmark.footprints.items()
        taken = [(name, f"{own.start_s:.1f} s", f"{own.peak_mib:.0f} MiB") for name, own in processes]
        lines += [markdown_table(("one process", "start to first frame", "most memory"), taken), ""]
    for cameras, gain in benchmark.batch_gain.items():
        lines.append(f"{cameras} cameras in one batch: {gain:g} times the frames of one after the other.")
    growing = {
        "the network's input": benchmark.input_sizes,
        "layers that the head looks at": benchmark.layers,
        "network, random weights": benchmark.networks,
    }
    for title, costs in growing.items():
        if costs:
            titles = (title, "plain", "clean, as a whole", "segmented twice")
            cells = [(name, f"{c.plain_ms:.1f} ms", f"{c.clean:.2f}", f"{c.two_pass:.2f}") for name, c in costs.items()]
            lines += ["", markdown_table(titles, cells)]
    return "\n".join(lines)


def modes_markdown(measured: Sequence[ModeTimes], place: str) -> str:
    """The figures of torch's modes as tables, with ``place``, what they were measured on."""
    rows, batches = [], []
    for own in measured:
        head = (own.network, own.size, own.mode)
        if own.reason:
            rows.append((*head, f"not measured: {own.reason}".replace("|", "/"), *[""] * 7))
        for case, times in own.cases.items():
            there, waits = own_times(times), own.waits[case]
            plain, defended = (f"{Quartiles.of(kind).median:.2f} ms" for kind in (there.plain, there.defended))
            over = f"{there.ratio.median:.2f}", f"{times.to_plain(there.defended).median:.2f}"
            did = f"{there.analyzed}, {there.twice}, {there.tracked} of {len(there.plain)}"
            waited = f"{waits.synchronizations:.1f}", f"{waits.copies:.1f}"
            rows.append((*head, CASES[case], plain, defended, *over, did, *waited))
        if own.batch is not None:
            batch = own.batch
            times_ms = (f"{ms:.2f} ms" for ms in (batch.plain, batch.defended, batch.one_by_one))
            batches.append((*head, *times_ms, f"{batch.one_by_one / batch.defended:.2f}"))
    titles = (
        *("network, random weights", "images", "mode", "case", "plain", "defended", "over plain"),
        *("over plain, eager in float32", "analysed, twice, known", "synchronizations", "copies to the host"),
    )
    batch_titles = (
        *titles[:3],
        *(f"{CAMERAS} cameras, plain", "defended", "defended one by one", "frames in the same time"),
    )
    lines = [place, "", markdown_table(titles, rows)]
    return "\n".join(lines + (["", markdown_table(batch_titles, batches)] if batches else []))


def _typical(times: Sequence[float]) -> str:
    return f"{Quartiles.of(times).median:.1f} / {p99(times):.1f} ms"


def _beside(neighbours: int) -> str:
    return f", beside {neighbours} busy processes" if neighbours else ""


def cost_plot(benchmark: Benchmark) -> str:
    """How the cost grows with the network's input, with the layers, and with the cameras in a batch, as SVG."""
    figure = Figure(figsize=(10.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    growing = (("network's input", benchmark.input_sizes), ("layers", benchmark.layers))
    for axes, (label, costs) in zip(panels, growing, strict=False):
        clean, two_pass = [cost.clean for cost in costs.values()], [cost.two_pass for cost in costs.values()]
        axes.plot(list(costs), clean, marker="o", color=COLORS[0], label="analysed")
        axes.plot(list(costs), two_pass, marker="o", color=COLORS[2], label="segmented twice")
        axes.set(xlabel=label, ylabel="defended / plain", ylim=(1, None))
        axes.legend(fontsize=8)
    gains = {1: 1.0} | benchmark.batch_gain
    panels[2].plot([str(cameras) for cameras in gains], list(gains.values()), marker="o", color=COLORS[1])
    panels[2].set(xlabel="cameras in one batch", ylabel="frames a second / one by one", ylim=(0, None))
    for axes in panels:
        bare(axes)
        axes.tick_params(labelsize=8)
    return svg(figure)
