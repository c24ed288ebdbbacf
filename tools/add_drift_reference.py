"""Give a profile the reference that tells whether it fits a camera, as `zmask fit` would on the same clean drives.

    tools/clean_drives.sh
    python tools/add_drift_reference.py models/lraspp_camvid.zmask.safetensors \
        out/models/camvid_train.mcap out/models/street.mcap --topic /camera/image_raw

For a profile from before drift was measured, so that its head need not be trained anew: nothing else of it changes. The
drives must be those that it was fitted on; drives of another camera would hide that it does not fit.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from zmask_ros.cli import options
from zmask_ros.cli.console import progress
from zmask_ros.defense import load_profile, save_profile
from zmask_ros.defense.drift.observation import channel_means
from zmask_ros.defense.evidence.taps import tap
from zmask_ros.errors import ZmaskError
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.sources import clean_frames
from zmask_ros.training.stretches import Stretches


@click.command(help=__doc__)
@options.profile_file
@options.bags
@options.topic
@options.every
def main(profile_file: Path, bags: tuple[Path, ...], topic: str | None, every: int) -> None:
    """Read the drives, and write the profile again in its place."""
    import torch

    profile = load_profile(profile_file)
    segmenter = load_segmenter(profile.binding.segmenter, "auto")
    statistics = profile.detector.fitted_statistics
    stretches = Stretches()
    with (
        torch.inference_mode(),
        CameraBags(bags, topic, every) as camera,
        tap(segmenter, tuple(statistics)) as taps,
        progress("Observing", "frames", camera.total) as advance,
    ):
        for frame in clean_frames(camera.warned_frames(), every):
            segmenter.logits(segmenter.prepare(frame.image))
            means = {layer: channel_means(taps[layer])[0].cpu() for layer in statistics}
            stretches.add((frame.bag, frame.topic), means)
            advance()
    reference = stretches.reference(statistics)
    if reference is None:
        raise ZmaskError("The drives are too short for a reference.")
    save_profile(replace(profile, drift=reference), profile_file)
    click.echo(f"{sum(reference.drives)} stretches of {len(reference.drives)} drives: {reference.scales}")


if __name__ == "__main__":
    main()
