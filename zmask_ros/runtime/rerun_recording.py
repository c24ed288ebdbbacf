"""What `zmask replay` says of each frame, for the Rerun viewer: pictures, regions, scores and states over time.

The Rerun SDK is optional: it is imported when a recording is begun.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zmask_ros.errors import ZmaskError
from zmask_ros.flags.flag import Flag, FrameState
from zmask_ros.io.files import check_place
from zmask_ros.io.images.codec import encode_compressed
from zmask_ros.runtime.camera import CameraResult, Pictures
from zmask_ros.runtime.drawing import MASK_COLOR, STATE_COLORS, Color
from zmask_ros.segmenters import UNLABELLED

SUFFIX = ".rrd"
INSTALL = "pip install 'zmask_ros[view]', or pip install rerun-sdk"
JPEG_QUALITY = 90
HEAT_SHARE = 4
"""The heat is kept at this part of the image's width and height: its grid is coarser still."""
WARMEST = 20.0
"""The heat that has the last color of the scale, in thresholds."""
VIEWER_STARTS_S = 30.0
ENDS_S = 10.0
"""Longest time for which the last bytes are waited for while nothing is written, or reaches the viewer, seconds."""
_APPLICATION = "zmask"
_MASKED = 1
_SCORES: dict[str, Color] = {
    "score": (30, 130, 230),
    "screening": (140, 140, 140),
    "threshold": STATE_COLORS[FrameState.ATTACK],
    "masking_threshold": STATE_COLORS[FrameState.UNKNOWN],
}
_LEVELS = {FrameState.CLEAN: "INFO", FrameState.ATTACK: "ERROR", FrameState.UNKNOWN: "WARN"}


class RerunRecording:
    """Context manager that writes a Rerun recording, shows it in the viewer, or both.

    The file is written under another name of the same folder and renamed when it is whole. After Ctrl-C it is whole as
    well, with the frames so far; any other exception leaves none.

    Args:
        name: of the recording, as the viewer lists it.
        classes: name and color of each label.
        path: OUT.rrd, or None.
        view: open the viewer, and show each frame as it is added.

    Raises:
        ZmaskError: the Rerun SDK is not installed, the place cannot be written to, or the viewer does not open.
    """

    def __init__(self, name: str, classes: dict[str, Color], path: Path | None = None, view: bool = False) -> None:
        self._path = path
        self._partial: Path | None = None
        if path is not None:
            _check_place(path)
            self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{SUFFIX}")
        self._rr = _rerun()
        self._last: dict[str, str] = {}
        self._frames = 0
        self._stream = self._rr.RecordingStream(_APPLICATION)
        # By the stamps of the messages alone: when a frame was replayed says nothing.
        self._stream.set_log_time_enabled(False)
        self._stream.set_log_tick_enabled(False)
        sinks = [self._rr.GrpcSink(_open_viewer())] if view else []
        if self._partial is not None:
            # Not by a binary stream, of which a file can be made only if all of it is kept until the end.
            sinks.append(self._rr.FileSink(self._partial))
        self._stream.set_sinks(*sinks, default_blueprint=_blueprint())
        self._stream.send_recording_name(name)
        self._log_legend(classes)

    def __enter__(self) -> RerunRecording:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        if self._path is None or self._partial is None:
            return
        try:
            if kind is None or (issubclass(kind, KeyboardInterrupt) and self._frames):
                self._check_whole(self._partial)
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _end(self) -> None:
        """After a write that failed, Rerun waits for its writing thread for ever, here and when the process ends."""
        ending = threading.Thread(target=self._disconnect, daemon=True)
        ending.start()
        before, written = -1, self._written()
        while ending.is_alive() and before != written:
            ending.join(ENDS_S)
            before, written = written, self._written()
        if ending.is_alive():
            self._rr.unregister_shutdown()

    def _disconnect(self) -> None:
        with suppress(RuntimeError):
            self._stream.flush()
        self._stream.disconnect()

    def _written(self) -> int:
        """The bytes that are in the file; 0 where there is none."""
        return self._partial.stat().st_size if self._partial is not None else 0

    def add(self, stamp_ns: int, result: CameraResult, flag: Flag) -> None:
        """Add one frame."""
        self._stream.set_time("stamp", timestamp=np.datetime64(stamp_ns, "ns"))
        self._stream.set_time("frame", sequence=flag.sequence)
        self._log_flag(flag, result.analyzed)
        if result.pictures is None:
            # Otherwise the viewer shows the last frame that was seen as if it were this one.
            self._log("camera", self._rr.Clear(recursive=True))
        else:
            self._log_pictures(result, result.pictures)
        self._frames += 1

    def _log_legend(self, classes: dict[str, Color]) -> None:
        """What names and colors the rest."""
        rr = self._rr
        labels = [(index, name, color) for index, (name, color) in enumerate(classes.items())]
        self._log_static("camera", rr.AnnotationContext([*labels, (UNLABELLED, "unlabelled", (0, 0, 0))]))
        self._log_static(
            "camera/mask", rr.AnnotationContext([(0, "seen", (0, 0, 0, 0)), (_MASKED, "masked", MASK_COLOR)])
        )
        for name, color in _SCORES.items():
            self._log_static(f"scores/{name}", rr.SeriesLines(colors=color, names=name.replace("_", " ")))
        states = [state.name for state in STATE_COLORS]
        for name in ("state", "alarm"):
            configuration = rr.StateConfiguration(values=states, labels=states, colors=list(STATE_COLORS.values()))
            self._log_static(f"flag/{name}", configuration)

    def _log_pictures(self, result: CameraResult, pictures: Pictures) -> None:
        rr = self._rr
        image = rr.EncodedImage(
            contents=encode_compressed(pictures.image, "jpeg", JPEG_QUALITY), media_type="image/jpeg"
        )
        self._log("camera/image", image)
        self._log("camera/segmentation", rr.SegmentationImage(pictures.labels, opacity=0.6))
        self._log("camera/mask", rr.SegmentationImage((pictures.mask > 0).astype(np.uint8), opacity=0.6))
        warmest = WARMEST * result.threshold
        heat = rr.DepthImage(_smaller(pictures.heat), colormap="inferno", depth_range=(0.0, warmest))
        self._log("camera/heat", heat)
        boxes = np.array([(r.x, r.y, r.width, r.height) for r in result.regions], np.float32).reshape(-1, 4)
        labels = [f"{region.score:.3g}" for region in result.regions]
        regions = rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYWH, labels=labels, colors=MASK_COLOR)
        self._log("camera/regions", regions)

    def _log_flag(self, flag: Flag, analyzed: bool) -> None:
        rr = self._rr
        # The score of the screening is another head's: it says nothing about the thresholds.
        is_screening = not analyzed and flag.state is not FrameState.UNKNOWN
        self._log("scores/screening" if is_screening else "scores/score", rr.Scalars(flag.score))
        self._log("scores/threshold", rr.Scalars(flag.threshold))
        self._log("scores/masking_threshold", rr.Scalars(flag.masking_threshold))
        if self._is_new("state", flag.state.name):
            self._log("flag/state", rr.StateChange(state=flag.state.name))
        if self._is_new("alarm", flag.alarm.name):
            self._log("flag/alarm", rr.StateChange(state=flag.alarm.name))
        said = ": ".join(filter(None, [flag.state.name, flag.reason]))
        if self._is_new("said", said):
            self._log("flag/said", rr.TextLog(said, level=_LEVELS[flag.state], color=STATE_COLORS[flag.state]))

    def _is_new(self, name: str, value: str) -> bool:
        """Whether it is another one than that of the frame before."""
        before, self._last[name] = self._last.get(name), value
        return value != before

    def _log(self, entity: str, what: Any, static: bool = False) -> None:
        self._stream.log(entity, what, static=static, strict=True)

    def _log_static(self, entity: str, what: Any) -> None:
        self._log(entity, what, static=True)

    def _check_whole(self, path: Path) -> None:
        """Rerun writes in a thread of its own, and raises nothing when it cannot.

        Raises:
            ZmaskError: the file has not the end that is written last.
        """
        try:
            self._rr.chunk.RrdReader(path).store()
        except RuntimeError as error:
            raise ZmaskError(f"{self._path} could not be written whole: is the disk full?") from error


