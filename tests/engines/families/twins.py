"""Slow, obvious twins of what canonical detectors compute: one loop, float32, from the bare network's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.engines.families.networks import STRIDES

Array = NDArray[Any]
Faces = list[tuple[float, Array, Array]]
"""Score, box and landmarks (5, 2) of each, best first."""
Parts = Mapping[tuple[int, int], list[Array]]
"""The outputs (rows, width) for one image, in the file's order, by how many rows and how wide they are."""


def parts_of(outputs: Mapping[str, Array]) -> dict[tuple[int, int], list[Array]]:
    """The outputs of a network for one image, with a batch axis or without."""
    parts: dict[tuple[int, int], list[Array]] = {}
    for array in outputs.values():
        rows = array.reshape(-1, array.shape[-1])
        parts.setdefault((len(rows), rows.shape[1]), []).append(rows)
    return parts


def retinaface(outputs: Mapping[int, Array], height: int, width: int) -> Faces:
    """From boxes, class logits and landmarks by their width, after the papers: SSD's priors and variances, RetinaFace's
    two square priors a cell."""
    faces = []
    prior = 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for row in range(height // stride):
            for column in range(width // stride):
                for side in sides:
                    centre = np.array([(column + 0.5) * stride, (row + 0.5) * stride], np.float32)
                    box, points = outputs[4][prior], outputs[10][prior].reshape(5, 2)
                    middle = centre + box[:2] * np.float32(0.1) * side
                    extent = np.float32(side) * np.exp(box[2:] * np.float32(0.2))
                    corners = np.concatenate([middle - extent / 2, middle + extent / 2])
                    landmarks = np.stack([centre + point * np.float32(0.1) * side for point in points])
                    background, face = (float(value) for value in outputs[2][prior])
                    score = math.exp(face) / (math.exp(background) + math.exp(face))
                    faces.append((score, corners, landmarks))
                    prior += 1
    return sorted(faces, key=lambda entry: -entry[0])


def scrfd(parts: Parts, height: int, width: int, per_cell: int = 2) -> Faces:
    """After InsightFace: an anchor centre is the corner of its cell, and what the network gives is in strides."""
    faces: Faces = []
    for stride in STRIDES:
        count = per_cell * (height // stride) * (width // stride)
        scores, boxes = parts[count, 1][0], parts[count, 4][0] * np.float32(stride)
        points = parts.get((count, 10), [np.zeros((count, 0))])[0] * np.float32(stride)
        anchor = 0
        for row in range(height // stride):
            for column in range(width // stride):
                centre = np.array([column * stride, row * stride], np.float32)
                for _ in range(per_cell):
                    corners = np.concatenate([centre - boxes[anchor, :2], centre + boxes[anchor, 2:]])
                    faces.append((float(scores[anchor, 0]), corners, centre + points[anchor].reshape(-1, 2)))
                    anchor += 1
    return sorted(faces, key=lambda entry: -entry[0])


def yunet(parts: Parts, height: int, width: int) -> Faces:
    """After libfacedetection: score² = cls · obj, box and landmarks from the corner of the cell, in strides."""
    faces: Faces = []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        first, second = parts[rows * columns, 1]
        for cell in range(rows * columns):
            corner = np.array([cell % columns, cell // columns], np.float32)
            box, points = parts[rows * columns, 4][0][cell], parts[rows * columns, 10][0][cell].reshape(5, 2)
            middle, extent = (corner + box[:2]) * stride, np.exp(box[2:]) * stride
            corners = np.concatenate([middle - extent / 2, middle + extent / 2])
            score = math.sqrt(min(max(float(first[cell, 0]), 0), 1) * min(max(float(second[cell, 0]), 0), 1))
            faces.append((score, corners, (points + corner) * stride))
    return sorted(faces, key=lambda entry: -entry[0])
