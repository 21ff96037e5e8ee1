"""Cuts out a face as its box with a margin, as the embedders see it that are trained on a detector's boxes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Image


def cut_box(image: Image, box: NDArray[np.floating], height: int, width: int, margin_px: int = 0) -> Image:
    """What `image` shows within the `box` (4,) x1 y1 x2 y2, px, stretched to (height, width, 3).

    The box is widened so that `margin_px` of the crop's height and width lie outside it, half on either side (as
    facenet-pytorch has it), then cut off at the image's edges and down to whole px; one px at the least. Shrinking
    averages, so no noise is kept. Raises ValueError for a margin that leaves nothing of the crop.
    """
    sides = np.array([width, height])
    if not 0 <= margin_px < np.min(sides):
        raise ValueError(f"a margin of {margin_px} px of a crop of {width} x {height}")
    corners = np.asarray(box).reshape(2, 2)
    wider = margin_px * (corners[1] - corners[0]) / (sides - margin_px).astype(corners.dtype)
    size = np.array([image.shape[1], image.shape[0]])
    left, top = np.clip(corners[0] - wider / 2, 0, size - 1).astype(int).tolist()
    right, bottom = np.clip(corners[1] + wider / 2, 0, size).astype(int).tolist()
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
