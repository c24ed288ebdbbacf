"""`zmask inspect`: what is in a profile, or in a bag."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import figure, print_json, print_rows, print_table, progress, stdout, warn
from zmask_ros.cli.drift_rows import drift_over_time, spread_rows, warn_of_torch
from zmask_ros.cli.profile_rows import summary
from zmask_ros.defense import Profile, load_profile
from zmask_ros.defense.drift.observation import OBSERVED_EVERY
from zmask_ros.inference import Runtime
from zmask_ros.io.bags.contents import BagContents, bag_contents, why_unseen
from zmask_ros.io.bags.raw_messages import BagError
from zmask_ros.runtime.replay import Replayed, ReplaySettings, replay
from zmask_ros.runtime.replay_figures import LEVELS, drift_figures, typical_drift


@click.command()
@click.argument("path", type=options.PATH)
@options.path("--profile", help="Compare the drive in the bag with this profile: does it still fit the camera?")
@options.profiles_segmenter
@options.topic
@click.option(
    "--every",
    type=options.COUNT,
    default=OBSERVED_EVERY,
    help="With --profile, take each N-th frame only; by default as the node does.",
)
@options.significant_bits
@options.runtime
@options.graphs
@options.threads
@options.device
@options.as_json
def command(
    path: Path,
    profile: Path | None,
    segmenter: str | None,
    topic: str | None,
    every: int,
    significant_bits: int,
    runtime: Runtime | None,
    graphs: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Show what is in PATH: a profile (.safetensors), or a bag.

    Of a bag: its files with format, profile, compression, and number of messages; its image topics; its other topics;
    which topics of a camera cannot be read and why; and what is missing or damaged, as far as that shows without
    reading all of it. Of each image topic one frame is decoded; that not one in the whole bag can be is an error.

    With --profile, say how far the drive in a bag is from the drives that the profile was fitted on.

    \b
      zmask inspect city.zmask.safetensors
      zmask inspect drive_1
      zmask inspect drive_1 --topic /camera/image_raw --profile city.zmask.safetensors
    """
    if path.suffix == ".safetensors" and not path.is_dir():
        _show_profile(load_profile(path), path, as_json)
    elif profile is None:
        _show_bag(path, as_json)
    else:
        name = options.named_segmenter(segmenter, profile)
        settings = ReplaySettings(
            path,
            name,
            device,
            runtime,
            graphs,
            topic=topic,
            every=every,
            observed_every=every,
            significant_bits=significant_bits,
            profile=profile,
            streaming=True,
        )
        _show_drift(replay(settings, progress), path, profile, as_json)


def _show_profile(profile: Profile, path: Path, as_json: bool) -> None:
    detector, screen = profile.detector, profile.screen
    screened = {} if screen is None else {f"screen:{layer}": own for layer, own in screen.statistics.items()}
    layers: dict[str, dict[str, Any]] = {
        key: {
            "channels": len(statistics.alive),
            "dead": int((~statistics.alive).sum()),
            "mean of |mu|": float(statistics.mean.abs().mean()),
            "mean sigma by kernel": [float(row.mean()) for row in statistics.deviations],
        }
        for key, statistics in sorted((detector.statistics | screened).items())
    }
    growth = detector.growth
    analysis = {
        "head layers": "no head" if detector.head is None else ", ".join(detector.head.branch.layers),
        "mask grows to": f"{growth.share:g} of the opening heat, {growth.reach:g} of the hottest cell",
        "mask closes gaps of": "{1}x{0} cells".format(*growth.closing),
        "mask completed": "no" if growth.solid >= 1 else f"to rectangles of which it fills {growth.solid:.0%}",
        "mask's edge from": growth.edge or "the grid",
    }
    told = summary(profile) | analysis
    scalars = dict(zip(("w1", "b1", "w2", "b2", "w3", "b3", "w4", "b4"), detector.fusion.tolist(), strict=True))
    if as_json:
        print_json(told | {"fusion": scalars, "layers": layers, "notes": list(profile.notes)})
        return
    print_table(f"Profile {path}", told)
    columns = ("layer", "channels", "dead", "mean of |mu|", "mean sigma, largest kernel first")
    rows = [
        (
            key,
            row["channels"],
            row["dead"],
            f"{row['mean of |mu|']:.3g}",
            " ".join(f"{x:.3g}" for x in row["mean sigma by kernel"]),
        )
        for key, row in layers.items()
    ]
    print_rows(None, rows, columns)
    stdout.print("fusion block: " + "  ".join(f"{name} {value:.4g}" for name, value in scalars.items()))
    for note in profile.notes:
        stdout.print(f"note: {note}", markup=False)


def _show_bag(path: Path, as_json: bool) -> None:
    contents = bag_contents(path)
    seen = [topic.topic for topic in contents.topics if topic.is_read and topic.messages]
    unseen = [reason for topic in seen if (reason := why_unseen(path, topic))]
    if as_json:
        print_json(asdict(contents) | {"bag": str(path), "unseen": unseen})
    else:
        _print_bag(path, contents)
    if unseen and len(unseen) == len(seen):
        raise BagError(unseen[0])
    for sentence in unseen:
        warn(sentence)


def _print_bag(path: Path, contents: BagContents) -> None:
    files = [
        (file.name, file.format, file.profile, file.writer, file.compression, file.messages) for file in contents.files
    ]
    print_rows(f"Bag {path}", files, ("file", "format", "profile", "written by", "compression", "messages"))
    if contents.metadata is not None:
        print_table("Its metadata.yaml", asdict(contents.metadata) | {"files": ", ".join(contents.metadata.files)})
    images = [(topic.topic, topic.type, topic.messages) for topic in contents.topics if topic.is_read]
    print_rows(None, images, ("image topic", "type", "messages"))
    others = [(t.topic, t.type, t.serialization, t.messages) for t in contents.topics if not t.is_read]
    if others:
        print_rows(None, others, ("other topic", "type", "serialization", "messages"))
    if not images:
        warn("There are no images in it that can be read.")
    for sentence in (*contents.unread, *contents.damage):
        warn(sentence)


def _show_drift(replayed: Replayed, path: Path, profile: Path, as_json: bool) -> None:
    warn_of_torch(replayed)
    typical, over_time = typical_drift(replayed.drifts), drift_over_time(replayed)
    frames = {"frames": len(replayed.flags), "frames observed": replayed.drifts[-1].frames if replayed.drifts else 0}
    told = frames | drift_figures(replayed.drifts) | {"what to do": typical.advice(LEVELS)}
    if as_json:
        print_json(told | {"layers": typical.layers, "over_time": over_time})
        return
    print_table(f"{path} against {profile}", {name: figure(value) for name, value in told.items()})
    print_rows(None, [(layer, f"{distance:.3f}") for layer, distance in typical.layers.items()], ("layer", "distance"))
    rows = [(f"{row['s']:.1f}", f"{row['distance']:.3f}", row["level"]) for row in spread_rows(over_time)]
    print_rows(None, rows, ("second", "distance", "level"))
