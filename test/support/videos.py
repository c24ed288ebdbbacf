"""Videos as any player sees them."""

from __future__ import annotations

from pathlib import Path

import cv2


def filmed(path: Path) -> tuple[int, float]:
    """Number of pictures that can be read, and their rate in hertz."""
    film = cv2.VideoCapture(str(path))
    count = sum(1 for _ in iter(film.grab, False))
    rate = film.get(cv2.CAP_PROP_FPS)
    film.release()
    return count, rate
