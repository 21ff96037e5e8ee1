"""What R-Net and O-Net see of a picture: the boxes' pixels, stretched to the networks' inputs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Image


def cut(picture: Image, boxes: NDArray[np.float32], side: int) -> tuple[Image, NDArray[np.bool_]]:
    """The pixels of each box that lie on the picture, as (m, side, side, 3) uint8, and which boxes (n,) have any.

    Boxes are counted as in `cascade.boxes`; fractions are cut off.
    """
    height, width = picture.shape[:2]
    ends = np.trunc(boxes).astype(np.intp)
    np.maximum(ends, 1, out=ends)
    np.minimum(ends[:, 2:], (width, height), out=ends[:, 2:])
    ends[:, :2] -= 1
    visible = np.logical_and(ends[:, 2] > ends[:, 0], ends[:, 3] > ends[:, 1])
    crops = np.empty((int(np.count_nonzero(visible)), side, side, 3), np.uint8)
    for crop, (x1, y1, x2, y2) in zip(crops, ends[visible].tolist(), strict=True):
        cv2.resize(picture[y1:y2, x1:x2], (side, side), dst=crop, interpolation=cv2.INTER_AREA)
    return crops, visible
