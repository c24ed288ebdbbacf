"""The street world: exact, repeatable, and with everything in it that a street has."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from zmask_ros.data.street import CLASS_NAMES, StreetDrive, StreetFrame
from zmask_ros.errors import ZmaskError

SMALL = {"width": 160, "height": 120}
MEDIUM = {"width": 320, "height": 240}


def _quarters() -> np.ndarray:
    """Red, green over blue, white."""
    picture = np.full((100, 200, 3), 255, np.uint8)
    picture[:50, :100], picture[:50, 100:], picture[50:, :100] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return picture


def _same(a: StreetFrame, b: StreetFrame) -> bool:
    arrays = ((a.image, b.image), (a.labels, b.labels), (a.pose, b.pose), (a.patch_mask, b.patch_mask))
    return all(np.array_equal(x, y) for x, y in arrays) and a.stamp_ns == b.stamp_ns


def _projected(drive: StreetDrive, frame: StreetFrame) -> list[np.ndarray]:
    """The panels' corners in pixels, from nothing but poses and intrinsics; those behind the camera left out."""
    to_camera = np.linalg.inv(frame.pose)
    outlines = []
    for panel in drive.panels(frame.index / drive.rate_hz):
        points = panel @ to_camera[:3, :3].T + to_camera[:3, 3]
        if points[:, 2].min() > 0.5:
            pixels = points @ drive.camera.matrix.T
            outlines.append(pixels[:, :2] / pixels[:, 2:])
    return outlines


@pytest.fixture(scope="module")
def drives() -> list[StreetDrive]:
    return [StreetDrive(seed, **MEDIUM) for seed in range(3)]


@pytest.fixture(scope="module")
def billboard() -> StreetDrive:
    return StreetDrive(5, carrier="billboard", picture=_quarters(), **MEDIUM)


@pytest.fixture(scope="module")
def truck() -> StreetDrive:
    return StreetDrive(5, carrier="truck", picture=_quarters(), **MEDIUM)


@pytest.fixture(params=["billboard", "truck"])
def carrying(request: pytest.FixtureRequest) -> StreetDrive:
    return request.getfixturevalue(request.param)


def test_frame_has_the_promised_shapes_and_types(drives: list[StreetDrive]) -> None:
    frame = drives[0][7]
    assert len(drives[0]) == 300
    assert frame.index == 7
    assert frame.image.shape == (240, 320, 3)
    assert frame.image.dtype == np.uint8
    assert frame.labels.shape == (240, 320)
    assert frame.labels.dtype == np.uint8
    assert frame.pose.shape == (4, 4)
    assert frame.pose.dtype == np.float64
    assert frame.patch_mask.shape == (240, 320)
    assert frame.patch_mask.dtype == bool
    assert not frame.patch_mask.any()
    assert frame.patch_corners is None


def test_same_seed_same_drive_and_another_seed_another(drives: list[StreetDrive]) -> None:
    again = StreetDrive(0, **MEDIUM)
    assert _same(drives[0][20], again[20])
    assert _same(drives[0][240], again[240])
    assert not np.array_equal(drives[0][20].image, drives[1][20].image)


