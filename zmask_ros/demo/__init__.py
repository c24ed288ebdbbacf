"""The demo: a street drive past an adversarial picture, through real processes and real DDS, and what came of it."""

from zmask_ros.demo.drive import Defence, DriveCounts, record_drive
from zmask_ros.demo.errors import DemoError, NodeFailed
from zmask_ros.demo.measure import MEANINGS, Measurement, Outcome, measure, summarise
from zmask_ros.demo.pictures import contact_sheet_of, moments, overlays
from zmask_ros.demo.processes import NodeProcess, executable, free_domain, ros_environment
from zmask_ros.demo.recording import read_flags
from zmask_ros.demo.reuse import Made, source_digest
from zmask_ros.demo.scenario import CARRIERS, CLEAN_FRAMES, Scenario, clean_drives

__all__ = [
    "CARRIERS",
    "CLEAN_FRAMES",
    "MEANINGS",
    "Defence",
    "DemoError",
    "DriveCounts",
    "Made",
    "Measurement",
    "NodeFailed",
    "NodeProcess",
    "Outcome",
    "Scenario",
    "clean_drives",
    "contact_sheet_of",
    "executable",
    "free_domain",
    "measure",
    "moments",
    "overlays",
    "read_flags",
    "record_drive",
    "ros_environment",
    "source_digest",
    "summarise",
]
