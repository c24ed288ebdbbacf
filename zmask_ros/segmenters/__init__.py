"""Segmentation networks: their descriptions, weights, preprocessing, classes, precision, and the `Segmenter` itself.

A `Segmenter` is a frozen network on its device with all that is needed to feed it and to read what it puts out. This
room may import io, resources and errors.
"""

from zmask_ros.segmenters.description import (
    Description,
    SegmenterError,
    check_shipped,
    descriptions,
    read_description,
)
from zmask_ros.segmenters.folding import with_folded_norms
from zmask_ros.segmenters.network import two_class_scores, weights_digest
from zmask_ros.segmenters.segmenter import (
    UNLABELLED,
    CheckedSegmenter,
    Segmenter,
    build_segmenter,
    choose_device,
    load_segmenter,
    resized,
)
