"""Count false alarms on roads that nothing was fitted on: a drive of the same camera, and pictures of other cameras.

    PYTHONPATH=tools python tools/measure_false_alarms.py lraspp_camvid unet_camvid theirs/*.yaml --roads ROADS

Each network is defended by what `zmask fit` makes of two of CamVid's drives and, where it is shipped, by the profile
that is shipped with it. Frames are the third drive of CamVid, which shipped profiles know, and the stills/*.jpg and
clips/*.mp4 in --roads, or ZMASK_ROADS. Drives and clips are defended in both modes. The table goes into
docs/evaluation.md, the same figures by clip into --json.

What was measured of a network is kept in --work, so that several of these can share the networks, and the table is
written by one that is given all of them. Remove */false_alarms-*.json there after changes of the code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import cv2
import numpy as np
from measure_shipped import FIT, NETWORKS, SHIPPED
from measure_transfer import DOCUMENT, figures_key, road_stills, roads_option, write_figures

from train_network import LEARNED_DRIVES, UNSEEN_DRIVE
from train_segmenter import camvid_frames, set_up_torch
from train_transferable_head import WORK, clean_frames, each_nth, fitted
from zmask_ros.cli.console import progress
from zmask_ros.defense import Profile, load_profile
from zmask_ros.evaluation.report.tables import markdown_table
from zmask_ros.flags.flag import FrameState
from zmask_ros.io.files import make_folder
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.resources import find_resource, shipped_profile
from zmask_ros.runtime.camera import CameraResult, CameraStream, DefendedCamera
from zmask_ros.segmenters import Segmenter, load_segmenter
from zmask_ros.training.plans import transfer_plan
from zmask_ros.training.sources import CleanFrame
from zmask_ros.training.transfer import HEAD_FILE

MARKS = Marks("<!-- false alarms: written by tools/measure_false_alarms.py -->", "<!-- end of false alarms -->")
CAMVID_RATE_HZ = 1.0
"""Of its labeled frames."""
CLIP_RATE_HZ = 10.0
"""About, of the frames of a clip that are taken."""
DRIVE, STILLS = "CamVid, third drive", "stills of other cameras"
CLIPS = "clips of other cameras"


@dataclass(frozen=True)
class Footage:
    """Frames without any attack.

    Attributes:
        kind: what they are together with others of their kind.
        name: of these.
        frames: with their stamps in nanoseconds, images uint8 [H, W, 3] RGB.
        is_stream: whether they follow each other.
    """

    kind: str
    name: str
    frames: tuple[tuple[int, np.ndarray], ...]
    is_stream: bool = True


@dataclass(frozen=True)
class AlarmFigures:
    """What a profile makes of some footage.

    Attributes:
        network, profile: which.
        kind, name: of the footage.
        frames: number of them.
        flagged, masked: number of frames that are flagged, and that are masked, by the full analysis.
        streamed_flagged, streamed_masked: the same in streaming mode; None: the frames do not follow each other.
    """

    network: str
    profile: str
    kind: str
    name: str
    frames: int
    flagged: int
    masked: int
    streamed_flagged: int | None
    streamed_masked: int | None


def clip(path: Path) -> Footage:
    """A clip, at about `CLIP_RATE_HZ`."""
    video = cv2.VideoCapture(str(path))
    rate = video.get(cv2.CAP_PROP_FPS)
    frames = each_nth(video, max(1, round(rate / CLIP_RATE_HZ)))
    return Footage(CLIPS, path.stem, tuple((round(1e9 * number / rate), image) for number, image in frames))


def footage(roads: Path | None, most: int | None) -> Iterator[Footage]:
    """All that is tried; of each piece at most so many frames."""
    drive = [frame.image for frame in camvid_frames("train", (UNSEEN_DRIVE,))]
    yield Footage(
        DRIVE, UNSEEN_DRIVE, tuple((round(1e9 * i / CAMVID_RATE_HZ), own) for i, own in enumerate(drive[:most]))
    )
    if roads is not None:
        yield Footage(STILLS, "stills", tuple((0, own) for own in road_stills(roads)[:most]), is_stream=False)
        for path in sorted((roads / "clips").glob("*.mp4")):
            own = clip(path)
            yield Footage(own.kind, own.name, own.frames[:most])


def counted(results: Sequence[CameraResult]) -> tuple[int, int]:
    """How many frames are flagged, and how many are masked, the flagged ones among them."""
    flagged = sum(result.state is FrameState.ATTACK for result in results)
    return flagged, sum(result.pictures is not None and bool(result.pictures.mask.any()) for result in results)


def figures(camera: DefendedCamera, network: str, profile: str, own: Footage) -> AlarmFigures:
    """What a profile makes of some footage, in both modes."""

    def results(stream: CameraStream | None) -> list[CameraResult]:
        return [camera.process_image(image, stream, stamp) for stamp, image in own.frames]

    streamed = counted(results(CameraStream())) if own.is_stream else (None, None)
    return AlarmFigures(network, profile, own.kind, own.name, len(own.frames), *counted(results(None)), *streamed)


def profiles_of(segmenter: Segmenter, clean: Sequence[CleanFrame]) -> Iterator[tuple[str, Profile]]:
    """The profiles of a network, by what they are called; ``clean`` are the frames that one is fitted on."""
    yield FIT, fitted(segmenter, transfer_plan(segmenter), clean)
    if segmenter.name in NETWORKS:
        yield SHIPPED, load_profile(shipped_profile(segmenter.name))


def table(found: Iterable[AlarmFigures]) -> str:
    """The figures as markdown, those of each kind of footage together."""
    together: dict[tuple[str, str, str], list[AlarmFigures]] = {}
    for own in found:
        together.setdefault((own.network, own.profile, own.kind), []).append(own)
    rows = []
    for (network, profile, kind), several in together.items():
        sums = [
            _sum([getattr(own, name) for own in several])
            for name in ("frames", "flagged", "streamed_flagged", "masked", "streamed_masked")
        ]
        rows.append((network, profile, kind, *sums))
    columns = ("network", "profile", "frames of", "frames", "flagged", "streaming", "masked", "streaming, masked")
    return markdown_table(columns, rows)


def _sum(values: Sequence[int | None]) -> str:
    return "-" if None in values else str(sum(value or 0 for value in values))


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, required=True)
@click.option("--most", type=int, help="Take so many frames of each piece.  [default: all]")
@click.option(
    "--json", "output", type=click.Path(path_type=Path), default="out/networks/false_alarms.json", show_default=True
)
@click.option("--docs", type=click.Path(path_type=Path), default=DOCUMENT, show_default=True, help="Gets the table.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True, help="Figures are kept here.")
@roads_option
def main(networks: tuple[str, ...], most: int | None, output: Path, docs: Path, work: Path, roads: Path | None) -> None:
    """Try each network, and write the figures."""
    set_up_torch(seed=0)
    MARKS.check(docs)
    found: list[AlarmFigures] = []

    @cache
    def read() -> tuple[list[Footage], list[CleanFrame]]:
        return list(footage(roads, most)), list(clean_frames(camvid_frames("train", LEARNED_DRIVES)))

    for name in networks:
        segmenter = load_segmenter(name, "cpu")
        kept = work / segmenter.name / f"false_alarms-{_key(segmenter, roads, most)}.json"
        if not kept.exists():
            make_folder(kept.parent)
            write_figures(measure(segmenter, *read()), kept)
        found += [AlarmFigures(**own) for own in json.loads(kept.read_text())]
        click.echo(table(found))
    make_folder(output.parent)
    write_figures(found, output)
    MARKS.write(docs, table(found))


def _key(segmenter: Segmenter, roads: Path | None, most: int | None) -> str:
    """What figures depend on, as a short name."""
    profiles = [find_resource(HEAD_FILE)]
    profiles += [shipped_profile(segmenter.name)] if segmenter.name in NETWORKS else []
    pieces = [] if roads is None else sorted(path.name for path in roads.glob("*/*"))
    return figures_key(segmenter, profiles, pieces, most)


def measure(segmenter: Segmenter, pieces: Sequence[Footage], clean: Sequence[CleanFrame]) -> list[AlarmFigures]:
    """What each profile of a network makes of some footage; ``clean`` are the frames that one is fitted on."""
    found = []
    for called, profile in profiles_of(segmenter, clean):
        camera = DefendedCamera(segmenter, profile)
        with progress(f"{segmenter.name}, {called}", "pieces", len(pieces)) as advance:
            for own in pieces:
                found.append(figures(camera, segmenter.name, called, own))
                advance()
    return found


if __name__ == "__main__":
    main()
