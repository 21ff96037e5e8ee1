"""Which of the nearest by approximate similarity could be among the nearest in truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.rounding import similarities

Originals = Callable[[Sequence[int]], NDArray[np.float32]]


class Hit(NamedTuple):
    """The best face of one identity. `similarity` is cosine, clipped to [-1, 1]."""

    face: int
    identity: int
    similarity: float


class Nearest(NamedTuple):
    """For one query, best first: approximate similarities (n,) float32, faces and identities (n,) int64."""

    similarities: NDArray[np.float32]
    faces: NDArray[np.int64]
    identities: NDArray[np.int64]

    def first(self, width: int) -> Nearest:
        return Nearest(self.similarities[:width], self.faces[:width], self.identities[:width])

    def until(self, identities: int) -> int:
        """How many of the first have faces of that many identities; all, if there are fewer."""
        seen = set[int]()
        for number, identity in enumerate(self.identities.tolist(), 1):
            seen.add(identity)
            if len(seen) == identities:
                return number
        return len(self.identities)


class Quest:
    """One (D,) query on the way to its answer: the `top_k` best identities at or above `threshold`, where approximate
    similarities are within `error` of the true. For one thread at a time."""

    def __init__(
        self, query: NDArray[np.float32], top_k: int, threshold: float, error: float, originals: Originals
    ) -> None:
        self._query, self._top_k, self._threshold, self._error = query, top_k, threshold, error
        self._originals = originals
        self._faces: NDArray[np.int64] = np.empty(0, np.int64)
        self._identities: NDArray[np.int64] = np.empty(0, np.int64)
        self._true: NDArray[np.float64] = np.empty(0)
        self.least = threshold - error
        """Whoever is below it by approximate similarity is not in the answer."""
        self.hits: list[Hit] = []

    def settle(self, nearest: Nearest, *, all_seen: bool) -> bool:
        """Whether the nearest of at least `least`, or the first of them, were enough for the answer, now in `hits`.

        Let t be the true similarity of the last of `top_k` identities, whichever they are: whoever is below t - error
        is truly below t. So those identities' faces are computed in full that are nearest by approximate similarity,
        which t is hardly below, then all from t - error on. What was computed for narrower `nearest` is not again.
        """
        self._compute(nearest.first(nearest.until(self._top_k)))
        if len(self.hits) == self._top_k:
            self.least = max(self.least, self.hits[-1].similarity - self._error)
        if not all_seen and nearest.similarities[-1] >= self.least:
            return False
        self._compute(nearest.first(int(np.count_nonzero(nearest.similarities >= self.least))))
        return True

    def _compute(self, nearest: Nearest) -> None:
        new = ~np.isin(nearest.faces, self._faces)
        if new.any():
            faces = nearest.faces[new]
            true = similarities(self._originals(faces.tolist()), self._query)
            self._faces = np.concatenate([self._faces, faces])
            self._identities = np.concatenate([self._identities, nearest.identities[new]])
            self._true = np.concatenate([self._true, true])
            self.hits = self._best()

    def _best(self) -> list[Hit]:
        """Each identity with its best face; of equals the first enrolled."""
        found: dict[int, Hit] = {}
        for row in np.lexsort((self._faces, -self._true)).tolist():
            if self._true[row] < self._threshold or len(found) == self._top_k:
                break
            identity, similarity = int(self._identities[row]), min(1.0, max(-1.0, float(self._true[row])))
            found.setdefault(identity, Hit(int(self._faces[row]), identity, similarity))
        return list(found.values())