def _check_place(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise ZmaskError(f"A Rerun recording ends in {SUFFIX}; '{path.name}' does not.")
    check_place(path)


def _rerun() -> Any:
    try:
        return importlib.import_module("rerun")
    except ModuleNotFoundError as error:
        raise ZmaskError(f"The Rerun SDK is not installed: {INSTALL} (Python 3.11 or newer).") from error


def _smaller(heat: np.ndarray) -> np.ndarray:
    """The heat, float32 [H, W], as float16 and at a part of its size: floats are what takes most of a file."""
    size = tuple(max(1, side // HEAT_SHARE) for side in reversed(heat.shape))
    return cv2.resize(heat, size, interpolation=cv2.INTER_AREA).astype(np.float16)


def _blueprint() -> Any:
    """Everything at once: pictures above, what is said of them over time below."""
    rrb = importlib.import_module("rerun.blueprint")

    def pictures(name: str, *entities: str) -> Any:
        return rrb.Spatial2DView(origin="camera", contents=[f"$origin/{entity}" for entity in entities], name=name)

    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Grid(
                pictures("Image and regions", "image", "regions"),
                pictures("Defended segmentation", "image", "segmentation"),
                pictures("Masked", "image", "mask"),
                pictures("Heat", "heat"),
                grid_columns=2,
            ),
            rrb.Horizontal(
                rrb.Vertical(
                    rrb.TimeSeriesView(origin="scores", name="Score and thresholds"),
                    rrb.StateTimelineView(origin="flag", name="Flag and alarm"),
                    row_shares=[3, 2],
                ),
                rrb.TextLogView(origin="flag/said", name="What was said"),
                column_shares=[2, 1],
            ),
            row_shares=[2, 1],
        ),
        rrb.TimePanel(timeline="stamp", state="collapsed"),
        rrb.SelectionPanel(state="hidden"),
        rrb.BlueprintPanel(state="hidden"),
    )


def _open_viewer() -> str:
    """Open the viewer, which stays when this process ends; returns its address.

    Not by `rerun.spawn`, whose viewer listens on all networks of the machine.
    """
    # Without one, the viewer takes connections, and only then finds out that it cannot be seen.
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ZmaskError("There is no display for the Rerun viewer: write a file with --rerun and open it elsewhere.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rerun", "--bind", "127.0.0.1", "--port", str(port), "--expect-data-soon"]
    viewer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + VIEWER_STARTS_S
    while time.monotonic() < until and viewer.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"rerun+http://127.0.0.1:{port}/proxy"
        time.sleep(0.05)
    raise ZmaskError("The Rerun viewer does not open: write a file with --rerun and open it elsewhere.")
