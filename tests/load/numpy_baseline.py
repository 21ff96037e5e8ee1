"""The usual way to serve RetinaFace and ArcFace: base64, NumPy around the bare networks, json.

This is what the service is measured against, so it is the code one finds in most repositories, each step written as
well as that code is: whole-array NumPy, priors computed once, no Python loop but that of the NMS (which has one
everywhere). The bare networks are cut out of the shipped canonical files (`tests/load/stages.py`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.load import stages

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

CANDIDATE_SCORE = 0.02
"""Priors below it do not reach the NMS: the value of the reference implementation's test script."""
NMS_IOU = 0.4
VARIANCES = (0.1, 0.2)
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


@dataclass(frozen=True)
class Found:
    """Faces, best first, in pixels of the image: boxes (n, 4) x1 y1 x2 y2, scores (n,), landmarks (n, 5, 2)."""

    boxes: Floats
    scores: Floats
    landmarks: Floats


class UsualCode:
    """A detector at one scale and an embedder, the usual way."""

    def __init__(self, detector: Path, embedder: Path) -> None:
        self.detector = stages.bare_net(detector)
        self.embedder = stages.bare_net(embedder)
        self._mean, self._crop_mean = stages.mean(detector), stages.mean(embedder)
        self.height, self.width = (int(side) for side in detector.stem.split("x"))
        self.priors = priors(self.height, self.width)

    def detect(self, image: Pixels, min_score: float) -> Found:
        """The faces of `image`."""
        canvas, scale = letterbox(image, self.height, self.width)
        return self.decode(self.infer(self.normalise(canvas)), scale, min_score)

    def normalise(self, canvas: Pixels) -> Floats:
        """(1, 3, H, W) float32 less the mean."""
        return normalise(canvas, self._mean)

    def infer(self, tensor: Floats) -> tuple[Floats, Floats, Floats]:
        """The bare network's locations (A, 4), scores (A, 2) and landmarks (A, 10)."""
        by_width = {output.shape[-1]: output[0] for output in self.detector.run(tensor).values()}
        return by_width[4], by_width[2], by_width[10]

    def decode(self, outputs: tuple[Floats, Floats, Floats], scale: float, min_score: float) -> Found:
        """Every prior decoded, then filtered, then thinned out."""
        return faces(candidates(*outputs, self.priors, scale), min_score)

    def crop_tensor(self, crops: list[Pixels]) -> Floats:
        """(n, 3, 112, 112) float32 as the embedder takes it."""
        return np.concatenate([normalise(crop, self._crop_mean) for crop in crops])

    def embed(self, tensor: Floats) -> Floats:
        """(n, D) float32, not normalised."""
        (vectors,) = self.embedder.run(tensor).values()
        return vectors.reshape(len(tensor), -1)


def decode_image(text: str) -> Pixels:
    """The picture in base64 `text`, BGR."""
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]


def letterbox(image: Pixels, height: int, width: int) -> tuple[Pixels, float]:
    """`image` in the top left corner of a canvas of zeros, and image px * scale = canvas px."""
    scale = min(height / image.shape[0], width / image.shape[1])
    resized = cv2.resize(image, (round(image.shape[1] * scale), round(image.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: resized.shape[0], : resized.shape[1]] = resized
    return canvas, scale


def normalise(image: Pixels, mean: NDArray[Any] | None) -> Floats:
    """(1, 3, H, W) float32 less the channels' mean."""
    tensor = image.astype(np.float32)
    if mean is not None:
        tensor -= mean
    return np.ascontiguousarray(tensor.transpose(2, 0, 1)[np.newaxis])


def priors(height: int, width: int) -> Floats:
    """(A, 4) float32 centre x, centre y, width, height in pixels: two squares a cell at strides 8, 16, 32."""
    rows = []
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        y, x = np.mgrid[: height // stride, : width // stride] + 0.5
        centres = np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2) * stride, len(sides), axis=0)
        squares = np.tile(np.array(sides), len(centres) // len(sides))
        rows.append(np.column_stack([centres, squares, squares]))
    table: Floats = np.concatenate(rows).astype(np.float32)
    return table


def decode_boxes(locations: Floats, table: Floats) -> Floats:
    """(A, 4) x1 y1 x2 y2 in pixels of the network's input, of every prior."""
    boxes: Floats = np.concatenate(
        (
            table[:, :2] + locations[:, :2] * VARIANCES[0] * table[:, 2:],
            table[:, 2:] * np.exp(locations[:, 2:] * VARIANCES[1]),
        ),
        axis=1,
    )
    boxes[:, :2] -= boxes[:, 2:] / 2
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def decode_landmarks(offsets: Floats, table: Floats) -> Floats:
    """(A, 10) in pixels of the network's input, of every prior."""
    return np.concatenate(
        [table[:, :2] + offsets[:, start : start + 2] * VARIANCES[0] * table[:, 2:] for start in range(0, 10, 2)],
        axis=1,
    )


def candidates(locations: Floats, scores: Floats, offsets: Floats, table: Floats, scale: float) -> Found:
    """All priors decoded, brought to the image's pixels, those worth an NMS kept, best first."""
    boxes = decode_boxes(locations, table) / scale
    landmarks = decode_landmarks(offsets, table) / scale
    face_scores = scores[:, 1]
    kept = np.where(face_scores > CANDIDATE_SCORE)[0]
    order = kept[face_scores[kept].argsort()[::-1]]
    return Found(boxes[order], face_scores[order], landmarks[order].reshape(-1, 5, 2))


def faces(found: Found, min_score: float) -> Found:
    """What the NMS leaves of the candidates, from `min_score` up."""
    kept = np.array(nms(found.boxes, found.scores, NMS_IOU), np.intp)
    kept = kept[found.scores[kept] >= min_score]
    return Found(found.boxes[kept], found.scores[kept], found.landmarks[kept])


def nms(boxes: Floats, scores: Floats, iou: float) -> list[int]:
    """Greedy non-maximum suppression as in Fast R-CNN's Python version: the indices kept, best first."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    order = scores.argsort()[::-1]
    kept = []
    while order.size > 0:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.maximum(0.0, np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]))
        height = np.maximum(0.0, np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]))
        shared = width * height
        order = rest[shared / (areas[best] + areas[rest] - shared) <= iou]
    return kept


def align(image: Pixels, landmarks: Floats) -> Pixels:
    """The 112x112 crop of one face."""
    matrix, _ = cv2.estimateAffinePartial2D(landmarks, TEMPLATE)
    return cv2.warpAffine(image, matrix, (112, 112))  # type: ignore[return-value]


def unit(vectors: Floats) -> Floats:
    """Rows of length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def to_json(found: Found) -> str:
    """The answer's faces: box, score and landmarks."""
    return json.dumps(
        [
            {
                "box": {"x": float(x1), "y": float(y1), "w": float(x2 - x1), "h": float(y2 - y1)},
                "score": float(score),
                "landmarks": [{"id": i, "x": float(x), "y": float(y)} for i, (x, y) in enumerate(points)],
            }
            for (x1, y1, x2, y2), score, points in zip(found.boxes, found.scores, found.landmarks, strict=True)
        ]
    )
