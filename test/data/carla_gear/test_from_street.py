"""Street drives as scenes of CARLA-GeAR."""

from __future__ import annotations

import numpy as np

from zmask_ros.data.carla_gear.from_street import panel_pose
from zmask_ros.data.carla_gear.reader import (
    GearPanel,
)


def test_a_panel_pose_looks_along_its_viewers_eyes() -> None:
    corners = np.array([(10.0, 2.0, 3.0), (10.0, -2.0, 3.0), (10.0, -2.0, 1.0), (10.0, 2.0, 1.0)])
    pose = panel_pose(corners, GearPanel(4.0, 2.0, (0.0, 2.0, 1.0)))
    np.testing.assert_allclose(pose, [10.0, 0.0, 2.0, 0.0, 0.0, 0.0], atol=1e-12)
