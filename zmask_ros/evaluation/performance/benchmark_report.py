"""The figures of `zmask bench` as tables for a document."""

from __future__ import annotations

from typing import Any

CASES = {
    "clean": "a clean frame in streaming mode",
    "full": "a clean frame, analysed as a whole",
    "two_pass": "an attacked frame, segmented twice",
    "tracked": "an attacked frame whose patch is known",
}


NAIVE = {
    "naive_analysis": "step by step as in the paper; same pass, grid and kernels",
    "naive_passes": "one forward pass for each layer, as in the authors' demo; same grid and kernels",
    "naive_demo": "as in the authors' demo: also its grid of 150x300 and its kernels, from 64x128 to 8x16",
}


GROWING = {
    "input_sizes": "the network's input",
    "layers": "layers that the head looks at",
    "networks": "network, random weights",
}


def bench_markdown(result: dict[str, Any]) -> str:
    """The figures as tables, with what they were measured on."""
    lines = [
        f"{result['segmenter']}, input {result['input_size']}, {result['device']}, {result['threads']} threads, "
        f"torch {result['torch']}; medians over {result['clean']['frames']} frames of each case.",
        "",
        "| camera's images | case | plain | defended | ratio (quartiles) | mean ratio | analysed | stages |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, figures in (result.get("sizes") or {result["image_size"]: result}).items():
        for case, title in CASES.items():
            own = figures[case]
            low, middle, high = own["overhead_quartiles"]
            stages = ", ".join(f"{name} {value:.1f}" for name, value in own["stages_ms"].items())
            plain, defended = own["plain_ms_quartiles"][1], own["defended_ms_quartiles"][1]
            lines.append(
                f"| {size} | {title} | {plain:.1f} ms | {defended:.1f} ms | {middle:.2f} ({low:.2f} to {high:.2f}) "
                f"| {own['overhead_mean']:.2f} | {own['analysed_as_a_whole'] / own['frames']:.0%} | {stages} |"
            )
    lines += ["", "| the analysis, without a head, on the same layers | time, as a multiple of ours |", "| --- | --- |"]
    lines += [f"| {title} | {result[name]:g} |" for name, title in NAIVE.items() if name in result]
    lines.append("")
    for cameras, gain in result.get("batch_gain", {}).items():
        lines.append(f"{cameras} cameras in one batch: {gain:g} times the frames of one after the other.")
    for kind, title in GROWING.items():
        if kind in result:
            lines += ["", f"| {title} | plain | clean, as a whole | segmented twice |", "| --- | --- | --- | --- |"]
            lines += [
                f"| {name} | {cost['plain_ms']:.1f} ms | {cost['clean']:.2f} | {cost['two_pass']:.2f} |"
                for name, cost in result[kind].items()
            ]
    return "\n".join(lines)
