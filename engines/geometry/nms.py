"""Non-maximum suppression."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray


def nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> NDArray[np.intp]:
    """Indices of the boxes to keep, best score first: each overlaps every better kept one by an IoU of at most `iou`.

    `boxes` (n, 4) x1 y1 x2 y2, `scores` (n,) above 0 (a box that scores 0 is dropped), `iou` 0..1.
    """
    if not len(boxes):
        return np.empty(0, np.intp)
    corner_and_size: Any = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(corner_and_size, cast("Any", scores), 0.0, iou)
    return np.asarray(kept, np.intp).reshape(-1)
