"""LFW's accuracy: a threshold chosen on other pairs, applied to these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.verification.pairs import REJECTED, Pairs, Scored
from app.evaluation.wording import Json

FOLDS = 10
OTHER_FOLDS = "other folds"
DEALT = "other folds (the file has one set: its pairs were dealt into ten, people may be in several)"
NONE_PASSES = 1e-6
"""How far above the highest score a threshold lies at the least that lets nothing pass."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of pairs told right in each fold, 0..1, the threshold for each, and on what it was chosen."""

    folds: tuple[float, ...]
    thresholds: tuple[float, ...]
    chosen_on: str

    def as_json(self) -> Json:
        """`std` is the standard deviation of the folds (n - 1 below), `standard_error` that by √n, which LFW's tables
        call S_E; null for one fold."""
        several = len(self.folds) > 1
        std = float(np.std(self.folds, ddof=1)) if several else None
        return {
            "mean": float(np.mean(self.folds)),
            "std": std,
            "standard_error": None if std is None else std / len(self.folds) ** 0.5,
            "folds": list(self.folds),
            "thresholds": list(self.thresholds),
            "chosen_on": self.chosen_on,
        }


def accuracy(pairs: Pairs, scores: Floats, choose_on: Scored | None = None) -> Accuracy:
    """The accuracy of `scores`, (p,) float64 cosines of `pairs`, at least two.

    Each fold is told with the best threshold of the other folds (Huang et al. 2007, view 2), or all with that of
    `choose_on` where it is given. The pairs of a file with one fold are dealt into ten.
    """
    if choose_on is not None:
        chosen = best_threshold(choose_on.scores, choose_on.same)
        parts = [pairs.fold == fold for fold in range(pairs.folds)]
        told = [_right(scores[part], pairs.same[part], chosen) for part in parts]
        return Accuracy(tuple(told), (chosen,) * len(told), choose_on.name)
    fold = pairs.fold if pairs.folds > 1 else _dealt(pairs.same)
    parts = [fold == which for which in range(int(np.max(fold)) + 1)]
    thresholds = [best_threshold(scores[~part], pairs.same[~part]) for part in parts]
    told = [_right(scores[part], pairs.same[part], t) for part, t in zip(parts, thresholds, strict=True)]
    return Accuracy(tuple(told), tuple(thresholds), OTHER_FOLDS if pairs.folds > 1 else DEALT)


def best_threshold(scores: Floats, same: NDArray[np.bool_]) -> float:
    """The threshold that tells most pairs right when those with a score ≥ it are called the same.

    Candidates lie halfway between neighbouring scores, of equally good ones the middle one is taken. All are above -1,
    the score of a pair without a face: such a pair is never called the same.
    """
    values, which = np.unique(scores, return_inverse=True)
    gains = np.bincount(which, weights=np.where(same, 1.0, -1.0), minlength=len(values))
    right = np.append(np.cumsum(gains[::-1])[::-1], 0.0)  # of candidate i: the scores from values[i] on pass
    edges = np.concatenate([[REJECTED], values, [max(1.0, values[-1] + NONE_PASSES)]])
    candidates = (edges[:-1] + edges[1:]) / 2
    allowed = candidates > REJECTED
    best = np.flatnonzero(allowed & (right == right[allowed].max()))
    return float(candidates[best[(len(best) - 1) // 2]])


def _dealt(same: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Folds for pairs in one set: they go round, genuine pairs first, so that each fold has its share of both."""
    fold = np.empty(len(same), np.intp)
    fold[np.argsort(~same, kind="stable")] = np.arange(len(same)) % min(FOLDS, len(same))
    return fold


def _right(scores: Floats, same: NDArray[np.bool_], threshold: float) -> float:
    return float(((scores >= threshold) == same).mean())
