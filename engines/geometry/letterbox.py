"""Fits an image of any size into a network's fixed input."""

from __future__ import annotations

import cv2
import numpy as np

from engines.base import Image


def letterbox_scale(image: Image, height: int, width: int) -> float:
    """image px * scale = input px, for `image` as large as fits into (height, width)."""
    rows, columns, *_ = image.shape
    if not rows or not columns:
        raise ValueError(f"an image needs at least one pixel, not shape {image.shape}")
    scale: float = min(height / rows, width / columns)
    return scale


def letterbox(image: Image, height: int, width: int) -> tuple[Image, float]:
    """`image` (H, W, 3) as large as fits into (height, width, 3), in the top left corner, zeros right and below.

    Returns it with `letterbox_scale`. Small images are scaled up too, so that their faces meet the network at the
    sizes it knows. The result may be `image` itself, when that has the right size already: do not write to it. Raises
    ValueError for an image without pixels.
    """
    scale = letterbox_scale(image, height, width)
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image, scale
    new_height, new_width = max(1, round(rows * scale)), max(1, round(columns * scale))
    canvas = np.empty((height, width, 3), np.uint8)
    # Averaging (INTER_AREA) costs 2 to 23 ms in place of 0.3 to 1.2 and finds the same faces (docs/adr/0001).
    cv2.resize(image, (new_width, new_height), dst=canvas[:new_height, :new_width], interpolation=cv2.INTER_LINEAR)
    canvas[new_height:] = 0
    canvas[:new_height, new_width:] = 0
    return canvas, scale
