"""How far the answers of two engines of one network of a cascade lie apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.base import Tensors
from engines.cascade import PNET_SCORE, RNET_SCORE
from engines.cascade.parts import ONET, RNET
from engines.cascade.pyramid import WINDOW_PX
from engines.compare import LEAST_IOU, MOST_PX
from engines.geometry.overlap import area

Json = dict[str, Any]
ONET_SCORE: Final = 0.7
"""From which O-Net's answer is usually taken for a face; R-Net's and P-Net's are the method's own."""
NEARLY: Final = 0.01
"""Two scores no further apart are the same judgement, though one is above the threshold and the other below it."""


def stage_differences(reference: Tensors, given: Tensors) -> Json:
    """What separates two answers (N rows each) of P-Net, R-Net or O-Net; which it is, the names of the outputs tell.

    The keys are those of `engines.compare.detector_differences`. A face is here what the network lets through: a window
    of P-Net's, a crop of R-Net's or O-Net's. One that both sides let through, or one of them does and the other all but
    does (`NEARLY`), is matched; no overlaps decide, for the same window or crop is the same. Boxes and landmarks are in
    px of the canvas or crop; `landmarks_px` has None where the network gives none. Raises ValueError when the sides
    have different numbers of rows.
    """
    if len(reference["scores"]) != len(given["scores"]):
        raise ValueError(f"the reference answers {len(reference['scores'])} rows, the other {len(given['scores'])}")
    one, other, least = _candidates(reference), _candidates(given), _threshold(reference)
    _, ours, theirs = np.intersect1d(one.keys, other.keys, return_indices=True)
    passed = np.maximum(one.scores[ours], other.scores[theirs]) >= least
    alike = np.minimum(one.scores[ours], other.scores[theirs]) >= least - NEARLY
    ours, theirs = ours[passed & alike], theirs[passed & alike]
    overlaps = _iou(one.boxes[ours], other.boxes[theirs])
    moved_px = np.linalg.norm(one.landmarks[ours] - other.landmarks[theirs], axis=-1)
    return {
        "images": len(reference["scores"]),
        "faces": {
            "reference": int(np.count_nonzero(one.scores >= least)),
            "given": int(np.count_nonzero(other.scores >= least)),
            "matched": len(ours),
        },
        "unmatched": _alone("reference", one, ours, least) + _alone("given", other, theirs, least),
        "apart": _apart(one, ours, overlaps, moved_px),
        "iou": _summary(overlaps, "min"),
        "landmarks_px": _summary(moved_px.ravel(), "max"),
        "scores": _summary(np.abs(one.scores[ours] - other.scores[theirs]), "max"),
        "not_finite": sum(int(np.count_nonzero(~np.isfinite(array))) for array in given.values()),
    }


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Everything that the rows of an answer propose, flat: `keys` (n,) tell windows and crops apart, `rows` (n,) are
    theirs; boxes (n, 4), scores (n,), landmarks (n, 5 or 0, 2), float64."""

    keys: NDArray[np.int64]
    rows: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    landmarks: NDArray[np.float64]


def _threshold(outputs: Tensors) -> float:
    if "corners" in outputs:
        return PNET_SCORE
    return ONET_SCORE if "landmarks" in outputs else RNET_SCORE


def _candidates(outputs: Tensors) -> _Candidates:
    scores, offsets = (np.asarray(outputs[name], np.float64) for name in ("scores", "offsets"))
    rows = np.arange(len(scores))
    if "corners" not in outputs:
        side = (ONET if "landmarks" in outputs else RNET)[0]
        landmarks = np.asarray(outputs.get("landmarks", np.empty((len(rows), 0, 2))), np.float64) * side
        return _Candidates(rows, rows, offsets * side + [0, 0, side, side], scores, landmarks)
    corners = np.asarray(outputs["corners"], np.float64).reshape(-1, 2)
    rows = np.repeat(rows, scores.shape[1])
    x, y = corners.astype(np.int64).T
    boxes = offsets.reshape(-1, 4) * WINDOW_PX + np.hstack([corners, corners + WINDOW_PX])
    return _Candidates((rows << 32) + (y << 16) + x, rows, boxes, scores.ravel(), np.empty((len(rows), 0, 2)))


def _iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Box by box."""
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    common = np.maximum(sides, 0).prod(axis=1)
    together = area(boxes.astype(np.float32)) + area(others.astype(np.float32)) - common
    ratios: NDArray[np.float64] = np.divide(common, together, out=np.zeros_like(common), where=together > 0)
    return ratios


def _alone(side: str, found: _Candidates, matched: NDArray[np.intp], least: float) -> list[Json]:
    """What this side lets through and the other does not."""
    return [
        _told(found, int(each)) | {"side": side}
        for each in np.setdiff1d(np.flatnonzero(found.scores >= least), matched)
    ]


def _apart(found: _Candidates, matched: NDArray[np.intp], overlaps: NDArray[Any], moved_px: NDArray[Any]) -> list[Json]:
    furthest_px = moved_px.max(axis=1, initial=0)
    return [
        _told(found, matched[each])
        | {"iou": float(overlaps[each]), "landmarks_px": float(furthest_px[each]), "tie": None}
        for each in np.flatnonzero((overlaps < LEAST_IOU) | (furthest_px > MOST_PX))
    ]


def _told(found: _Candidates, each: int) -> Json:
    return {
        "image": int(found.rows[each]),
        "score": float(found.scores[each]),
        "box": found.boxes[each].tolist(),
    }


def _summary(values: NDArray[np.float64], worst: str) -> Json:
    if not values.size:
        return {worst: None, "mean": None}
    return {worst: float(np.min(values) if worst == "min" else np.max(values)), "mean": float(np.mean(values))}
