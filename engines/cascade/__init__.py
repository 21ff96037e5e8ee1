"""An image in, faces out by three networks, each of which judges what the one before it let through: MTCNN's cascade
(Zhang et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, Image, ModelError
from engines.cascade.boxes import moved, nms_by_group, nms_of_smaller, squared, windows
from engines.cascade.crops import cut
from engines.cascade.parts import CROPS, ONET, RNET, shapes_of
from engines.cascade.pyramid import canvas_size, layout, paint
from engines.detector import Detections
from engines.families import Size
from engines.geometry.letterbox import letterbox_scale
from engines.geometry.nms import nms

Floats = NDArray[np.float32]

# The method's own; O-Net's threshold is the caller's `min_score`.
PNET_SCORE, RNET_SCORE = 0.6, 0.7
_IOU_IN_LEVEL, _IOU, _SHARE_OF_SMALLER = 0.5, 0.7, 0.7


def open_detector(engines: Sequence[Engine], *, sizes: Sequence[Size]) -> CascadeDetector:
    """See `engines.detector.open_detector`. Each stage waits for the one before, so nothing runs beside another."""
    if len(sizes) != len(engines):
        raise ModelError(f"a cascade of {len(engines)} networks needs to know the size of each, not of {len(sizes)}")
    return CascadeDetector(dict(zip(sizes, engines, strict=True)))


class CascadeDetector:
    """P-Net at one or more picture sizes, R-Net and O-Net. `detect` may be called from any thread."""

    points = 5

    def __init__(self, engines: Mapping[Size, Engine]) -> None:
        """Owns `engines` from now on, by the sizes of their files: pictures' for P-Net, 24x24 and 48x48. Raises
        ModelError when one is missing or no canonical network of a cascade."""
        self._pnets = {size: engine for size, engine in engines.items() if size not in CROPS}
        if not self._pnets or not {RNET, ONET} <= set(engines):
            raise ModelError(f"a cascade needs P-Net at a picture's size, 24x24 and 48x48, not {list(engines)}")
        for size, engine in engines.items():
            _require_part(engine, size)
        self._rnet, self._onet = engines[RNET], engines[ONET]
        self._engines = tuple(engines.values())

    @property
    def fault(self) -> str | None:
        """Why no detection can succeed any more, or None (see `engines.base.Engine`)."""
        return next((engine.fault for engine in self._engines if engine.fault), None)

    def detect(self, image: Image, *, min_score: float = 0.5, iou: float = 0.4, small_scale: bool = True) -> Detections:
        """See `engines.detector.Detector`. The smallest face is 20 px of the picture as it is scaled to fit one of the
        sizes; the pyramid goes up to its whole, so `small_scale` changes nothing."""
        del small_scale
        size = self._size_for(image)
        picture, zoom = _fitted(image, size)
        boxes = self._refined(picture, self._proposed(picture, size))
        faces = self._judged(picture, boxes, min_score).scaled(1 / zoom)
        return faces[nms(faces.boxes, faces.scores, iou)].clipped(image)

    def close(self) -> None:
        """Closes the engines once their running calls are done; a detection under way may end with EngineClosedError.
        May be called again."""
        for engine in self._engines:
            engine.close()

    def _size_for(self, image: Image) -> Size:
        """The size that shows the image largest, and of those the one with the least work."""
        return min(self._pnets, key=lambda size: (-letterbox_scale(image, *size), size[0] * size[1]))

    def _proposed(self, picture: Image, size: Size) -> Floats:
        """P-Net's squares."""
        height, width = picture.shape[:2]
        places = layout((height, width), size)
        outputs = self._pnets[size].run({"canvas": paint(picture, places)[np.newaxis]})
        scores = outputs["scores"][0]
        count = int(np.count_nonzero(scores >= PNET_SCORE))  # best first
        corners, scores, offsets = outputs["corners"][0, :count], scores[:count], outputs["offsets"][0, :count]
        column, row = (corners.astype(np.intp) // 2).T
        level = places.of_cell[row, column].astype(np.intp)
        inside = np.flatnonzero(level >= 0)
        boxes, scores, offsets, level = (
            windows(corners[inside], level[inside], places),
            scores[inside],
            offsets[inside],
            level[inside],
        )
        kept = nms_by_group(boxes, scores, level, _IOU_IN_LEVEL)
        kept = kept[nms(boxes[kept], scores[kept], _IOU)]
        return squared(moved(boxes[kept], offsets[kept], ends=0))

    def _refined(self, picture: Image, boxes: Floats) -> Floats:
        """R-Net's squares of those it takes for faces."""
        crops, visible = cut(picture, boxes, RNET[0])
        outputs = _run(self._rnet, crops)
        chosen = outputs["scores"] > RNET_SCORE
        boxes, scores, offsets = boxes[visible][chosen], outputs["scores"][chosen], outputs["offsets"][chosen]
        kept = nms(boxes, scores, _IOU)
        return squared(moved(boxes[kept], offsets[kept]))

    def _judged(self, picture: Image, boxes: Floats, min_score: float) -> Detections:
        """O-Net's faces, in px of the picture."""
        crops, visible = cut(picture, boxes, ONET[0])
        outputs = _run(self._onet, crops)
        chosen = outputs["scores"] >= min_score
        boxes, scores = boxes[visible][chosen], outputs["scores"][chosen]
        sides = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
        landmarks = boxes[:, None, :2] - np.float32(1) + outputs["landmarks"][chosen] * sides[:, None]
        boxes = moved(boxes, outputs["offsets"][chosen])
        kept = nms_of_smaller(boxes, scores, _SHARE_OF_SMALLER)
        return Detections(boxes[kept], scores[kept], landmarks[kept])


def _require_part(engine: Engine, size: Size) -> None:
    found = [{spec.name: spec.shape for spec in specs} for specs in (engine.inputs, engine.outputs)]
    k = found[1].get("scores", (0,))[-1] or 0
    if found != list(shapes_of(size, k, canvas_size(size))):
        raise ModelError(f"no network of a cascade for {size[0]}x{size[1]}: it takes and gives {found}")


def _fitted(image: Image, size: Size) -> tuple[Image, float]:
    """The image as large as fits into `size`, without padding, and its px / image px."""
    zoom = letterbox_scale(image, *size)
    rows, columns = (max(1, round(side * zoom)) for side in image.shape[:2])
    if (rows, columns) == image.shape[:2]:
        return image, zoom
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR), np.uint8), zoom


def _run(engine: Engine, crops: Image) -> dict[str, NDArray[np.float32]]:
    """The engine's answers to all crops, in as many runs as it takes."""
    if not len(crops):
        return {
            spec.name: np.empty((0, *(side or 0 for side in spec.shape[1:])), np.float32) for spec in engine.outputs
        }
    most = engine.max_batch_size
    parts = [engine.run({"crops": crops[start : start + most]}) for start in range(0, len(crops), most)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
