"""Single operations whose cost relative to JPEG decoding is known from another machine.

They tell whether the baseline is the usual code: where an operation's share of `cv2.imdecode` is far from what it was
there, either the baseline is slower than it should be or the machines differ, and the report must say which.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from app.bench.statistics import Json, Summary
from tests.load import numpy_baseline as usual

KNOWN_IMDECODE_US = 2_950
"""cv2.imdecode of a 1280x960 JPEG of 166 kB on one core of an AMD Zen 4, OpenCV 5.0, NumPy 2.4, as all below."""
TOLERANCE = 0.20


@dataclass(frozen=True)
class Mark:
    """An operation of the usual code and what it cost on the machine it is compared with."""

    name: str
    known_us: float
    work: Callable[[], object]

    def told(self, cost_us: Summary, to_imdecode: Summary) -> Json:
        """Its cost here, its share of imdecode here and there, and how far these are apart."""
        known = self.known_us / KNOWN_IMDECODE_US
        deviation = to_imdecode.median / known - 1
        return {
            "operation": self.name,
            "usual_us": asdict(cost_us),
            "to_imdecode": asdict(to_imdecode),
            "known_to_imdecode": known,
            "deviation": deviation,
            "within_tolerance": abs(deviation) <= TOLERANCE,
        }


def steps(image: usual.Pixels) -> list[Mark]:
    """The operations on `image` (960, 1280, 3) and on random numbers of the sizes given."""
    rng = np.random.default_rng(0)
    text = base64.b64encode(rng.bytes(200_000))
    canvas, scale = usual.letterbox(image, 640, 640)
    mean = np.array([104, 117, 123], np.float32)
    table = usual.priors(640, 640)
    outputs: list[Any] = [rng.normal(0, 1, (len(table), width)).astype(np.float32) for width in (4, 2, 10)]
    outputs[1] = np.where(rng.random((len(table), 1)) < 0.01, 0.9, 0.001).repeat(2, axis=1).astype(np.float32)
    corners = rng.uniform(0, 1000, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 100, (200, 2))], axis=1).astype(np.float32)
    scores = rng.random(200).astype(np.float32)
    answer = json.loads(usual.to_json(_fifty(boxes, scores)))
    points = (usual.TEMPLATE * 3 + rng.normal(0, 2, (5, 2)) + 200).astype(np.float32)
    matrix, _ = cv2.estimateAffinePartial2D(points, usual.TEMPLATE)
    return [
        Mark("base64 of 200 kB", 388, lambda: base64.b64decode(text)),
        Mark("letterbox 1280x960 to 640x640", 320, lambda: usual.letterbox(image, 640, 640)),
        Mark("normalise 640x640", 2_280, lambda: usual.normalise(canvas, mean)),
        Mark(
            "decode 16,800 priors, then filter",
            2_670,
            lambda: usual.candidates(outputs[0], outputs[1], outputs[2], table, scale),
        ),
        Mark("NMS of 200 boxes", 1_610, lambda: usual.nms(boxes, scores, usual.NMS_IOU)),
        Mark("50 faces to JSON", 487, lambda: json.dumps(answer)),
        Mark("similarity of five points", 37, lambda: cv2.estimateAffinePartial2D(points, usual.TEMPLATE)),
        Mark("warp one crop", 68, lambda: cv2.warpAffine(image, matrix, (112, 112))),
    ]


def _fifty(boxes: usual.Floats, scores: usual.Floats) -> usual.Found:
    landmarks = boxes[:50, :2].repeat(5, axis=0).reshape(50, 5, 2)
    return usual.Found(boxes[:50], scores[:50], landmarks)
