"""Draws what was found onto the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from engines.base import Image
from engines.detector import Detections
from gallery.types import Match

NAMED, STRANGER, INK = (80, 175, 76), (190, 190, 190), (20, 20, 20)
LANDMARK = (60, 200, 255)
JPEG_QUALITY = 92
STROKES_PER_SIDE = 400
"""The picture's longer side over this is a stroke's width: lines look alike in small and large pictures."""


def annotated(
    image: Image, faces: Detections, matches: Sequence[Sequence[Match]] | None, media: Literal["jpeg", "png"]
) -> tuple[bytes, str]:
    """`image` with a box, landmarks and a label per face, encoded, and its media type; `image` itself is left alone.

    `matches` has one list per face, best match first, empty for a stranger; None writes scores instead of names.
    """
    return encoded(drawn(image, faces, matches), media)


def drawn(image: Image, faces: Detections, matches: Sequence[Sequence[Match]] | None = None) -> Image:
    """As `annotated`, before it is encoded: a picture of its own."""
    canvas: Image = image.copy()
    stroke = max(1, round(max(canvas.shape[:2]) / STROKES_PER_SIDE))
    for row, (box, score, landmarks) in enumerate(zip(faces.boxes, faces.scores, faces.landmarks, strict=True)):
        best = matches[row][0] if matches is not None and matches[row] else None
        colour = NAMED if best or matches is None else STRANGER
        left, top, right, bottom = (int(side) for side in box.round())
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, stroke, cv2.LINE_AA)
        for x, y in landmarks.round().astype(int).tolist():
            cv2.circle(canvas, (x, y), stroke, LANDMARK, cv2.FILLED, cv2.LINE_AA)
        text = f"{best.identity}  {best.similarity:.2f}" if best else f"{score:.2f}" if matches is None else "unknown"
        canvas = labelled(canvas, text, (left, top), colour, stroke)
    return canvas


def labelled(canvas: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int], stroke: int) -> Image:
    """Writes `text` on a filled strip above `corner`, or below it where the picture ends."""
    font = cv2.FontFace("uni")  # the one built-in font with Latin, Greek, Cyrillic, Arabic and CJK letters
    size, pad = 9 + 5 * stroke, 3 * stroke
    _, _, width, height = cv2.getTextSize((0, 0), text, (0, 0), font, size)
    left = int(np.clip(corner[0], 0, max(0, canvas.shape[1] - width - 2 * pad)))
    top = corner[1] - height - 2 * pad
    if top < 0:
        top = max(0, corner[1])
    cv2.rectangle(canvas, (left, top), (left + width + 2 * pad, top + height + 2 * pad), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left + pad, top + pad + size), INK, font, size)
    return canvas


def encoded(canvas: Image, media: Literal["jpeg", "png"]) -> tuple[bytes, str]:
    """The file's bytes and its media type."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if media == "jpeg" else []
    return cv2.imencode(f".{media}", canvas, options)[1].tobytes(), f"image/{media}"
