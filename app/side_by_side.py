"""One picture drawn once for each who found faces in it, in a row, so that the eye can compare."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from app.annotate import NAMED, drawn, encoded, labelled
from engines.base import Image
from engines.detector import Detections

MOST_PX = 960
"""A picture's longer side is brought to at most this, before anything is drawn on it."""
GAP_PX, STROKE = 6, 2


def side_by_side(image: Image, found: Mapping[str, Detections]) -> bytes:
    """A JPEG of `image` with boxes, landmarks and scores, once for each caption and its faces (in px of `image`)."""
    shrink = min(1.0, MOST_PX / max(image.shape[:2]))
    if shrink < 1:
        image = np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    gap = np.full((image.shape[0], GAP_PX, 3), 255, np.uint8)
    row: list[Image] = []
    for caption, faces in found.items():
        row += [labelled(drawn(image, faces.scaled(shrink)), caption, (0, 0), NAMED, STROKE), gap]
    return encoded(np.concatenate(row[:-1], axis=1), "jpeg")[0]
