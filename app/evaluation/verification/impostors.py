"""All pairs of different people among photos: how many pass at each threshold, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import draws
from app.evaluation.photos import Photo
from app.evaluation.run import Embedded
from app.evaluation.verification.pairs import people_of

STEPS = 10_000
"""Thresholds are whole multiples of 1 / STEPS."""
GRID = np.arange(-STEPS, STEPS + 1) / STEPS
CELLS = 2**22
"""Cosines that are in memory at a time: 16 MB of float32, a few times that while they are counted."""
MOST_KEPT = 50_000_000
"""Pairs above a threshold that are drawn again and again: about a minute. A threshold with more gets no interval."""
Kept = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Impostors:
    """n photos with a face, sorted by person: `embeddings` (n, D) float32 of unit length, `person` (n,) intp rising in
    0…people - 1."""

    embeddings: NDArray[np.float32]
    person: NDArray[np.intp]

    @staticmethod
    def of(photos: Sequence[Photo], embedded: Embedded, most: int | None = None) -> Impostors | None:
        """The photos on which a face was found, of each person the first `most`; None where a photo does not say whom
        it shows."""
        known = people_of(photos)
        if known is None:
            return None
        chosen = np.flatnonzero(embedded.found)
        if most is not None:
            chosen = chosen[_earlier(known[1][chosen]) < most]
        return Impostors.sorted(embedded.embeddings[chosen], known[1][chosen])

    @staticmethod
    def sorted(embeddings: NDArray[np.float32], person: NDArray[np.intp]) -> Impostors:
        """`person` (n,) says whom each row shows, by any numbers."""
        codes = np.unique(person, return_inverse=True)[1].astype(np.intp)
        order = np.argsort(codes, kind="stable")
        return Impostors(embeddings[order], codes[order])

    @property
    def people(self) -> int:
        return int(np.max(self.person, initial=-1)) + 1

    @property
    def pairs(self) -> int:
        """How many pairs of photos of different people there are."""
        photos = np.bincount(self.person)
        return int(photos.sum() ** 2 - (photos**2).sum()) // 2

    def passing(self) -> NDArray[np.int64]:
        """(20,001,) how many of the pairs have a cosine ≥ each of GRID, exactly.

        A float32 times 10,000 is nowhere so close to a whole number, without being it, that float64 would round it to
        one; so the cell of a cosine is the one that comparing it with the thresholds gives.
        """
        counts = np.zeros(len(GRID), np.int64)
        for _, cosines, different in self._blocks():
            cells = np.floor(cosines[different].astype(np.float64) * STEPS).astype(np.int64) + STEPS
            counts += np.bincount(cells, minlength=len(GRID))
        return np.cumsum(counts[::-1])[::-1]

    def resampled(self, thresholds: Sequence[float], replicates: int, seed: int = 0) -> NDArray[np.float64]:
        """(t, replicates) the share of pairs with a cosine ≥ each of `thresholds` (rising) under `bootstrap.draws`: a
        pair of photos of two people drawn v and w times counts v·w times. NaN where one person alone was drawn.

        Memory: the draws (4 bytes a person and replicate) and a block of cosines. Time: about a microsecond for each
        pair above the lowest threshold, per thousand replicates.
        """
        if not replicates:
            return np.empty((len(thresholds), 0))
        weights = list(draws(self.people, replicates, seed))
        passed = [np.zeros((len(thresholds), block.shape[1])) for block in weights]
        for kept in self._kept(np.asarray(thresholds, np.float64)):
            for block, into in zip(weights, passed, strict=True):
                _add(kept, block, into)
        totals = np.concatenate([self._pairs(block) for block in weights])
        at_or_above = np.concatenate([part[::-1].cumsum(axis=0)[::-1] for part in passed], axis=1)
        with np.errstate(invalid="ignore"):
            shares: NDArray[np.float64] = at_or_above / totals
        return shares

    def _pairs(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """(r,) how many pairs of different people there are when each counts `weights` times, (people, r)."""
        photos = weights * np.bincount(self.person).astype(np.float64)[:, None]
        return np.asarray((photos.sum(axis=0) ** 2 - (photos**2).sum(axis=0)) / 2, np.float64)

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
        """Row by row of the table of all cosines, its half above the diagonal: the first row, (rows, columns) cosines
        from that row on in -1..1, and which of them are of different people."""
        photos = len(self.person)
        rows = max(1, CELLS // max(photos, 1))
        for first in range(0, photos, rows):
            cosines = self.embeddings[first : first + rows] @ self.embeddings[first:].T
            np.clip(cosines, -1, 1, out=cosines)
            yield first, cosines, self.person[first : first + rows, None] < self.person[None, first:]

    def _kept(self, thresholds: NDArray[np.float64]) -> Iterator[Kept]:
        """Block by block, the pairs that pass the lowest threshold, counted by their people and the highest threshold
        that they pass: (k,) that threshold's place, the two people, and how many they are; sorted in this order."""
        people = self.people
        for first, cosines, different in self._blocks():
            left, right = np.nonzero(different & (cosines >= thresholds[0]))
            place = np.searchsorted(thresholds, cosines[left, right].astype(np.float64), side="right") - 1
            key = (place * people + self.person[first + left]) * people + self.person[first + right]
            keys, counts = np.unique(key, return_counts=True)
            pair, other = np.divmod(keys, people)
            yield pair // people, pair % people, other, counts.astype(np.float32)


def _earlier(person: NDArray[np.intp]) -> NDArray[np.intp]:
    """(n,) how many rows before each one are of the same person."""
    order = np.argsort(person, kind="stable")
    counts = np.bincount(person)
    earlier = np.empty(len(person), np.intp)
    earlier[order] = np.arange(len(person)) - np.repeat(np.cumsum(counts) - counts, counts)
    return earlier


def _add(kept: Kept, weights: NDArray[np.float32], into: NDArray[np.float64]) -> None:
    """Adds Σ count·w_a·w_b of the kept pairs to the row of the threshold they pass; `weights` (people, r)."""
    place, one, other, counts = kept
    runs = np.flatnonzero(np.diff(place * len(weights) + one, prepend=-1))
    ends = np.append(runs[1:], len(place))[: len(runs)]
    for start, end in zip(runs.tolist(), ends.tolist(), strict=True):
        into[place[start]] += weights[one[start]] * (counts[start:end] @ weights[other[start:end]])
