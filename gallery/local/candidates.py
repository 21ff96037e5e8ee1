"""Which of the nearest by approximate similarity could be among the nearest in truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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

    def candidates(self, top_k: int, threshold: float, error: float, *, all_seen: bool) -> int | None:
        """How many of the first could be the best face of one of the `top_k` best identities at or above `threshold`,
        if every true similarity is within `error`; None if somebody not among these could be, too.

        Let a be the approximate similarity of the `top_k`-th identity. At least `top_k` identities have a face that is
        truly at a - error or above, and what is below a - 2 error is truly below that.
        """
        line = max(threshold - error, self._of_identity(top_k) - 2 * error)
        if not all_seen and (not len(self.similarities) or self.similarities[-1] >= line):
            return None
        return int(np.count_nonzero(self.similarities >= line))

    def _of_identity(self, which: int) -> float:
        """The approximate similarity of the best face of the which-th identity; -inf if there are fewer."""
        seen = set[int]()
        for similarity, identity in zip(self.similarities.tolist(), self.identities.tolist(), strict=True):
            seen.add(identity)
            if len(seen) == which:
                return float(similarity)
        return -np.inf


def best(
    true: NDArray[np.float64],
    faces: NDArray[np.int64],
    identities: NDArray[np.int64],
    *,
    top_k: int,
    threshold: float,
) -> list[Hit]:
    """The `top_k` best identities at or above `threshold`, each with its best face; of equals the first enrolled."""
    found: dict[int, Hit] = {}
    for row in np.lexsort((faces, -true)).tolist():
        if true[row] < threshold or len(found) == top_k:
            break
        identity = int(identities[row])
        found.setdefault(identity, Hit(int(faces[row]), identity, min(1.0, max(-1.0, float(true[row])))))
    return list(found.values())
