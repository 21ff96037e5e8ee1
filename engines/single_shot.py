"""An image in, faces out in one run of a network: one canonical detector at one or more scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, EngineClosedError, Image, ModelError
from engines.detector import Detections
from engines.geometry import overlap
from engines.geometry.letterbox import letterbox, letterbox_scale
from engines.geometry.nms import nms

# Which scale to believe, measured on crops of 17 photos (docs/adr/0001).
_LARGE_PX = 320  # on the main input; above it the small input places landmarks better, below it worse
_JUDGED_PX = 48  # on the small input; from there on it finds every face that the main one finds
_LEAST_OPINION = 0.02  # a lower score counts as none
_TRUSTED = 0.3  # a small-scale score from which its landmarks are worth having
_SAME_FACE_IOU = 0.4


def open_detector(engines: Sequence[Engine], *, beside: bool = True) -> SingleShotDetector:
    """See `engines.detector.open_detector`."""
    return SingleShotDetector(engines, beside=beside)


class SingleShotDetector:
    """A canonical detector at one main scale and any number of small ones. `detect` may be called from any thread."""

    def __init__(self, engines: Sequence[Engine], *, beside: bool = True) -> None:
        """Owns `engines` from now on, one for each input size, largest first. Raises ModelError when one of them is
        no canonical detector.

        The small inputs are run `beside` the main one on threads of the detector's own, which saves a lone caller their
        time on a CPU; or after it on the caller's thread, which on a GPU, where a run is short, costs less than the
        90 us of CPU for the hand-over.
        """
        scales = [_Scale(engine) for engine in engines]
        areas = [scale.height * scale.width for scale in scales]
        if not scales or areas != sorted(areas, reverse=True):
            raise ModelError(f"a detector needs engines of one or more input sizes, largest first, not of {areas} px")
        self._main, *self._small = scales
        most_at_once = sum(engine.concurrency * engine.max_batch_size for engine in engines[1:])
        self._closed = False
        self._pool = ThreadPoolExecutor(max(1, most_at_once), thread_name_prefix="detector") if beside else None

    @property
    def fault(self) -> str | None:
        """Why no detection can succeed any more, or None (see `engines.base.Engine`)."""
        return next((scale.fault for scale in (self._main, *self._small) if scale.fault), None)

    @property
    def points(self) -> int:
        """How many landmarks a face has: 5, or 0."""
        return self._main.points

    def detect(self, image: Image, *, min_score: float = 0.5, iou: float = 0.4, small_scale: bool = True) -> Detections:
        """See `engines.detector.Detector`. With `small_scale` the small inputs are run too: see `reconcile`."""
        small = self._small if small_scale else []
        others = [self._start(scale, image, min(min_score, _LEAST_OPINION)) for scale in small]
        faces, zoom = self._main.find(image, min_score), self._main.zoom(image)
        for scale, other in zip(small, others, strict=True):
            faces = reconcile(faces, other(), zoom, scale.zoom(image))
        faces = faces[faces.scores >= min_score]
        return faces[nms(faces.boxes, faces.scores, iou)].clipped(image)

    def _start(self, scale: _Scale, image: Image, min_score: float) -> Callable[[], Detections]:
        if self._pool is None:
            return partial(scale.find, image, min_score)
        try:
            return self._pool.submit(copy_context().run, scale.find, image, min_score).result
        except RuntimeError as error:
            if self._closed:
                raise EngineClosedError("the detector was closed; load it again to run it") from error
            raise

    def close(self) -> None:
        """Closes the engines once their running calls are done; a detection under way may end with EngineClosedError.
        May be called again."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown()
        for scale in (self._main, *self._small):
            scale.close()


class _Scale:
    """The detector at one input size."""

    def __init__(self, engine: Engine) -> None:
        shapes = {spec.name: spec.shape for spec in (*engine.inputs, *engine.outputs)}
        match shapes.get("images"), shapes.get("boxes"), shapes.get("scores"), shapes.get("landmarks"):
            case (None, int(height), int(width), 3), (None, _, 4), (None, _), (None, _, 5, 2):
                self.height, self.width, self.points = height, width, 5
            case (None, int(height), int(width), 3), (None, _, 4), (None, _), None:
                self.height, self.width, self.points = height, width, 0
            case _:
                raise ModelError(
                    "a detector turns images (N, H, W, 3) into boxes (N, K, 4), scores (N, K) and, unless it finds "
                    f"none, landmarks (N, K, 5, 2), not {shapes}"
                )
        self._engine = engine
        self.close = engine.close

    @property
    def fault(self) -> str | None:
        return self._engine.fault

    def zoom(self, image: Image) -> float:
        """image px * zoom = input px"""
        return letterbox_scale(image, self.height, self.width)

    def find(self, image: Image, min_score: float) -> Detections:
        """The candidates of this scale, best first, in image px, not yet thinned out."""
        canvas, zoom = letterbox(image, self.height, self.width)
        outputs = self._engine.run({"images": canvas[np.newaxis]})
        scores = outputs["scores"][0]
        count = int(np.count_nonzero(scores >= min_score))  # best first: the ones to keep are the first ones
        boxes = outputs["boxes"][0, :count]
        landmarks = outputs["landmarks"][0, :count] if self.points else np.empty((count, 0, 2), np.float32)
        return Detections(boxes, scores[:count], landmarks).scaled(1 / zoom)


def reconcile(main: Detections, small: Detections, main_zoom: float, small_zoom: float) -> Detections:
    """One set of candidates, in any order, from those of the main and of a small input; a zoom is input px / image px.

    Each scale rules where it is the better one (measured: docs/adr/0001):
    - a face larger than `_LARGE_PX` on the main input takes box and landmarks from the small one, or is added from it;
    - a face larger than `_JUDGED_PX` on the small input was before both: where the small one thinks less of it, the
      score is the mean of the two;
    - smaller faces are the main scale's alone.
    """
    size = _size(main.boxes)
    large, judged = size * main_zoom > _LARGE_PX, size * small_zoom > _JUDGED_PX
    added = _size(small.boxes) * main_zoom > _LARGE_PX
    if not (large.any() or judged.any() or added.any()):
        return main  # the usual case: no face is large
    opinions = np.where(overlap.iou(main.boxes, small.boxes) > _SAME_FACE_IOU, small.scores, np.float32(0))
    opinion = opinions.max(axis=1, initial=0)
    doubted = judged & (opinion < main.scores)
    scores = np.where(doubted, (main.scores + opinion) / 2, main.scores)
    boxes, landmarks = main.boxes.copy(), main.landmarks.copy()
    ceded = large & (opinion > _TRUSTED)
    if ceded.any():
        best = opinions[ceded].argmax(axis=1)
        boxes[ceded], landmarks[ceded] = small.boxes[best], small.landmarks[best]
    return Detections(
        np.concatenate([boxes, small.boxes[added]]),
        np.concatenate([scores, small.scores[added]]),
        np.concatenate([landmarks, small.landmarks[added]]),
    )


def _size(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The side of a square of the same area, (n,); 0 for a box turned inside out, as networks give at low scores."""
    return np.sqrt(overlap.area(np.maximum(boxes, np.tile(boxes[:, :2], 2))))
