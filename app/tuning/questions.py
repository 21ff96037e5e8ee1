"""Whom to look for: pictures that the index does not hold, made from the collection itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gallery.local.rows import Rows

ASSUMED_SIMILARITY = 0.6
"""Of two pictures of one person, where the collection has too few to tell."""
_LEAST_PEOPLE = 100
_LEAST_PAIRS = 30
_MOST_OF_ALL = 10


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """`queries`, (q, D) float32 of unit length, to be looked for among the rows of `among`.

    `made` tells how: a face each that was left out of somebody who has more, or a perturbed copy of a row, at the
    cosine `similarity` to it (None where faces were left out).
    """

    among: Rows
    queries: NDArray[np.float32]
    made: Literal["left out", "perturbed"]
    similarity: float | None = None
    is_assumed: bool = False

    def told(self) -> str:
        """In words."""
        if self.made == "left out":
            return (
                f"{len(self.queries)} faces, each of another identity that has more: left out of the rows, looked for"
            )
        source = "assumed" if self.is_assumed else "the median of this collection's pairs"
        return (
            f"{len(self.queries)} rows, each perturbed to a cosine of {self.similarity:.2f} with itself ({source}): "
            "too few identities have several faces to leave one out"
        )


def questions(rows: Rows, count: int, *, similarity: float | None = None, seed: int = 0) -> Questions:
    """At most `count`, and a tenth of the rows. With a `similarity` rows are perturbed to that, whoever they are.

    Raises ValueError where there are no rows.
    """
    if not len(rows):
        raise ValueError("the collection is empty: enrol somebody first")
    rng = np.random.default_rng(seed)
    count = max(1, min(count, len(rows) // _MOST_OF_ALL))
    order = np.argsort(rows.identities, kind="stable")
    _, starts, sizes = np.unique(rows.identities[order], return_index=True, return_counts=True)
    several = rng.permutation(np.flatnonzero(sizes > 1))
    if similarity is None and len(several) >= min(_LEAST_PEOPLE, count):
        chosen = several[:count]
        left_out = order[starts[chosen] + rng.integers(0, sizes[chosen])]
        stays = np.ones(len(rows), np.bool_)
        stays[left_out] = False
        return Questions(rows.where(stays), rows.embeddings[left_out], "left out")
    is_assumed = False
    if similarity is None:
        pairs = several[:1000]
        ends = order[starts[pairs]], order[starts[pairs] + 1]
        is_assumed = len(pairs) < _LEAST_PAIRS
        similarity = ASSUMED_SIMILARITY if is_assumed else float(np.median(_cosines(rows.embeddings, *ends)))
    drawn = rows.embeddings[rng.choice(len(rows), count, replace=False)]
    return Questions(rows, perturbed(drawn, similarity, rng), "perturbed", similarity, is_assumed)


def perturbed(embeddings: NDArray[np.float32], similarity: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, D) float32 of unit length, each at that cosine to its row of (n, D), in a direction drawn evenly."""
    rows = embeddings.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    away = rng.standard_normal(rows.shape)
    away -= (away * rows).sum(axis=1, keepdims=True) * rows
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    found: NDArray[np.float64] = similarity * rows + np.sqrt(1 - similarity**2) * away
    return found.astype(np.float32)


def _cosines(
    embeddings: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.einsum("nd,nd->n", embeddings[first], embeddings[second], dtype=np.float64)
    return found
