"""The receiver operating characteristic of scores, exact, and what is read from it; weighted for the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """p pairs by falling score: `order` (p,) intp; `ends` (k,) intp, the place of the last pair of each of the k
    different scores; `thresholds` (k + 1,) float64, +inf and then those scores; `same` (p,) bool, in rank order."""

    order: NDArray[np.intp]
    ends: NDArray[np.intp]
    thresholds: Floats
    same: NDArray[np.bool_]

    @staticmethod
    def of(scores: Floats, same: NDArray[np.bool_]) -> Ranked:
        """`scores` (p,) float64, `same` (p,) bool: p ≥ 1, and no NaN."""
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        return Ranked(order, ends, np.append(np.inf, falling[ends]), same[order])

    def place(self, threshold: float) -> int:
        """Where the curve is when all scores ≥ `threshold` pass: an index of `thresholds`."""
        return int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1

    def roc(self, weights: NDArray[np.float32] | None = None) -> Roc:
        """The curve of the pairs, each counted `weights` times: (p, r) float32 in the pairs' own order, for r curves.

        None: each once, one curve. A curve without genuine (or impostor) pairs has NaN for its TAR (FAR)."""
        counted = np.ones((len(self.order), 1)) if weights is None else weights[self.order].astype(np.float64)
        genuine = np.cumsum(counted * self.same[:, None], axis=0)[self.ends]
        impostor = np.cumsum(counted * ~self.same[:, None], axis=0)[self.ends]
        return Roc(self.thresholds, _shares(impostor), _shares(genuine))


@dataclass(frozen=True, slots=True)
class Roc:
    """r curves over the same k thresholds, `thresholds` (k,) falling from +inf: at `thresholds[i]` and above passes a
    share `far[i]` of impostor pairs and `tar[i]` of genuine ones, each (k, r) float64, rising from 0 to 1."""

    thresholds: Floats
    far: Floats
    tar: Floats

    def auc(self) -> Floats:
        """(r,) the area under each curve: the chance that a genuine pair scores higher, a tie counting half."""
        area: Floats = (np.diff(self.far, axis=0) * (self.tar[1:] + self.tar[:-1]) / 2).sum(axis=0)
        return area

    def eer(self) -> Floats:
        """(r,) where FAR = FRR = 1 - TAR, on the straight line between the two thresholds around it."""
        gap = self.far + self.tar - 1  # FAR - FRR, rising from -1 to 1
        after = self.crossing()[None]
        before = after - 1
        below, above = _at(gap, before), _at(gap, after)
        start, end = _at(self.far, before), _at(self.far, after)
        return np.where(np.isnan(gap[0]), np.nan, start + (end - start) * -below / (above - below))

    def crossing(self) -> NDArray[np.intp]:
        """(r,) the place of the highest threshold at which FAR ≥ FRR."""
        return np.asarray((self.far + self.tar >= 1).argmax(axis=0), np.intp)

    def threshold(self, place: int) -> float:
        """The threshold at `place`; for +inf the lowest number that no pair reaches."""
        lowest = float(np.nextafter(self.thresholds[1], np.inf))
        return float(self.thresholds[place]) if place else lowest

    def within(self, far: float) -> NDArray[np.intp]:
        """(r,) the place of the lowest threshold at which each curve's FAR is `far` at most."""
        return np.asarray((self.far <= far).sum(axis=0) - 1, np.intp)

    def tar_within(self, far: float) -> Floats:
        """(r,) the highest TAR of each curve with a FAR of `far` at most; NaN where FAR or TAR is."""
        return np.where(np.isnan(self.far[0]), np.nan, _at(self.tar, np.maximum(self.within(far), 0)[None]))


def _shares(cumulated: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        shares: Floats = np.concatenate([np.zeros((1, cumulated.shape[1])), cumulated]) / cumulated[-1]
    return shares


def _at(values: Floats, places: NDArray[np.intp]) -> Floats:
    return np.asarray(np.take_along_axis(values, places, axis=0)[0], np.float64)


def corners(roc: Roc, most: int = 500) -> NDArray[np.intp]:
    """The places of a single curve that draw it: its corners, and of more than `most` those nearest to FARs spaced
    evenly on a log scale; the first and the last place always."""
    far, tar = roc.far[:, 0], roc.tar[:, 0]
    turns = (np.diff(far, n=2) != 0) | (np.diff(tar, n=2) != 0)
    places = np.concatenate([[0], np.flatnonzero(turns) + 1, [len(far) - 1]])
    if len(places) <= most:
        return np.asarray(places, np.intp)
    least = float(np.min(far[far > 0]))
    grid = np.geomspace(least, 1, most - 2)
    nearest = np.searchsorted(far[places], grid * (1 + 1e-12), side="right") - 1
    return np.asarray(places[np.unique(np.concatenate([[0], nearest, [len(places) - 1]]))], np.intp)
