"""How far the answers of two engines of one network lie apart."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.base import Tensors
from engines.detector import Detections
from engines.geometry.nms import nms
from engines.geometry.overlap import iou

Json = dict[str, Any]
NMS_IOU: Final = 0.4
"""As in `Detector.detect`."""
SAME_FACE_IOU: Final = 0.5
"""Below it two faces are not the same one, drawn a little differently, but two."""
LEAST_IOU, LEAST_COSINE, MOST_PX = 0.99, 0.999, 0.5
"""What one network promises whatever runs it."""


def faces_in(outputs: Tensors, row: int, min_score: float = 0.5) -> Detections:
    """The faces of one row of a canonical detector's outputs, thinned out, best first, in px of the network's input."""
    faces = _candidates(outputs, row)
    faces = faces[faces.scores >= min_score]
    return faces[nms(faces.boxes, faces.scores, NMS_IOU)]


def detector_differences(reference: Tensors, given: Tensors, min_score: float = 0.5) -> Json:
    """What separates two answers (N rows each) of a canonical detector, once both are thinned out to faces.

    Each face of the reference is paired with at most one of the other side, best IoU first. `iou`, `landmarks_px` and
    `scores` speak of the pairs (None without any); a landmark's difference is a distance in px of the network's input,
    None all over where the detector finds no landmarks.
    `unmatched` names the faces that only one side found, `apart` the pairs that lie further apart than is promised,
    with `tie`: by how much the reference scores a candidate that is just where the given face is differently from the
    one it chose (None where it has none). `not_finite` counts the given numbers that are none. Raises ValueError when
    the sides have different numbers of rows.
    """
    rows = _rows(reference, given, "scores")
    overlaps: list[NDArray[Any]] = [np.empty(0)]
    landmarks: list[NDArray[Any]] = [np.empty(0)]
    scores: list[NDArray[Any]] = [np.empty(0)]
    unmatched: list[Json] = []
    apart: list[Json] = []
    counts = np.zeros(2, int)
    for row in range(rows):
        sides = faces_in(reference, row, min_score), faces_in(given, row, min_score)
        ours, theirs, shared = pairs(*sides)
        overlaps.append(shared)
        chosen, other = sides[0][ours], sides[1][theirs]
        landmarks.append(_landmarks_px(chosen, other).ravel())
        scores.append(np.abs(_gap(chosen.scores, other.scores)))
        apart += _apart(row, chosen, other, _candidates(reference, row))
        unmatched += _alone(row, "reference", sides[0], ours) + _alone(row, "given", sides[1], theirs)
        counts += len(sides[0]), len(sides[1])
    return {
        "images": rows,
        "faces": {"reference": int(counts[0]), "given": int(counts[1]), "matched": len(np.concatenate(overlaps))},
        "unmatched": unmatched,
        "apart": apart,
        "iou": _least(np.concatenate(overlaps)),
        "landmarks_px": _most(np.concatenate(landmarks)),
        "scores": _most(np.concatenate(scores)),
        "not_finite": _not_finite(given),
    }


def embedder_differences(reference: Tensors, given: Tensors) -> Json:
    """What separates two answers (N rows each) of a canonical embedder.

    `cosine` of the embeddings row by row (0 for a row that is not finite), `norms` the relative difference of the
    lengths before normalisation. Raises ValueError when the sides have different numbers of rows.
    """
    rows = _rows(reference, given, "embeddings")
    ours, theirs = (np.asarray(side["embeddings"], np.float64) for side in (reference, given))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    cosines = np.zeros(rows)
    cosines[usable] = np.clip((ours[usable] * theirs[usable]).sum(axis=1) / lengths[usable], -1, 1)
    norms = np.abs(_gap(reference["norms"], given["norms"])) / np.maximum(reference["norms"], np.finfo(np.float32).tiny)
    return {
        "crops": rows,
        "cosine": _least(cosines),
        "norms": _most(norms[np.isfinite(norms)]),
        "not_finite": _not_finite(given),
    }


def agrees(differences: Json) -> bool:
    """Whether differences are within the promise: the same faces, every IoU, landmark and cosine near enough."""
    if differences["not_finite"]:
        return False
    if "cosine" in differences:
        return differences["cosine"]["min"] is None or differences["cosine"]["min"] >= LEAST_COSINE
    if differences["unmatched"]:
        return False
    least, most = differences["iou"]["min"], differences["landmarks_px"]["max"]
    return bool((least is None or least >= LEAST_IOU) and (most is None or most <= MOST_PX))


def pairs(reference: Detections, given: Detections) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Which faces are the same: indices into the one and the other side, and the IoU of each pair, largest first."""
    overlaps = iou(reference.boxes, given.boxes)
    order = np.argsort(-overlaps, axis=None, kind="stable")
    taken: list[tuple[int, int]] = []
    for ours, theirs in zip(*np.unravel_index(order, overlaps.shape), strict=True):
        if overlaps[ours, theirs] < SAME_FACE_IOU:
            break
        if all(ours != one and theirs != other for one, other in taken):
            taken.append((ours, theirs))
    found = np.array(taken, np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1], overlaps[found[:, 0], found[:, 1]]


