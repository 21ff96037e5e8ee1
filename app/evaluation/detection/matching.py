"""Which detection found which face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detector import Detections
from engines.geometry.overlap import Boxes, area, iou


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What became of the m detections and n faces of a photo at one IoU.

    `right` (m,): it found a face; `counted` (m,): False for those that met nothing but an ignored face. `found_at`
    (n,) float32: the score of the detection that found each face, −inf where none did.
    """

    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    found_at: NDArray[np.float32]


def match(detections: Detections, faces: Boxes, ignored: NDArray[np.bool_], least_iou: float) -> Matched:
    """Detections in the order of their scores, equal ones in the order given, take the face that is not taken yet and
    overlaps them most, if by at least `least_iou`; of equal ones the first.

    So every face is found once, and a second detection of it is false. One that finds none is left out where at least
    `least_iou` of its own area lies within an ignored face, of which any number may be left out (as COCO's crowds).
    As faces are taken in the order of scores, what is found at a higher least score is a part of this.
    """
    overlaps = np.where(ignored, np.float32(-1), iou(detections.boxes, faces))
    found_at = np.full(len(faces), -np.inf, np.float32)
    right = np.zeros(len(detections), np.bool_)
    able = np.flatnonzero(overlaps.max(axis=1, initial=-1) >= least_iou)
    for row in able[np.argsort(-detections.scores[able], kind="stable")].tolist():
        face = int(overlaps[row].argmax())
        if overlaps[row, face] >= least_iou:
            right[row], found_at[face] = True, detections.scores[row]
            overlaps[:, face] = -1
    return Matched(right, right | ~_within(detections.boxes, faces[ignored], least_iou), found_at)


def _within(boxes: Boxes, regions: Boxes, share: float) -> NDArray[np.bool_]:
    """Whether at least that share of each box lies within one of the regions, (n,)."""
    sides = np.minimum(boxes[:, None, 2:], regions[:, 2:]) - np.maximum(boxes[:, None, :2], regions[:, :2])
    common = np.maximum(sides, 0).prod(axis=2)
    inside: NDArray[np.bool_] = (common >= np.float32(share) * area(boxes)[:, None]).any(axis=1)
    return inside
