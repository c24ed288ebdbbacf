"""Video: each packet gives exactly one picture, the right one, or a reason; after a loss there is none."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from support.recorded_videos import (
    ENCODERS,
    FRAMES,
    GROUP,
    REORDERED,
    STEP_NS,
    WITHOUT_DELAY,
    as_message,
    decoded,
    packet,
    stamp_ns,
    video,
)
from video_encoding import usual_scheduling
from zmask_ros.errors import ZmaskError
from zmask_ros.io.images.checks import ImageError
from zmask_ros.io.images.codec import decode
from zmask_ros.io.images.video_stream.annex_b import split_units
from zmask_ros.io.images.video_stream.decoder import BLIND, LEADING, NO_KEY_FRAME, VideoPacket, VideoStream
from zmask_ros.io.images.video_stream.messages import VideoPicture, video_packet

each_video = pytest.mark.parametrize("name", ENCODERS)
each_way = pytest.mark.parametrize("low_delay", [True, False])
# Pictures that x264 and x265 keep back for one that is shown later: their numbers tell less.
KEPT_BACK = 3
Told = dict[int, tuple[np.ndarray | None, str]]


def play(packets: Iterable[tuple[int, VideoPacket]], low_delay: bool) -> tuple[list[int], Told]:
    """The numbers of the pictures in the order in which they come, and of each the picture or the reason."""
    stream: VideoStream[int] = VideoStream(low_delay)
    outcomes = [one for number, one_packet in packets for one in stream.push(number, one_packet)] + list(
        stream.finish()
    )
    pictures = {one.source: (None if one.frame is None else stream.to_rgb(one.frame), one.reason) for one in outcomes}
    return [one.source for one in outcomes], pictures


def packets_of(name: str, places: Iterable[int] | None = None) -> list[tuple[int, VideoPacket]]:
    whole = video(name)
    return [(whole.packets[place][0], packet(whole, place)) for place in places or range(len(whole.packets))]


def number_at(name: str, place: int) -> int:
    return video(name).packets[place][0]


def assert_told_once(order: list[int], given: Iterable[tuple[int, VideoPacket]]) -> None:
    assert sorted(order) == sorted(number for number, _ in given)


def run_lengths(places: set[int]) -> list[int]:
    """How many places without a gap there are at a time."""
    return [
        next(length for length in range(1, FRAMES + 1) if place + length not in places)
        for place in places
        if place - 1 not in places
    ]


def has_numbers(name: str) -> bool:
    """Whether a loss shows in the packets; else only in their stamps."""
    return not name.startswith("vp9")


def knows_its_step(places: list[int]) -> bool:
    """Whether the first two packets follow each other."""
    return len(places) < 2 or places[1] == places[0] + 1


@each_video
@each_way
def test_a_whole_video_gives_all_its_pictures_in_their_order(name: str, low_delay: bool) -> None:
    order, told = play(packets_of(name), low_delay)
    assert order == list(range(FRAMES))
    for number, expected in enumerate(decoded(name)):
        assert np.array_equal(told[number][0], expected)


@pytest.mark.parametrize("name", WITHOUT_DELAY)
def test_a_picture_comes_with_its_packet(name: str) -> None:
    stream: VideoStream[int] = VideoStream(low_delay=True)
    for number, given_packet in packets_of(name):
        assert [one.source for one in stream.push(number, given_packet)] == [number]


@each_video
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_picture_is_given_that_is_not_the_one_of_the_whole_video(name: str, data: st.DataObject) -> None:
    # Of a loss that begins with the second packet, and is as long as a group, nothing speaks: no step is known yet.
    lost = data.draw(st.sets(st.integers(2, FRAMES - 1), min_size=1, max_size=6) | _bursts()) | data.draw(_BEGINNINGS)
    # Where packets come in another order, stamps do not tell for certain that about one group of them is lost.
    assume(name in WITHOUT_DELAY or all(abs(length - GROUP) > KEPT_BACK for length in run_lengths(lost)))
    low_delay = data.draw(st.booleans())
    places = sorted(set(range(FRAMES)) - lost) or [0]
    assume(has_numbers(name) or knows_its_step(places))
    given_packets = packets_of(name, places)
    order, told = play(given_packets, low_delay)
    assert_told_once(order, given_packets)
    if not low_delay:
        assert order == sorted(order)
    for number, (picture, reason) in told.items():
        assert (picture is None) == (reason not in ("", BLIND))
        assert picture is None or np.array_equal(picture, decoded(name)[number]), number


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(list(REORDERED)),
    start=st.integers(0, 2 * GROUP),
    lost=st.sets(st.integers(2, FRAMES - 1), max_size=3),
    low_delay=st.booleans(),
)
def test_no_picture_is_given_that_was_decoded_without_one_of_its_references(
    name: str, start: int, lost: set[int], low_delay: bool
) -> None:
    given_packets = packets_of(name, [place for place in range(start, FRAMES) if place not in lost])
    order, told = play(given_packets, low_delay)
    assert_told_once(order, given_packets)
    for number, (picture, _) in told.items():
        assert picture is None or np.array_equal(picture, decoded(name)[number]), number


_BEGINNINGS = st.integers(0, 5).map(lambda count: set(range(count)))


def _bursts() -> st.SearchStrategy[set[int]]:
    """Packets in a row, also as many as there are numbers for pictures in a small H.264 stream."""
    return st.tuples(st.integers(2, FRAMES - 1), st.integers(1, 20)).map(lambda at: set(range(at[0], sum(at))))


@pytest.mark.parametrize("name", WITHOUT_DELAY)
@settings(max_examples=30, deadline=None)
@given(lost=st.sets(st.integers(1, FRAMES - 1), min_size=1, max_size=5), low_delay=st.booleans())
def test_between_a_loss_and_the_next_key_frame_there_is_no_picture(name: str, lost: set[int], low_delay: bool) -> None:
    places = [place for place in range(FRAMES) if place not in lost]
    assume(has_numbers(name) or knows_its_step(places))
    _, told = play(packets_of(name, places), low_delay)
    is_whole = False
    for number in range(FRAMES):
        is_whole = number not in lost and (is_whole or number in video(name).keys)
        if number not in lost and not is_whole:
            assert told[number][0] is None, number
        # With several pictures at work, a decoder's error may be told only when the next group has begun.
        if number not in lost and is_whole and low_delay:
            assert told[number][0] is not None, number


@each_video
@each_way
@pytest.mark.parametrize("start", [1, 5, 8])
def test_a_video_that_begins_within_a_group_is_unknown_up_to_its_first_key_frame(
    name: str, low_delay: bool, start: int
) -> None:
    given_packets = packets_of(name, range(start, FRAMES))
    order, told = play(given_packets, low_delay)
    assert_told_once(order, given_packets)
    reasons = {reason for picture, reason in told.values() if picture is None}
    assert (NO_KEY_FRAME in reasons) == (number_at(name, start) not in video(name).keys)
    for number, (picture, _) in told.items():
        assert picture is None or np.array_equal(picture, decoded(name)[number])
    first = next(number for number, _ in given_packets if number in video(name).keys)
    unseen = {number for number in told if told[number][0] is None}
    assert unseen >= {number for number in told if number < first}
    # Where the pictures that are left out are references, FFmpeg does not find its way before the next closed group.
    assert name == "h264, open groups" or max(unseen, default=-1) < first
    if name == "h265, B frames":
        assert LEADING in reasons


@pytest.mark.parametrize("name", ["h264", "h264, B frames", "h265", "h265, B frames", "h265, checksums"])
@pytest.mark.parametrize("only_once", [True, False])
@each_way
def test_parameter_sets_may_come_in_packets_of_their_own(name: str, only_once: bool, low_delay: bool) -> None:
    given_packets: list[tuple[int, VideoPacket]] = []
    for number, whole in packets_of(name):
        units = split_units(whole.data)
        sets = [unit for unit in units if is_parameter_set(name, unit)]
        if sets and not (only_once and given_packets):
            # Not even in the same one.
            for place, unit in enumerate(sets):
                alone = replace(whole, data=byte_stream([unit]), stamp_ns=whole.stamp_ns - len(sets) + place)
                given_packets.append((FRAMES + len(given_packets), alone))
        given_packets.append((number, replace(whole, data=byte_stream([unit for unit in units if unit not in sets]))))
    order, told = play(given_packets, low_delay)
    assert_told_once(order, given_packets)
    for number, expected in enumerate(decoded(name)):
        picture, reason = told[number]
        # The packet might have been a key frame whose picture is lost.
        is_leading = reason == LEADING and name == "h265, B frames"
        assert picture is None if is_leading else np.array_equal(picture, expected)
    assert all("has no picture" in reason for number, (_, reason) in told.items() if number >= FRAMES)


@each_way
def test_damage_in_a_video_with_b_frames_costs_its_group_alone(low_delay: bool) -> None:
    packets = packets_of("h264, B frames")
    number, whole = packets[12]
    packets[12] = number, replace(whole, data=b"damaged")
    _, told = play(packets, low_delay)
    assert all(told[after][0] is not None for after in range(2 * GROUP, FRAMES))


def is_parameter_set(name: str, unit: bytes) -> bool:
    return unit[0] & 0x1F in (7, 8) if name.startswith("h264") else unit[0] >> 1 & 0x3F in (32, 33, 34)


def byte_stream(units: list[bytes]) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


@pytest.mark.parametrize("name", ["h264", "h265"])
@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, FRAMES - 1), begin=st.floats(0.05, 0.9), length=st.integers(4, 60), low_delay=st.booleans())
def test_a_stretch_of_zeros_in_a_packet_is_seen(
    name: str, place: int, begin: float, length: int, low_delay: bool
) -> None:
    packets = packets_of(name)
    number, packet = packets[place]
    at = int(len(packet.data) * begin)
    whole = packet.data.rstrip(b"\0")
    damaged = packet.data[:at] + bytes(length) + packet.data[at + length :]
    # Zeros up to the end are a packet that was cut off, and zeros before a one are where a unit begins.
    if at + length >= len(whole) or damaged[at + length] == 1:
        return
    packets[place] = number, replace(packet, data=damaged)
    _, told = play(packets, low_delay)
    following = min((key for key in video(name).keys if key > number), default=FRAMES)
    assert all(told[one][0] is None for one in range(number, following))
    assert told[number][1]


def flipped(data: bytes, at: int, random: np.random.Generator) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << int(random.integers(8))]) + data[at + 1 :]


def replaced(data: bytes, at: int, random: np.random.Generator) -> bytes:
    part = data[at : at + int(random.integers(2, 40))]
    return data[:at] + random.integers(0, 256, len(part), np.uint8).tobytes() + data[at + len(part) :]


def cut(data: bytes, at: int, _: np.random.Generator) -> bytes:
    return data[:at]


# Damage whose bytes are those of another picture passes in the others: see docs/reliability.md.
@pytest.mark.parametrize("name", ["h265, checksums", "av1", "vp9"])
@pytest.mark.parametrize("damage", [flipped, replaced, cut])
@pytest.mark.parametrize("low_delay", [True, False])
def test_of_a_packet_that_is_damaged_no_other_picture_is_given(name: str, damage: Any, low_delay: bool) -> None:
    random, tried, wrong = np.random.default_rng(5), 25, 0
    for _ in range(tried):
        packets = packets_of(name)
        # Of the first one, nobody knows as yet that its pictures have checksums.
        place = int(random.integers(1, len(packets)))
        number, whole = packets[place]
        packets[place] = (
            number,
            replace(whole, data=damage(whole.data, int(random.integers(1, len(whole.data))), random)),
        )
        order, told = play(packets, low_delay)
        assert_told_once(order, packets)
        wrong += any(
            picture is not None and cv2.PSNR(picture, decoded(name)[number]) < 30
            for number, (picture, _) in told.items()
        )
    # A bit of the last block of a picture may be any other without a contradiction.
    assert wrong <= (0 if name.startswith("h265") else 1)


def test_every_reason_says_what_happened() -> None:
    packets = packets_of("h264")
    number, packet = packets[4]
    reasons = {
        "does not begin with a start code": replace(packet, data=b"\0\0\0\x10" + packet.data),
        "has no picture": replace(packet, data=b"\0\0\0\x01\x09\xf0"),
        "video of 'vp8' is not read, but that of h264, h265, av1, vp9": replace(packet, codec="vp8"),
    }
    for words, broken in reasons.items():
        _, told = play([*packets[:4], (number, broken), *packets[5:]], low_delay=True)
        assert words in told[4][1]
        assert "no key frame of the video has come" in told[5][1]
        assert told[9][0] is not None
    _, told = play([*packets[:4], *packets[5:]], low_delay=True)
    assert told[5][1] == "no key frame of the video has come since pictures of it were lost"


def test_a_loop_of_a_bag_begins_anew() -> None:
    packets = packets_of("h264")
    order, told = play([*packets, *((number + 100, packet) for number, packet in packets[2:])], low_delay=True)
    assert order == [*range(FRAMES), *range(102, 100 + FRAMES)]
    assert all((told[number][0] is None) == (number < 109 and number >= 100) for number in order)


def test_stamps_that_are_all_the_same_lose_nothing() -> None:
    packets = [(number, replace(packet, stamp_ns=0)) for number, packet in packets_of("h264")]
    order, told = play(packets, low_delay=True)
    assert order == list(range(FRAMES))
    assert all(picture is not None for picture, _ in told.values())


_MATRICES = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_UNNAMED = 2


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("matrix", [*_MATRICES, _UNNAMED])
@pytest.mark.parametrize("is_full", [False, True])
def test_the_matrix_and_the_range_that_a_video_names_are_obeyed(encoder: str, matrix: int, is_full: bool) -> None:
    red, blue = _MATRICES.get(matrix, _MATRICES[6])
    rgb = np.array([200, 60, 30]) / 255
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    chroma = (rgb[2] - luma) / (2 - 2 * blue), (rgb[0] - luma) / (2 - 2 * red)
    planes = [255 * luma, *(128 + 255 * one for one in chroma)]
    if not is_full:
        planes = [16 + 219 * luma, *(128 + 224 * one for one in chroma)]
    codec, name = {"libx264": ("h264", "x264"), "libx265": ("h265", "x265"), "libsvtav1": ("av1", "svtav1")}[encoder]
    text = {
        1: "bt709",
        6: "smpte170m",
        7: "smpte240m",
        9: "bt2020nc",
        _UNNAMED: "undef" if codec == "h264" else "unknown",
    }
    options = {
        "x264": f"colormatrix={text[matrix]}:fullrange={'on' if is_full else 'off'}",
        "x265": f"colormatrix={text[matrix]}:range={'full' if is_full else 'limited'}:log-level=none",
        "svtav1": f"matrix-coefficients={matrix}:color-range={int(is_full)}",
    }
    context: Any = av.CodecContext.create(encoder, "w")
    context.width = context.height = 64
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 25), Fraction(25, 1)
    context.options = {"crf": "1", f"{name}-params": options[name]}
    context.colorspace, context.color_range = matrix, 2 if is_full else 1
    frame: Any = av.VideoFrame(64, 64, "yuv420p")
    for plane, value in zip(frame.planes, planes, strict=True):
        plane.update(bytes([round(value)]) * plane.buffer_size)
    frame.pts, frame.colorspace, frame.color_range = 0, matrix, 2 if is_full else 1
    with usual_scheduling():
        data = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    _, told = play([(0, VideoPacket(codec, data, 0))], low_delay=True)
    assert np.abs(told[0][0].reshape(-1, 3).mean(0) - [200, 60, 30]).max() <= 2.5


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("h264", "h264"),
        ("libx264", "h264"),
        ("h264_nvenc;yuv420p;bgr8;rgb8", "h264"),
        ("hevc_vaapi", "h265"),
        ("libsvtav1;yuv420p;bgr8;bayer_rggb8", "av1"),
        ("h265;gray;bayer_rggb8;bayer_rggb8", "h265 of a Bayer mosaic"),
        ("libvpx-vp9", "vp9"),
        ("MJPEG", "mjpeg"),
    ],
)
def test_the_codec_of_a_packet_is_known_by_the_name_of_its_encoder(encoding: str, codec: str) -> None:
    message = as_message(VideoPacket(encoding, b"abc", 0))
    header: Any = type("Header", (), {"stamp": type("Time", (), {"sec": 3, "nanosec": 5})})
    assert video_packet(message, header) == VideoPacket(codec, b"abc", 3_000_000_005)


def test_a_picture_of_a_video_is_decoded_like_any_other_message() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert decode(VideoPicture(None, image)) is image
    with pytest.raises(ImageError, match="^No key frame of the video has come yet.$"):
        decode(VideoPicture(None, None, NO_KEY_FRAME))


def test_without_pyav_a_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "av":
            raise ImportError("No module named 'av'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ZmaskError, match="pip install av"):
        VideoStream(low_delay=True)


def test_the_stamps_are_those_that_the_tests_mean() -> None:
    assert packet(video("h264"), 3).stamp_ns - stamp_ns(0) == 3 * STEP_NS


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "av1"])
def test_the_decoder_holds_nothing_that_takes_pythons_lock_to_release(name: str) -> None:
    """Its threads would wait for the lock where one who has it closes the decoder, and waits for them."""
    whole = video(name)
    packets = [packet(whole, place) for place in range(3)]
    held = [sys.getrefcount(own.data) for own in packets]
    stream: VideoStream[int] = VideoStream(low_delay=False)
    for own in packets:
        list(stream.push(0, own))
    assert [sys.getrefcount(own.data) for own in packets] == held
