"""One digest of everything the shipped defense says of fixed frames, to show that a change changes nothing.

    python tools/fingerprint.py > before.txt    # then change the code
    python tools/fingerprint.py | diff before.txt -

Labels, masks, heat maps, scores, states, reasons and regions of 60 attacked and 100 clean frames of CamVid's validation
drive and of the street world, each with the full analysis and in streaming mode, on the CPU. CamVid is found through
the environment variable ZMASK_CAMVID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import click
import numpy as np

from zmask_ros.attacks import load_patch
from zmask_ros.data.camvid import CamVid, camvid_root
from zmask_ros.data.street import StreetDrive
from zmask_ros.defense import load_profile
from zmask_ros.evaluation.performance.streaming import BEHAVIORS, DriveFrame, patched_drive, truck_drive
from zmask_ros.resources import shipped_patch, shipped_profile
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.segmenters import load_segmenter

NAME = "lraspp_camvid"
SEED = 7001
CAMVID_RATE_HZ, STREET_RATE_HZ = 15.0, 15.0
CLEAN_FRAMES, ATTACKED_FRAMES = 50, 30
"""Of each of the two sources."""


def drives() -> Iterator[tuple[str, list[DriveFrame]]]:
    """The four drives, each with its title."""
    root = camvid_root()
    if root is None:
        raise click.ClickException("CamVid was not found: set ZMASK_CAMVID to its folder.")
    frames = [(frame.image, frame.labels) for frame in CamVid(root, "val")]
    empty = np.zeros(frames[0][1].shape, bool)
    patch = load_patch(shipped_patch(NAME))
    yield (
        "camvid clean",
        [DriveFrame(round(i * 1e9 / CAMVID_RATE_HZ), *frame, empty) for i, frame in enumerate(frames[:CLEAN_FRAMES])],
    )
    attacked = patched_drive(BEHAVIORS[0], frames, patch, CAMVID_RATE_HZ)
    yield "camvid attacked", [moment for moment in attacked if moment.patch.any()][:ATTACKED_FRAMES]
    street = StreetDrive(SEED, CLEAN_FRAMES / STREET_RATE_HZ, STREET_RATE_HZ, 640, 480)
    yield (
        "street clean",
        [DriveFrame(f.stamp_ns, f.image, f.labels, f.patch_mask) for f in islice(iter(street), CLEAN_FRAMES)],
    )
    behind = truck_drive(SEED, patch, 2 * ATTACKED_FRAMES / STREET_RATE_HZ, STREET_RATE_HZ)
    yield "street attacked", [moment for moment in behind if moment.patch.any()][:ATTACKED_FRAMES]


def digest(result: CameraResult) -> bytes:
    """SHA-256 of all that is said of a frame, times aside."""
    seen = hashlib.sha256()
    seen.update(
        f"{result.state.name}|{result.reason}|{result.tracked}|{result.analyzed}|{result.mask_fraction}".encode()
    )
    seen.update(np.array([result.score, result.threshold, result.masking_threshold], np.float64).tobytes())
    for region in result.regions:
        seen.update(repr(tuple(vars(region).values())).encode())
    if result.pictures is not None:
        pictures = result.pictures
        for plane in (pictures.labels, pictures.mask, pictures.heat, pictures.undefended):
            seen.update(np.ascontiguousarray(plane).tobytes())
    return seen.digest()


@click.command(help=__doc__)
def main() -> None:
    """Print a line for each drive and mode, and the digest of them all."""
    camera = DefendedCamera(load_segmenter(NAME, "cpu"), load_profile(shipped_profile(NAME)))
    whole = hashlib.sha256()
    for title, moments in drives():
        for mode, stream in (("full", None), ("streaming", CameraStream())):
            results = [camera.process_image(moment.image, stream, moment.stamp_ns) for moment in moments]
            own = hashlib.sha256(b"".join(digest(result) for result in results))
            whole.update(own.digest())
            states = [result.state.name for result in results]
            counts = " ".join(f"{name} {states.count(name)}" for name in ("CLEAN", "ATTACK", "UNKNOWN"))
            masked = sum(result.mask_fraction > 0 for result in results)
            whole_frames = sum(result.analyzed for result in results)
            click.echo(
                f"{title:16} {mode:9} {len(results):3} frames  {counts}  masked {masked}  "
                f"whole {whole_frames}  {own.hexdigest()[:16]}"
            )
    click.echo(f"digest {whole.hexdigest()}")


if __name__ == "__main__":
    main()