def test_frames_do_not_depend_on_the_order_of_asking(billboard: StreetDrive) -> None:
    forwards = [billboard[index] for index in range(100, 106)]
    backwards = [billboard[index] for index in (200, *reversed(range(100, 106)))][1:]
    assert all(_same(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_iteration_gives_every_frame_in_order() -> None:
    drive = StreetDrive(4, duration_s=0.5, rate_hz=10, **SMALL)
    frames = list(drive)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert _same(frames[3], drive[3])


def test_indices_end_where_the_drive_ends(drives: list[StreetDrive]) -> None:
    assert _same(drives[0][-1], drives[0][299])
    for index in (300, -301):
        with pytest.raises(IndexError):
            drives[0][index]


def test_labels_are_classes_and_every_class_occurs(drives: list[StreetDrive]) -> None:
    for drive in drives:
        found: set[int] = set()
        for index in range(0, 300, 25):
            found |= set(np.unique(drive[index].labels).tolist())
        assert found == set(range(len(CLASS_NAMES)))


def test_ground_is_below_and_sky_above(drives: list[StreetDrive]) -> None:
    for drive in drives:
        labels = drive[0].labels
        assert (labels[0] == 0).any()
        assert (labels[-1] == 3).mean() > 0.3
        assert not (labels[-20:] == 0).any()


def test_camera_drives_forward_smoothly(drives: list[StreetDrive]) -> None:
    drive = drives[0]
    poses = np.array([drive.motion.pose(index / drive.rate_hz) for index in range(len(drive))])
    steps = np.diff(poses[:, 0, 3])
    assert np.array_equal(drive[100].pose, poses[100])
    assert (steps > 0).all()
    assert np.abs(np.diff(steps)).max() < 0.05 * steps.mean()
    assert np.abs(np.diff(poses[:, 1, 3])).max() < 0.05
    turns = poses[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1.0)
    assert (turns[:, 0, 2] > 0.98).all()


def test_stamps_keep_the_rate(drives: list[StreetDrive]) -> None:
    first, second, last = (drives[0][index].stamp_ns for index in (0, 1, 299))
    assert first > 0
    assert second - first == round(1e9 / 15)
    assert last - first == round(299e9 / 15)


def test_corners_are_the_panel_seen_by_the_camera(carrying: StreetDrive) -> None:
    frames = [carrying[index] for index in range(0, 300, 30)]
    shown = [frame for frame in frames if frame.patch_corners is not None]
    assert len(shown) >= 4
    for frame in shown:
        assert min(np.abs(corners - frame.patch_corners).max() for corners in _projected(carrying, frame)) < 1e-6


def test_mask_is_the_quad_less_what_stands_before_it(carrying: StreetDrive) -> None:
    body = 1 if carrying.carrier == "billboard" else 8
    shares = []
    for index in range(0, 300, 20):
        frame = carrying[index]
        if frame.patch_mask.mean() < 0.01:
            continue
        quads = np.zeros(frame.labels.shape, np.uint8)
        for corners in _projected(carrying, frame):
            cv2.fillConvexPoly(quads, np.rint(16 * corners).astype(np.int32), 1, cv2.LINE_8, 4)
        inside = quads > 0
        hidden = inside & ~frame.patch_mask
        assert not (frame.patch_mask & ~inside).any()
        assert set(np.unique(frame.labels[frame.patch_mask])) == {body}
        # A whole truck's rear of the same class may stand before a panel's rim, houses before a far billboard.
        assert (frame.labels[hidden] == body).sum() < 0.1 * inside.sum()
        shares.append(frame.patch_mask.sum() / inside.sum())
    assert len(shares) >= 5
    assert np.median(shares) > 0.8
    assert min(shares) < 1.0


def test_picture_stands_upright_on_its_corners(carrying: StreetDrive) -> None:
    frame = max((carrying[index] for index in range(0, 150, 10)), key=lambda one: one.patch_mask.sum())
    unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    warp = cv2.getPerspectiveTransform(unit, frame.patch_corners.astype(np.float32))
    seen = 0
    for spot, channel in (((0.25, 0.25), 0), ((0.75, 0.25), 1), ((0.25, 0.75), 2)):
        u, v = cv2.perspectiveTransform(np.array([[spot]], np.float32), warp)[0, 0].round().astype(int)
        if 0 <= v < 240 and 0 <= u < 320 and frame.patch_mask[v, u]:
            color = frame.image[v, u].astype(int)
            assert color[channel] > max(np.delete(color, channel)) + 40
            seen += 1
    assert seen >= 2


def test_picture_is_shown_in_its_interval_only(truck: StreetDrive) -> None:
    timed = StreetDrive(5, carrier="truck", picture=_quarters(), picture_from_s=1.0, picture_until_s=2.0, **MEDIUM)
    for index, inside in ((0, False), (14, False), (15, True), (29, True), (30, False), (299, False)):
        frame, always = timed[index], truck[index]
        assert _same(frame, always) == inside
        assert frame.patch_mask.any() == inside
        assert (frame.patch_corners is not None) == inside
        assert np.array_equal(frame.labels, always.labels)
        around = cv2.dilate(always.patch_mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert np.array_equal(frame.image[~around], always.image[~around])
        assert not np.array_equal(frame.image[around], always.image[around]) or inside


def test_billboard_is_large_for_about_half_of_the_drive(billboard: StreetDrive) -> None:
    areas = np.array([billboard[index].patch_mask.mean() for index in range(0, 300, 6)])
    assert 0.3 < (areas > 0.01).mean() < 0.75
    assert areas.max() > 0.05


@pytest.mark.parametrize(("width", "height"), [(321, 243), (64, 48)])
def test_odd_sizes(width: int, height: int) -> None:
    frame = StreetDrive(9, width=width, height=height, carrier="billboard", picture=_quarters())[90]
    assert frame.image.shape == (height, width, 3)
    assert frame.labels.shape == frame.patch_mask.shape == (height, width)
    assert len(np.unique(frame.labels)) >= 4


def test_long_drives_go_round_the_block() -> None:
    frame = StreetDrive(2, duration_s=600.0, rate_hz=1.0, **SMALL)[599]
    assert frame.pose[0, 3] > 1000
    assert len(np.unique(frame.labels)) >= 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"duration_s": 0.0}, "duration_s"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"width": 10}, "too small"),
        ({"carrier": "balloon"}, "balloon"),
        ({"picture": np.zeros((4, 4, 3), np.uint8)}, "carrier"),
        ({"carrier": "truck", "picture": np.zeros((4, 4), np.uint8)}, "picture"),
        ({"carrier": "truck", "picture": np.zeros((4, 4, 3), np.float32)}, "picture"),
        ({"carrier": "truck", "picture": np.zeros((0, 4, 3), np.uint8)}, "picture"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, words: str) -> None:
    with pytest.raises(ZmaskError, match=words):
        StreetDrive(**{"seed": 1, **arguments})