def _candidates(outputs: Tensors, row: int) -> Detections:
    """All that one row of a detector's outputs has, not yet thinned out, but for boxes that are none."""
    boxes, scores = outputs["boxes"][row], outputs["scores"][row]
    landmarks = outputs["landmarks"][row] if "landmarks" in outputs else np.empty((len(scores), 0, 2), np.float32)
    return Detections(boxes, scores, landmarks)[np.isfinite(boxes).all(axis=1)]


def _apart(row: int, chosen: Detections, given: Detections, candidates: Detections) -> list[Json]:
    """The pairs, face by face in `chosen` and `given`, that are not the same within the promise."""
    found = []
    for face in range(len(chosen)):
        one, other = chosen[np.array([face])], given[np.array([face])]
        if _same(one, other).all():
            continue
        there = candidates.scores[_same(candidates, other)]
        found.append(
            {
                "image": row,
                "score": float(one.scores[0]),
                "box": one.boxes[0].tolist(),
                "iou": float(iou(one.boxes, other.boxes)[0, 0]),
                "landmarks_px": _most(_landmarks_px(one, other)[0])["max"],
                "tie": float(np.abs(_gap(one.scores, there)).min()) if len(there) else None,
            }
        )
    return found


def _same(faces: Detections, other: Detections) -> NDArray[np.bool_]:
    """Which of `faces` are the one face `other` within the promise."""
    moved_px = _landmarks_px(faces, other).max(axis=1, initial=0)
    same: NDArray[np.bool_] = (iou(faces.boxes, other.boxes)[:, 0] >= LEAST_IOU) & (moved_px <= MOST_PX)
    return same


def _landmarks_px(faces: Detections, others: Detections) -> NDArray[np.float64]:
    """The distance of each landmark, (n, P); P is 0 where the detector finds none."""
    distances: NDArray[np.float64] = np.linalg.norm(_gap(faces.landmarks, others.landmarks), axis=-1)
    return distances


def _rows(reference: Tensors, given: Tensors, name: str) -> int:
    ours, theirs = len(reference[name]), len(given[name])
    if ours != theirs:
        raise ValueError(f"the reference answers {ours} rows, the other side {theirs}: give both the same feeds")
    return ours


def _gap(reference: NDArray[Any], given: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(given, np.float64) - np.asarray(reference, np.float64)


def _alone(row: int, side: str, faces: Detections, paired: NDArray[np.intp]) -> list[Json]:
    return [
        {"image": row, "side": side, "score": float(faces.scores[face]), "box": faces.boxes[face].tolist()}
        for face in np.setdiff1d(np.arange(len(faces)), paired).tolist()
    ]


def _not_finite(outputs: Tensors) -> int:
    return sum(int(np.count_nonzero(~np.isfinite(array))) for array in outputs.values())


def _least(values: NDArray[Any]) -> Json:
    return {"min": float(values.min()), "mean": float(values.mean())} if len(values) else {"min": None, "mean": None}


def _most(values: NDArray[Any]) -> Json:
    return {"max": float(values.max()), "mean": float(values.mean())} if len(values) else {"max": None, "mean": None}
