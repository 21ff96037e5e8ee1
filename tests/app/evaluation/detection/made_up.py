"""Photos, faces and detections that nobody has seen, and slow, obvious twins of what is tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.evaluation.detection.annotations import Annotated
from app.evaluation.photos import Photo
from engines.detector import Detections

Box = tuple[float, float, float, float]


def detections(*found: tuple[Box, float]) -> Detections:
    """Boxes with their scores, best first."""
    rows = sorted(found, key=lambda each: -each[1])
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    return Detections(
        boxes, np.array([score for _, score in rows], np.float32), np.zeros((len(rows), 5, 2), np.float32)
    )


def annotated(name: str, faces: Sequence[Box], ignored: Sequence[Box] = ()) -> Annotated:
    """A photo that is not there, with faces to be found and ignored ones."""
    boxes = np.array([*faces, *ignored], np.float32).reshape(-1, 4)
    return Annotated(Photo(name, None, Path(name)), boxes, np.arange(len(boxes)) >= len(faces))


def square(x: float, y: float, side: float = 10) -> Box:
    return x, y, x + side, y + side


def iou_of(one: Box, other: Box, extra: float = 0) -> float:
    """Area in common over area in all, with `extra` px added to each side's length."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + extra
    height = min(one[3], other[3]) - max(one[1], other[1]) + extra
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
