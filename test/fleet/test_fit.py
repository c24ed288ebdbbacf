"""The profile of a fleet is the one of a single process, whatever happens to workers and bags."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from support import TESTS, tiny_network
from support.commands import record, zmask
from support.fleet_work import NodeKillingFit
from zmask_ros.defense import Profile, load_profile
from zmask_ros.fleet.bag_cache import BagCache
from zmask_ros.fleet.fit import BagReading, FleetFit, FleetFitRequest, fit_fleet
from zmask_ros.fleet.pool import PoolSettings
from zmask_ros.io.bags.reader import CameraBags
from zmask_ros.io.images.codec import AUTO_BITS
from zmask_ros.progress import Advance
from zmask_ros.segmenters import load_segmenter
from zmask_ros.training.bag_fit import PART_FRAMES, fit_bags
from zmask_ros.training.observations import SAMPLE_FRAMES
from zmask_ros.training.settings import FitSettings

BAGS, FRAMES = 8, 60
LONG = PART_FRAMES + 85
"""Frames of a bag of two parts."""
SETTINGS = FitSettings(false_alarm_rate=0.01, variant="mean-z")


@dataclass(frozen=True)
class Fleet:
    """Clean drives, the network's description, and the profile that one process makes of them."""

    segmenter: Path
    bags: tuple[str, ...]
    alone: Profile

    @staticmethod
    def of(segmenter: Path, bags: Sequence[Path]) -> Fleet:
        """These drives, fitted by one process."""
        with CameraBags(bags) as opened:
            alone = fit_bags(load_segmenter(str(segmenter), "cpu"), opened, SETTINGS).profile
        return Fleet(segmenter, tuple(map(str, bags)), alone)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Short drives."""
    folder = tmp_path_factory.mktemp("fleet")
    bags = [
        record(folder / f"drive_{bag}.mcap", map(tiny_network.clean_image, range(100 * bag, 100 * bag + FRAMES)))
        for bag in range(BAGS)
    ]
    return Fleet.of(tiny_network.describe(folder), bags)


@pytest.fixture(scope="module")
def long_fleet(fleet: Fleet) -> Fleet:
    """The same with a long one among them; more frames are held out than the sample takes."""
    images = map(tiny_network.clean_image, range(5000, 5000 + LONG))
    bags = list(map(Path, fleet.bags))
    bags.insert(3, record(bags[0].with_name("long.mcap"), images))
    long = Fleet.of(fleet.segmenter, bags)
    assert sum(source.held_out for source in long.alone.sources) > SAMPLE_FRAMES
    return long


def assert_same(profile: Profile, alone: Profile) -> None:
    own, expected = profile.detector, alone.detector
    assert own.statistics.keys() == expected.statistics.keys()
    for key, statistics in own.statistics.items():
        assert statistics.moments.count == expected.statistics[key].moments.count
        torch.testing.assert_close(statistics.mean, expected.statistics[key].mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(statistics.moments.std, expected.statistics[key].moments.std, rtol=1e-9, atol=1e-12)
    assert own.threshold == expected.threshold
    assert torch.equal(own.fusion, expected.fusion)
    assert profile.sources == alone.sources
    assert profile.drift is not None and alone.drift is not None
    assert profile.drift.drives == alone.drift.drives


def fit(cluster, fleet: Fleet, results: Path, workers: int, after_bag: Callable[[], None] = lambda: None) -> FleetFit:
    """Fit on the cluster, and call ``after_bag`` whenever a bag was merged."""

    @contextmanager
    def progress(description: str, unit: str, total: int | None) -> Iterator[Advance]:
        yield lambda steps=1, note="": after_bag()

    reading = BagReading(None, 1, AUTO_BITS, BagCache(results / "cache"))
    request = FleetFitRequest(fleet.bags, reading, str(fleet.segmenter), "cpu", SETTINGS, results)
    return fit_fleet(request, PoolSettings(cluster.address, workers), progress)


def test_the_command_makes_the_same_profile_and_skips_what_is_no_bag(cluster, long_fleet, tmp_path, capsys) -> None:
    fleet = long_fleet
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"nothing that anybody could read")
    (tmp_path / "drives.txt").write_text("\n".join(["# of two weeks", *fleet.bags[:5], str(broken), *fleet.bags[5:]]))
    output = tmp_path / "fleet.zmask.safetensors"
    settings = ["--false-alarm-rate", "0.01", "--variant", "mean-z", "--segmenter", fleet.segmenter, "--device", "cpu"]
    code, out, err = zmask(
        capsys, "fit", tmp_path / "drives.txt", *settings, "-o", output, "--json", "--ray", cluster.address
    )
    assert code == 3, err
    said = json.loads(out)
    assert said["workers"] in (1, 2) and said["retried"] == 0
    assert [skipped["bag"] for skipped in said["skipped"]] == [str(broken)]
    assert f"skipped {broken}: " in err
    assert_same(load_profile(output), fleet.alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.mcap", "drives.txt", output.name]


def test_a_node_that_is_killed_in_the_middle_changes_nothing(cluster, fleet, tmp_path, monkeypatch) -> None:
    cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
    monkeypatch.setattr("zmask_ros.fleet.fit.FitWork", partial(NodeKillingFit, fleet.bags[2], tmp_path / "killed"))
    done = fit(cluster, fleet, tmp_path, 4)
    assert (tmp_path / "killed").exists()
    assert done.tally.retried >= 1 and not done.tally.skipped
    assert_same(done.fit.profile, fleet.alone)
    assert done.fit.frames == BAGS * FRAMES


def test_a_driver_that_is_started_again_goes_on(cluster, fleet, tmp_path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(cluster, fleet, tmp_path, 1, interrupt)
    kept = {place: place.stat().st_mtime_ns for place in tmp_path.glob("*.result")}
    assert 1 <= len(kept) < BAGS
    assert_same(fit(cluster, fleet, tmp_path, 1).fit.profile, fleet.alone)
    assert {place: place.stat().st_mtime_ns for place in kept} == kept
    assert len(list(tmp_path.glob("*.result"))) == BAGS


def test_without_the_option_ray_is_not_imported_and_addresses_are_refused(fleet, tmp_path, capsys) -> None:
    program = "import sys; from zmask_ros.cli.main import main; main(); print('ray is', 'ray' in sys.modules)"
    arguments = ["fit", fleet.bags[0], "--segmenter", str(fleet.segmenter), "-o", str(tmp_path / "a.safetensors")]
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=TESTS)
    assert result.stdout.endswith("ray is False\n")
    code, _, err = zmask(capsys, "fit", "s3://fleet/drive.mcap", "-o", tmp_path / "b.safetensors")
    assert code == 2 and "add --ray" in err
