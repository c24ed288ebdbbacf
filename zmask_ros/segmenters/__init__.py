"""How a network comes in: a name, its weights, its preprocessing, its layers, its classes, its palette."""

from zmask_ros.segmenters.checked import CheckedSegmenter
from zmask_ros.segmenters.description import ClassInfo, Description, SegmenterError, descriptions, read_description
from zmask_ros.segmenters.network import weights_digest
from zmask_ros.segmenters.segmenter import UNLABELLED, Segmenter, choose_device, load_segmenter, segmenter_of

__all__ = [
    "UNLABELLED",
    "CheckedSegmenter",
    "ClassInfo",
    "Description",
    "Segmenter",
    "SegmenterError",
    "choose_device",
    "descriptions",
    "load_segmenter",
    "read_description",
    "segmenter_of",
    "weights_digest",
]
