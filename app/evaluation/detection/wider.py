"""WIDER FACE's protocol: average precision on its easy, medium and hard faces, counted as its evaluation tools count.

Yang et al., "WIDER FACE: A Face Detection Benchmark", 2016; the tools are MATLAB's `wider_eval.m`, `evaluation.m`,
`norm_score.m`, `VOCap.m` and `boxoverlap.m`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.detection.wider_truth import SUBSETS, TrueFaces
from app.evaluation.photos import EvaluationError
from engines.detector import Detections

LEAST_IOU = 0.5
THRESHOLDS = 1000
Floats = NDArray[np.float64]


def protocol(truth: Mapping[str, TrueFaces], found: Mapping[str, Detections | None]) -> dict[str, Any]:
    """The three figures, of the photos in `found` that the ground truth knows, by path.

    A photo without detections, as one that cannot be read, misses its faces. Raises EvaluationError where the two have
    no photo in common.
    """
    names = [name for name in found if name in truth]
    if not names:
        raise EvaluationError(
            f"WIDER FACE's ground truth has photos such as {next(iter(truth), 'none')}, and none of the "
            f"{len(found)} annotated ones such as {next(iter(found), 'none')}"
        )
    scores = normalised([_scores(found[name]) for name in names])
    photos = [(truth[name], _boxes(found[name]), each) for name, each in zip(names, scores, strict=True)]
    told: dict[str, Any] = {"photos": len(names), "of_photos": len(truth)}
    for subset in SUBSETS:
        faces = sum(int(true.of[subset].sum()) for true, _, _ in photos)
        parts = [judged(true.boxes, true.of[subset], boxes) for true, boxes, _ in photos]
        told[subset] = {"faces": faces, "ap": _ap(parts, [each for _, _, each in photos], faces) if faces else None}
    return told


def normalised(scores: list[Floats]) -> list[Floats]:
    """The scores of all photos, the least of the whole set to 0 and the highest to 1; all to 1 where they are equal."""
    every = np.concatenate(scores) if scores else np.empty(0)
    least, highest = (float(np.min(every)), float(np.max(every))) if every.size else (0.0, 0.0)
    if least == highest:
        return [np.ones_like(each) for each in scores]
    return [(each - least) / (highest - least) for each in scores]


def judged(faces: Floats, belongs: NDArray[np.bool_], boxes: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of a photo's detections, best first: which count as proposals, and which find a face of the subset, (m,) each.

    Every detection looks at the one face that overlaps it most, taken or not. Where that is one outside the subset it
    is left out; where it was found before, or overlaps by less than 0.5, the detection is a proposal that finds
    nothing. Detections of a photo without any face do not count at all.
    """
    counts, finds = np.zeros((2, len(boxes)), np.bool_)
    if not len(faces) or not len(boxes):
        return counts, finds
    overlaps = overlap(boxes, faces)
    best = overlaps.argmax(axis=1)
    near = overlaps[np.arange(len(boxes)), best] >= LEAST_IOU
    inside = near & belongs[best]
    _, first = np.unique(best[inside], return_index=True)
    finds[np.flatnonzero(inside)[first]] = True
    return ~near | inside, finds


def overlap(boxes: Floats, others: Floats) -> Floats:
    """(n, m) IoU with a pixel added to every width and height, as the tools count the pixels between two corners."""
    sides = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2]) + 1
    common = np.maximum(sides, 0).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2] + 1).prod(axis=1) for each in (boxes, others)]
    ratios: Floats = common / (areas[0][:, None] + areas[1] - common)
    return ratios


def _ap(parts: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]], scores: list[Floats], faces: int) -> float:
    """The area under precision's envelope over the recalls at a thousand thresholds, 0.999, 0.998, … 0."""
    every = np.concatenate(scores)
    order = np.argsort(-every, kind="stable")
    proposals = np.cumsum(np.concatenate([counts for counts, _ in parts])[order])
    hits = np.cumsum(np.concatenate([finds for _, finds in parts])[order])
    thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    taken = np.searchsorted(-every[order], -thresholds, side="right")
    at_hits, at_proposals = (np.append(0, each)[taken].astype(np.float64) for each in (hits, proposals))
    precision = np.divide(at_hits, at_proposals, out=np.zeros(THRESHOLDS), where=at_proposals > 0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(at_hits / faces, prepend=0) * envelope))


def _scores(found: Detections | None) -> Floats:
    return np.empty(0) if found is None else found.scores.astype(np.float64)


def _boxes(found: Detections | None) -> Floats:
    return np.empty((0, 4)) if found is None else found.boxes.astype(np.float64)
