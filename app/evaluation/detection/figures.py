"""All figures of a run of detection, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import REPLICATES, Interval, draws, ratio
from app.evaluation.detection.annotations import Annotated
from app.evaluation.detection.curve import Curve, Floats
from app.evaluation.detection.pool import Pool
from app.evaluation.groups import Groups
from app.evaluation.photos import EvaluationError
from engines.detector import Detections

Json = dict[str, Any]
SIZES_PX: Final = (0, 8, 16, 32, 64, 128, np.inf)
"""Faces are told apart by the shorter side of their box in px of the photo: below 8, from 8 to below 16, …"""
MOST_POINTS = 500
WORST = 12


def measure(
    photos: Sequence[Annotated],
    found: Sequence[Detections | None],
    *,
    ious: Sequence[float],
    least_score: float,
    serving_score: float,
    groups: Groups | None = None,
    replicates: int = REPLICATES,
) -> Json:
    """The figures of `photos` with each one's detections in `found`, None for one that could not be read: those are
    named, and left out with their faces.

    No detection scores below `least_score`; `serving_score` is the one at which the service takes a detection for a
    face: precision, recall, F1, recall by size and group are told for it. Intervals are a bootstrap's over photos. The
    same input gives the same figures. Raises EvaluationError where no face is left to be found.
    """
    read = [place for place, each in enumerate(found) if each is not None]
    shown = [photos[place] for place in read]
    faces = sum(int((~one.ignored).sum()) for one in shown)
    if not faces:
        raise EvaluationError(f"none of the {len(shown)} photos that could be read shows a face that counts")
    known = [each for each in found if each is not None]
    score = float(np.float32(serving_score))  # as scores are: of 0.7 the nearest float32 is less
    pools = [Pool.of(shown, known, least) for least in ious]
    names = [one.photo.name for one in shown]
    labels = {attribute: [group.get(name) for name in names] for attribute, group in (groups or {}).items()}
    return {
        "photos": len(shown),
        "faces": faces,
        "ignored": sum(int(one.ignored.sum()) for one in shown),
        "detections": sum(map(len, known)),
        "unreadable": [one.photo.name for one, each in zip(photos, found, strict=True) if each is None],
        "least_score": least_score,
        "serving_score": serving_score,
        "at_iou": [_at_iou(pool, least, score, replicates) for pool, least in zip(pools, ious, strict=True)],
        "groups": {name: _by_group(pools[0], row, score, replicates) for name, row in labels.items()},
        "worst": worst(shown, known, pools[0], score),
    }


def _at_iou(pool: Pool, least_iou: float, score: float, replicates: int) -> Json:
    curve = pool.curve()
    reached = float(curve.recall[-1]) if len(curve.recall) else 0.0
    return {
        "iou": least_iou,
        "ap": pool.ap(replicates).as_json(),
        "ap_envelope": curve.ap_envelope,
        "ap_eleven": curve.ap_eleven,
        "recall_reached": reached,
        "serving": _at_score(pool, score, replicates),
        "best_f1": _best_f1(curve),
        "by_size": [
            _of_faces(pool, (pool.side_px >= low) & (pool.side_px < high), score, replicates)
            | {"from_px": low, "below_px": None if np.isinf(high) else high}
            for low, high in pairwise(SIZES_PX)
        ],
        "curve": _thinned(curve),
    }


def _at_score(pool: Pool, score: float, replicates: int) -> Json:
    """The detections of at least that score: how many are right, false, and what they miss."""
    photos = len(pool.shown)
    taken = pool.ranking.taken(score)
    right = np.bincount(pool.ranking.photo[taken & pool.ranking.right], minlength=photos).astype(np.float64)
    false = np.bincount(pool.ranking.photo[taken & ~pool.ranking.right], minlength=photos).astype(np.float64)
    precision = ratio(right, right + false, replicates)
    recall = ratio(right, pool.shown.astype(np.float64), replicates)
    both = (precision.value or 0.0) + (recall.value or 0.0)
    return {
        "precision": precision.as_json(),
        "recall": recall.as_json(),
        "f1": 2 * (precision.value or 0.0) * (recall.value or 0.0) / both if both else 0.0,
        "found": int(right.sum()),
        "missed": int(pool.shown.sum() - right.sum()),
        "false": int(false.sum()),
        "false_per_photo": _mean(false, replicates).as_json(),
    }


def _mean(counts: Floats, replicates: int) -> Interval:
    """Of a count per photo, which is no rate: it may exceed 1."""
    drawn = [counts @ block / len(counts) for block in draws(len(counts), replicates)]
    return Interval.of(float(counts.mean()), np.concatenate(drawn, dtype=np.float64))


def _best_f1(curve: Curve) -> Json | None:
    if not len(curve.scores):
        return None
    best = int(np.argmax(curve.f1))
    names = ("scores", "precision", "recall", "f1")
    return {name.removesuffix("s"): float(getattr(curve, name)[best]) for name in names}


def _of_faces(pool: Pool, chosen: NDArray[np.bool_], score: float, replicates: int) -> Json:
    """Recall of some of the faces, at a score and of any detection at all."""
    photos = len(pool.shown)
    of = np.bincount(pool.photo[chosen], minlength=photos).astype(np.float64)
    at_score, at_all = (
        np.bincount(pool.photo[chosen & found], minlength=photos).astype(np.float64)
        for found in (pool.found_at >= score, np.isfinite(pool.found_at))
    )
    return {
        "faces": int(of.sum()),
        "photos": int(np.count_nonzero(of)),
        "recall": ratio(at_score, of, replicates).as_json(),
        "recall_reached": float(at_all.sum() / of.sum()) if of.any() else None,
    }


def _by_group(pool: Pool, labels: Sequence[str | None], score: float, replicates: int) -> list[Json]:
    return [
        {"group": group}
        | _of_faces(pool, np.array([label == group for label in labels])[pool.photo], score, replicates)
        for group in sorted({label for label in labels if label is not None})
    ]


def _thinned(curve: Curve) -> Json:
    """At most `MOST_POINTS` points, evenly spread over recall, first and last among them."""
    places = np.arange(len(curve.recall))
    if len(places) > MOST_POINTS:
        wanted = np.linspace(curve.recall[0], curve.recall[-1], MOST_POINTS - 1)
        chosen = np.minimum(np.searchsorted(curve.recall, wanted), len(places) - 1)
        places = np.union1d(chosen, [len(places) - 1])
    return {name: np.round(getattr(curve, name)[places], 6).tolist() for name in ("scores", "recall", "precision")}


def worst(photos: Sequence[Annotated], found: Sequence[Detections], pool: Pool, score: float) -> list[Json]:
    """The photos with most missed faces and false detections at that score, by name where they have as many."""
    told: list[tuple[int, str, Json]] = []
    for one, each, became in zip(photos, found, pool.matched, strict=True):
        missed = int((~one.ignored & (became.found_at < score)).sum())
        false = int((became.counted & ~became.right & (each.scores >= score)).sum())
        if missed + false:
            row = {"photo": one.photo.name, "missed": missed, "false": false}
            told.append((-missed - false, one.photo.name, row))
    return [row for _, _, row in sorted(told, key=lambda each: each[:2])[:WORST]]
