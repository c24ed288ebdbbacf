"""The street world: exact, repeatable, and with everything in it that a street has."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from zmask_ros.errors import ZmaskError
from zmask_ros.world.street import CLASS_NAMES, StreetDrive, StreetFrame

SMALL = {"width": 160, "height": 120}


def _picture() -> np.ndarray:
    """Blocks of strong colours, which nothing else in the street has."""
    blocks = np.random.default_rng(0).integers(0, 256, (6, 12, 3)).astype(np.uint8)
    return np.kron(blocks, np.ones((10, 10, 1), np.uint8))


def _same(a: StreetFrame, b: StreetFrame) -> bool:
    arrays = ((a.image, b.image), (a.labels, b.labels), (a.pose, b.pose), (a.patch_mask, b.patch_mask))
    return all(np.array_equal(x, y) for x, y in arrays) and a.stamp_ns == b.stamp_ns


@pytest.fixture(scope="module")
def plain() -> StreetDrive:
    return StreetDrive(3, **SMALL)


@pytest.fixture(scope="module", params=["billboard", "truck"])
def carrying(request: pytest.FixtureRequest) -> StreetDrive:
    return StreetDrive(5, carrier=request.param, picture=_picture(), width=320, height=240)


def test_frame_has_the_promised_shapes_and_types(plain: StreetDrive) -> None:
    frame = plain[7]
    assert len(plain) == 300
    assert frame.index == 7
    assert frame.image.shape == (120, 160, 3)
    assert frame.image.dtype == np.uint8
    assert frame.labels.shape == (120, 160)
    assert frame.labels.dtype == np.uint8
    assert frame.pose.shape == (4, 4)
    assert frame.pose.dtype == np.float64
    assert frame.patch_mask.dtype == bool
    assert not frame.patch_mask.any()
    assert frame.patch_corners is None


def test_same_seed_same_drive_and_another_seed_another() -> None:
    first, again, other = (StreetDrive(seed, **SMALL)[20] for seed in (11, 11, 12))
    assert _same(first, again)
    assert not np.array_equal(first.image, other.image)


def test_frames_do_not_depend_on_the_order_of_asking() -> None:
    drive = StreetDrive(4, duration_s=1.0, rate_hz=8, carrier="billboard", picture=_picture(), **SMALL)
    backwards = [drive[index] for index in reversed(range(len(drive)))]
    forwards = list(StreetDrive(4, duration_s=1.0, rate_hz=8, carrier="billboard", picture=_picture(), **SMALL))
    assert len(forwards) == 8
    assert all(_same(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_indices_end_where_the_drive_ends(plain: StreetDrive) -> None:
    assert _same(plain[-1], plain[299])
    for index in (300, -301):
        with pytest.raises(IndexError):
            plain[index]


def test_labels_are_classes_and_every_class_occurs() -> None:
    for seed in range(3):
        drive = StreetDrive(seed, width=320, height=240)
        found = set()
        for index in range(0, 300, 25):
            found |= set(np.unique(drive[index].labels).tolist())
        assert found == set(range(len(CLASS_NAMES)))


def test_ground_is_below_and_sky_above() -> None:
    for seed in range(4):
        labels = StreetDrive(seed, **SMALL)[0].labels
        assert (labels[0] == 0).any()
        assert (labels[-1] == 3).mean() > 0.3
        assert not (labels[-10:] == 0).any()


def test_camera_drives_forward_smoothly(plain: StreetDrive) -> None:
    poses = np.array([plain.motion.pose(index / plain.rate_hz) for index in range(len(plain))])
    steps = np.diff(poses[:, 0, 3])
    assert np.array_equal(plain[100].pose, poses[100])
    assert (steps > 0).all()
    assert np.abs(np.diff(steps)).max() < 0.05 * steps.mean()
    assert np.abs(np.diff(poses[:, 1, 3])).max() < 0.05
    turns = poses[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1.0)
    assert (turns[:, 0, 2] > 0.98).all()


def test_stamps_keep_the_rate(plain: StreetDrive) -> None:
    first, second, last = plain[0], plain[1], plain[299]
    assert second.stamp_ns - first.stamp_ns == round(1e9 / 15)
    assert last.stamp_ns - first.stamp_ns == round(299e9 / 15)
    assert first.stamp_ns > 0


def test_corners_are_the_panel_seen_by_the_camera(carrying: StreetDrive) -> None:
    checked = 0
    for index in range(0, 300, 30):
        frame = carrying[index]
        if frame.patch_corners is None:
            continue
        to_camera = np.linalg.inv(frame.pose)
        projected = []
        for panel in carrying.panels(index / carrying.rate_hz):
            points = panel @ to_camera[:3, :3].T + to_camera[:3, 3]
            pixels = points @ carrying.camera.matrix.T
            projected.append(pixels[:, :2] / pixels[:, 2:])
        assert min(np.abs(corners - frame.patch_corners).max() for corners in projected) < 1e-6
        checked += 1
    assert checked >= 4


def test_mask_is_the_quad_less_what_stands_before_it(carrying: StreetDrive) -> None:
    shares = []
    for index in range(0, 300, 15):
        frame = carrying[index]
        if frame.patch_corners is None or frame.patch_mask.mean() < 0.01:
            continue
        quads = np.zeros(frame.labels.shape, np.uint8)
        for panel in carrying.panels(index / carrying.rate_hz):
            to_camera = np.linalg.inv(frame.pose)
            points = panel @ to_camera[:3, :3].T + to_camera[:3, 3]
            if points[:, 2].min() > 0.5:
                pixels = points @ carrying.camera.matrix.T
                corners = np.rint(16 * pixels[:, :2] / pixels[:, 2:]).astype(np.int32)
                cv2.fillConvexPoly(quads, corners, 1, cv2.LINE_8, 4)
        inside = quads > 0
        assert not (frame.patch_mask & ~inside).any()
        body = 1 if carrying.carrier == "billboard" else 8
        assert set(np.unique(frame.labels[frame.patch_mask])) == {body}
        hidden = inside & ~frame.patch_mask
        shares.append(frame.patch_mask.sum() / inside.sum())
        assert (frame.labels[hidden] != body).mean() > 0.9 if hidden.sum() > 50 else True
    assert len(shares) >= 5
    assert np.median(shares) > 0.8
    assert min(shares) < 1.0


def test_picture_is_where_its_corners_say() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:50, :100], picture[:50, 100:] = (255, 0, 0), (0, 255, 0)
    picture[50:, :100], picture[50:, 100:] = (0, 0, 255), (255, 255, 255)
    for carrier in ("billboard", "truck"):
        drive = StreetDrive(5, carrier=carrier, picture=picture, width=320, height=240)
        frame = max((drive[index] for index in range(0, 150, 10)), key=lambda f: f.patch_mask.sum())
        unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
        warp = cv2.getPerspectiveTransform(unit, frame.patch_corners.astype(np.float32))
        seen = []
        for s, t in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
            u, v = cv2.perspectiveTransform(np.float32([[[s, t]]]), warp)[0, 0].round().astype(int)
            seen.append(frame.image[v, u].astype(int) if 0 <= v < 240 and 0 <= u < 320 else None)
        expected = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
        matches = [
            bool(colour[np.array(wanted) == 1].min() > colour[np.array(wanted) == 0].max() + 40)
            for colour, wanted in zip(seen[:3], expected[:3], strict=True)
            if colour is not None
        ]
        assert sum(matches) >= 2
        assert matches.count(False) <= 1


def test_picture_is_shown_in_its_interval_only() -> None:
    options = {"carrier": "truck", "duration_s": 3.0, "rate_hz": 10.0, **SMALL}
    shown = StreetDrive(6, picture=_picture(), picture_from_s=1.0, picture_until_s=2.0, **options)
    clean = StreetDrive(6, **options)
    for index in (0, 9, 10, 19, 20, 29):
        frame, benign = shown[index], clean[index]
        assert frame.patch_mask.any() == (10 <= index < 20)
        assert (frame.patch_corners is not None) == (10 <= index < 20)
        assert np.array_equal(frame.labels, benign.labels)
        assert not benign.patch_mask.any()
        near = cv2.dilate(frame.patch_mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert np.array_equal(frame.image[~near], benign.image[~near])


def test_billboard_grows_and_is_large_for_about_half_of_the_drive() -> None:
    drive = StreetDrive(8, carrier="billboard", picture=_picture(), **SMALL)
    areas = np.array([drive[index].patch_mask.mean() for index in range(0, 300, 6)])
    assert 0.3 < (areas > 0.01).mean() < 0.75
    assert areas.max() > 0.05


@pytest.mark.parametrize(("width", "height"), [(321, 243), (64, 48), (101, 333)])
def test_odd_sizes(width: int, height: int) -> None:
    frame = StreetDrive(9, width=width, height=height, carrier="billboard", picture=_picture())[90]
    assert frame.image.shape == (height, width, 3)
    assert frame.labels.shape == frame.patch_mask.shape == (height, width)
    assert len(np.unique(frame.labels)) >= 4


def test_long_drives_go_round_the_block() -> None:
    drive = StreetDrive(2, duration_s=600.0, rate_hz=1.0, **SMALL)
    frame = drive[599]
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
