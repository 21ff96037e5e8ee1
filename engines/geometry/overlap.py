"""How much boxes have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""(n, 4) float32: x1 y1 x2 y2."""


def area(boxes: Boxes) -> NDArray[np.float32]:
    """Width times height, (n,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou(boxes: Boxes, others: Boxes) -> NDArray[np.float32]:
    """Area in common over area in all, (n, m); 0 for boxes without area."""
    sides = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    sides = np.maximum(sides, 0)
    common: NDArray[np.float32] = sides[:, :, 0] * sides[:, :, 1]
    together = area(boxes)[:, None] + area(others) - common
    ratios: NDArray[np.float32] = np.divide(common, together, out=np.zeros_like(common), where=together > 0)
    return ratios
