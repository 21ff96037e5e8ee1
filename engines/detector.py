"""Finding faces: what every detector promises, whatever networks it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, Image
from engines.families import Family, Size


@dataclass(frozen=True, slots=True)
class Detections:
    """n faces, best first, in px of the image given: `boxes` (n, 4) x1 y1 x2 y2, `scores` (n,) 0..1 and `landmarks`
    (n, P, 2), all float32 and finite; P is 5, or 0 for a detector that finds none. Boxes lie within the image;
    landmarks may lie outside."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        return Detections(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen])

    def scaled(self, factor: float) -> Detections:
        """The same faces in a picture `factor` times as large."""
        times = np.float32(factor)
        return Detections(self.boxes * times, self.scores, self.landmarks * times)

    def clipped(self, image: Image) -> Detections:
        """Boxes within the image; what lies outside, as in a letterbox's padding, goes, and what is not finite."""
        height, width = image.shape[:2]
        boxes = np.clip(self.boxes, 0, np.array([width, height, width, height], np.float32))
        shown = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Detections(boxes, self.scores, self.landmarks)[shown & np.isfinite(self.landmarks).all(axis=(1, 2))]


class Detector(Protocol):
    """A detector that is loaded. `detect` may be called from any thread; the arrays it returns belong to the caller."""

    @property
    def fault(self) -> str | None:
        """Why no detection can succeed any more, or None (see `engines.base.Engine`)."""

    @property
    def points(self) -> int:
        """How many landmarks a face has: 5, or 0."""

    def detect(self, image: Image, *, min_score: float = 0.5, iou: float = 0.4, small_scale: bool = True) -> Detections:
        """Every face of `image` (H, W, 3) with a score of at least `min_score` (0..1), none overlapping a better one by
        an IoU above `iou`. With `small_scale` also those that fill the frame, where that costs more runs.

        Raises ValueError for an image without pixels, and what the engines raise.
        """

    def close(self) -> None:
        """Closes the engines once their running calls are done; a detection under way may end with EngineClosedError.
        May be called again."""


def open_detector(
    family: Family, engines: Sequence[Engine], *, sizes: Sequence[Size] = (), beside: bool = True
) -> Detector:
    """The detector of that family; it owns `engines` from now on, one for each of the model's files, in their order.

    `sizes` are those of the files, which a cascade needs to know. `beside`: whether runs that do not need each other
    may share out over threads of the detector's own. Raises ModelError when the engines are not those of such a
    detector.
    """
    detector: Detector
    if family.cascade:
        detector = import_module("engines.cascade").open_detector(engines, sizes=sizes)
    else:
        detector = import_module("engines.single_shot").open_detector(engines, beside=beside)
    return detector
