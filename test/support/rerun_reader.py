"""What is in a Rerun recording, read by Rerun's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

STATIC = -1
DEPTH_TYPES = {6: np.uint8, 33: np.float16, 34: np.float32}
"""Rerun's numbers of the types of samples."""


def logged(path: Path, entity: str, component: str, timeline: str = "frame") -> dict[int, Any]:
    """The values of a component by time; static ones by `STATIC`."""
    from rerun.chunk import RrdReader

    return _values(RrdReader(path).stream().to_chunks(), entity, component, timeline)


def loaded(path: Path, entity: str, component: str, timeline: str = "ros2_timestamp") -> dict[int, Any]:
    """The same of an mcap, as Rerun's own loader takes it."""
    from rerun.chunk import McapReader

    return _values(McapReader(path).stream().to_chunks(), entity, component, timeline)


def pictures(formats: dict[int, Any], buffers: dict[int, Any]) -> dict[int, np.ndarray]:
    """The pictures [H, W] of an entity, by time, of their formats and their samples."""
    assert formats.keys() == buffers.keys()
    made = {}
    for time, ([form], [buffer]) in ((time, (formats[time], buffers[time])) for time in formats):
        samples = np.array(buffer, np.uint8).view(DEPTH_TYPES[form["channel_datatype"]])
        made[time] = samples.reshape(form["height"], form["width"])
    return made


def _values(chunks: Any, entity: str, component: str, timeline: str) -> dict[int, Any]:
    values: dict[int, Any] = {}
    for chunk in chunks:
        batch = chunk.to_record_batch()
        if chunk.entity_path != entity or component not in batch.schema.names:
            continue
        times = [STATIC] * chunk.num_rows if chunk.is_static else batch.column(timeline).cast("int64").to_pylist()
        rows = batch.column(component).to_pylist()
        values |= {time: row for time, row in zip(times, rows, strict=True) if row is not None}
    return values
