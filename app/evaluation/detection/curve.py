"""Precision and recall over the least score, and the areas under them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """At each of k least scores, falling: recall (never falling) and precision, 0..1, all (k,) float64."""

    scores: Floats
    recall: Floats
    precision: Floats

    @property
    def ap(self) -> float:
        """The area under the staircase, sum of (R_k − R_k−1) P_k: scikit-learn's `average_precision_score` of the
        detections (right or false), times the share of all faces that any of them found."""
        return float(np.sum(np.diff(self.recall, prepend=0) * self.precision))

    @property
    def ap_envelope(self) -> float:
        """The same with precision's upper envelope, max of P at any higher recall: PASCAL VOC since 2010."""
        return float(np.sum(np.diff(self.recall, prepend=0) * self.envelope))

    @property
    def ap_eleven(self) -> float:
        """The mean of the envelope at recalls 0, 0.1, … 1, zero where none is reached: PASCAL VOC 2007."""
        steps = np.arange(11) / 10
        places = np.searchsorted(self.recall, steps - 1e-12)  # a recall of 0.3 made of thirds is 0.3
        return float(np.append(self.envelope, 0.0)[places].mean())

    @property
    def envelope(self) -> Floats:
        """The highest precision at this recall or a higher one, (k,)."""
        highest: Floats = np.maximum.accumulate(self.precision[::-1])[::-1]
        return highest

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall, (k,); 0 where both are."""
        both = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, both, out=np.zeros_like(both), where=both > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The counted detections of all photos, best first: `right` (m,) and `photo` (m,), which one each is of; `ends`
    (k,) are the places where a run of equal scores ends, and `scores` (k,) those scores."""

    right: NDArray[np.bool_]
    photo: NDArray[np.intp]
    ends: NDArray[np.intp]
    scores: Floats

    @classmethod
    def of(cls, scores: ArrayLike, right: ArrayLike, photo: ArrayLike) -> Ranking:
        """Detections in any order: equal scores are one step, whatever their order."""
        given = np.asarray(scores, np.float64)
        order = np.argsort(-given, kind="stable")
        falling = given[order]
        ends = np.flatnonzero(np.append(falling[:-1] > falling[1:], True)) if len(falling) else np.empty(0, np.intp)
        return cls(np.asarray(right, np.bool_)[order], np.asarray(photo, np.intp)[order], ends, falling[ends])

    def taken(self, score: float) -> NDArray[np.bool_]:
        """Which detections score at least that, (m,)."""
        last = int(np.count_nonzero(self.scores >= score))
        return np.arange(len(self.right)) <= (self.ends[last - 1] if last else -1)

    def curve(self, faces: Floats, times: Floats) -> Curve:
        """With photo i counted `times[i]` and showing `faces[i]` faces, (p,) each. There must be a face."""
        weights = times[self.photo]
        hits = np.cumsum(np.where(self.right, weights, 0))[self.ends]
        taken = np.cumsum(weights)[self.ends]
        precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
        return Curve(self.scores, hits / float(faces @ times), precision)
