"""Boxes on their way through the cascade: (n, 4) float32 x1 y1 x2 y2 in px of the picture.

They are counted as the authors' Matlab does: the first pixel is 1, and a box holds both its ends. So agree the offsets
that the networks were trained for, and the answers of the implementations in use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.cascade.pyramid import WINDOW_PX, Layout
from engines.geometry.nms import nms

Floats = NDArray[np.float32]


def windows(corners: Floats, level: NDArray[np.intp], layout: Layout) -> Floats:
    """The windows at `corners` (n, 2) of the canvas, each in a level (n,), on the picture."""
    first = corners - layout.origins[level] + np.float32(1)
    scale = layout.scales[level][:, None]
    ends = np.concatenate([first, first + np.float32(WINDOW_PX - 1)], axis=1)
    boxes: Floats = np.floor(ends / scale)
    return boxes


def moved(boxes: Floats, offsets: Floats, ends: int = 1) -> Floats:
    """The boxes with their corners moved by `offsets` (n, 4), in sides of the box; with `ends` 0 a side is counted
    without its last pixel."""
    sides = boxes[:, 2:] - boxes[:, :2] + np.float32(ends)
    result: Floats = boxes + offsets * np.concatenate([sides, sides], axis=1)
    return result


def squared(boxes: Floats) -> Floats:
    """The squares on the same centres whose sides are the longer ones."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    first = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([first, first + longer], axis=1)


def nms_by_group(boxes: Floats, scores: Floats, group: NDArray[np.intp], iou: float) -> NDArray[np.intp]:
    """`nms` among boxes of the same group (n,) only: groups are moved apart first."""
    if not len(boxes):
        return np.empty(0, np.intp)
    apart = np.float32(np.max(boxes) - np.min(boxes) + 1)
    return nms(boxes + (group * apart)[:, None].astype(np.float32), scores, iou)


def nms_of_smaller(boxes: Floats, scores: Floats, share: float) -> NDArray[np.intp]:
    """Indices of the boxes to keep, best first: none has more than `share` of the smaller of the two in common with a
    better one. So goes a face that lies within another."""
    order = np.argsort(scores, kind="stable")[::-1]
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + np.float32(1), axis=1)
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        common = np.prod(np.maximum(sides + np.float32(1), 0), axis=1)
        order = rest[common <= np.float32(share) * np.minimum(area[best], area[rest])]
    return np.array(kept, np.intp)
