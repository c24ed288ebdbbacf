"""How much damage within the packets of a video goes unnoticed; the table goes into docs/reliability.md.

    python tools/measure_video_damage.py

Of a street's video one packet is damaged, or a group of them lost. A picture that is given is wrong where it differs
from that of the whole video by less than 30 dB of PSNR.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np

from video_encoding import Video, encode
from zmask_ros.cli.console import progress
from zmask_ros.data.street import StreetDrive
from zmask_ros.evaluation.report.tables import markdown_table
from zmask_ros.io.images.video_stream.decoder import VideoPacket, VideoStream
from zmask_ros.io.markdown_tables import Marks
from zmask_ros.io.stamps import NANOSECONDS

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
MARKS = Marks("<!-- video damage: written by tools/measure_video_damage.py -->", "<!-- end of video damage -->")
FRAMES, GROUP, RATE_HZ = 40, 10, 15
WIDTH, HEIGHT = 160, 120
WRONG_BELOW_DB = 30.0
_X265 = "log-level=none"
ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "H.264": (
        "h264",
        "libx264",
        {"tune": "zerolatency", "preset": "veryfast", "x264-params": "sliced-threads=0:slices=1"},
    ),
    "H.264, four slices a picture": (
        "h264",
        "libx264",
        {"tune": "zerolatency", "preset": "veryfast", "x264-params": "sliced-threads=0:slices=4"},
    ),
    "H.264, B frames": ("h264", "libx264", {"preset": "medium", "x264-params": "sliced-threads=0:slices=1"}),
    "H.265": ("h265", "libx265", {"tune": "zerolatency", "preset": "fast", "x265-params": _X265}),
    "H.265, with checksums (`hash=1`)": (
        "h265",
        "libx265",
        {"tune": "zerolatency", "preset": "fast", "x265-params": f"{_X265}:hash=1"},
    ),
    "H.265, B frames": ("h265", "libx265", {"preset": "fast", "x265-params": _X265}),
    "AV1": ("av1", "libsvtav1", {"preset": "10", "svtav1-params": "pred-struct=1"}),
    "VP9": (
        "vp9",
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "30", "b": "0"},
    ),
}


@dataclass(frozen=True)
class Damage:
    """What happens to the packets of a video, in the order in which they are recorded."""

    title: str
    apply: Callable[[list[bytes], np.random.Generator], list[bytes | None]]


def _within(change: Callable[[bytearray, int, np.random.Generator], None]) -> Callable[..., list[bytes | None]]:
    """Damage to one packet, from a place on."""

    def apply(packets: list[bytes], random: np.random.Generator) -> list[bytes | None]:
        place = int(random.integers(len(packets)))
        data = bytearray(packets[place])
        change(data, int(random.integers(1, len(data))), random)
        return [*packets[:place], bytes(data), *packets[place + 1 :]]

    return apply


def _flip(data: bytearray, at: int, random: np.random.Generator) -> None:
    data[at] ^= 1 << int(random.integers(8))


def _replace(data: bytearray, at: int, random: np.random.Generator) -> None:
    part = data[at : at + int(random.integers(2, 64))]
    data[at : at + len(part)] = random.integers(0, 256, len(part), np.uint8).tobytes()


def _zero(data: bytearray, at: int, random: np.random.Generator) -> None:
    part = data[at : at + int(random.integers(2, 64))]
    data[at : at + len(part)] = bytes(len(part))


def _remove(data: bytearray, at: int, random: np.random.Generator) -> None:
    del data[at : at + int(random.integers(1, max(2, len(data) // 3)))]


def _cut(data: bytearray, at: int, _: np.random.Generator) -> None:
    del data[at:]


def _lose_a_group(packets: list[bytes], random: np.random.Generator) -> list[bytes | None]:
    place = int(random.integers(2, len(packets) - GROUP))
    return [None if place <= index < place + GROUP else data for index, data in enumerate(packets)]


DAMAGES = (
    Damage("a bit flipped", _within(_flip)),
    Damage("bytes replaced", _within(_replace)),
    Damage("bytes set to zero", _within(_zero)),
    Damage("bytes lost", _within(_remove)),
    Damage("cut off", _within(_cut)),
    Damage("as many packets lost as a group has", _lose_a_group),
)


@dataclass(frozen=True)
class Unnoticed:
    """Of so many damaged videos: those with a picture that was given and is wrong, and how many such pictures."""

    videos: int
    with_wrong: int
    wrong: int


def pictures(video: Video, packets: list[bytes | None], low_delay: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Number and picture of each packet that has one."""
    stream: VideoStream[int] = VideoStream(low_delay)
    outcomes = []
    for (number, _), data in zip(video.packets, packets, strict=True):
        if data is not None:
            outcomes += stream.push(number, VideoPacket(video.codec, data, number * NANOSECONDS // RATE_HZ))
    for one in [*outcomes, *stream.finish()]:
        if one.frame is not None:
            yield one.source, stream.to_rgb(one.frame)


def measure(video: Video, damage: Damage, count: int) -> Unnoticed:
    """Damage a video so many times, each time anew."""
    whole = [data for _, data in video.packets]
    expected = dict(pictures(video, list(whole), low_delay=True))
    assert len(expected) == FRAMES
    random, with_wrong, wrong = np.random.default_rng(4), 0, 0
    for turn in range(count):
        given = pictures(video, damage.apply(whole, random), low_delay=turn % 2 == 0)
        found = sum(cv2.PSNR(image, expected[number]) < WRONG_BELOW_DB for number, image in given)
        with_wrong, wrong = with_wrong + bool(found), wrong + found
    return Unnoticed(count, with_wrong, wrong)


def table(measured: dict[tuple[str, str], Unnoticed]) -> str:
    """As markdown: a row a video, a column a damage."""
    cells = {key: f"{one.with_wrong} of {one.videos} ({one.wrong})" for key, one in measured.items()}
    rows = [[name, *(cells[name, damage.title] for damage in DAMAGES)] for name in ENCODERS]
    return markdown_table(["Video", *(damage.title for damage in DAMAGES)], rows)


@click.command(help=__doc__)
@click.option("--count", default=100, show_default=True, help="Damaged videos of each kind.")
def main(count: int) -> None:
    """Measure, and write the table."""
    MARKS.check(DOCUMENT)
    drive = StreetDrive(4, FRAMES / RATE_HZ, RATE_HZ, WIDTH, HEIGHT)
    images = [drive[index].image for index in range(FRAMES)]
    videos = {name: encode(codec, by, images, GROUP, options) for name, (codec, by, options) in ENCODERS.items()}
    measured: dict[tuple[str, str], Unnoticed] = {}
    with progress("Damaging", "kinds", len(videos) * len(DAMAGES)) as advance:
        for (name, video), damage in itertools.product(videos.items(), DAMAGES):
            measured[name, damage.title] = measure(video, damage, count)
            advance(note=f"{name}: {damage.title}")
    written = table(measured)
    MARKS.write(DOCUMENT, written)
    click.echo(written)


if __name__ == "__main__":
    main()
