"""The face of astronaut.jpg, as the shipped detector finds it, and whether a vector of it is a known one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detector import Detections

Array = NDArray[Any]
BOX = [178.73, 56.21, 270.97, 173.58]
LANDMARKS = [[202.99, 101.24], [247.0, 102.83], [224.26, 127.45], [203.68, 142.12], [243.48, 143.27]]
SWAPPED = ((1, 0, 2, 3, 4), (0, 1, 2, 4, 3), (0, 1, 3, 2, 4))
"""Wrong orders of its landmarks."""


def photo_of(samples: Path) -> Array:
    """astronaut.jpg, (h, w, 3) uint8 BGR."""
    image = cv2.imread(str(samples / "astronaut.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


def face(order: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Detections:
    """The face, its landmarks in this order."""
    landmarks = np.array([LANDMARKS], np.float32)[:, list(order)]
    return Detections(np.array([BOX], np.float32), np.ones(1, np.float32), landmarks)


def is_known(embedding: Array, known: list[float], tolerance: float) -> bool:
    """Whether a vector begins with these values."""
    return bool(np.abs(embedding[: len(known)] - known).max() < tolerance)
