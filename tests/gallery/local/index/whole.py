"""An index and, beside it, the slow, obvious search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.flat import FlatIndex, Hit


def unit_rows(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


class Whole:
    """An index with the whole rows kept beside it, as the database does."""

    def __init__(self, dimension: int) -> None:
        self.flat = FlatIndex(dimension)
        self.of: dict[int, tuple[int, NDArray[np.float32]]] = {}
        self.asked = 0

    def add(self, faces: Iterable[int], identities: Iterable[int], embeddings: NDArray[np.float32]) -> None:
        faces, identities = list(faces), list(identities)
        self.flat.add(faces, identities, embeddings)
        self.of.update(zip(faces, zip(identities, embeddings, strict=True), strict=True))

    def remove(self, face: int) -> None:
        self.flat.remove(face)
        del self.of[face]

    def originals(self, faces: Sequence[int]) -> NDArray[np.float32]:
        self.asked += len(faces)
        return np.stack([self.of[face][1] for face in faces])

    def search(
        self, queries: NDArray[np.float32], top_k: int, threshold: float, allowed: NDArray[np.int64] | None = None
    ) -> list[list[Hit]]:
        return self.flat.search(queries, top_k, threshold, allowed, originals=self.originals)

    def by_definition(
        self, query: NDArray[np.float32], top_k: int, threshold: float, allowed: NDArray[np.int64] | None = None
    ) -> list[Hit]:
        """Every row in float64; of equals the first enrolled."""
        hits = [
            Hit(face, identity, float((embedding.astype(np.float64) * query.astype(np.float64)).sum()))
            for face, (identity, embedding) in self.of.items()
            if allowed is None or identity in allowed
        ]
        best: dict[int, Hit] = {}
        for hit in sorted(hits, key=lambda hit: (-hit.similarity, hit.face)):
            if hit.similarity >= threshold and len(best) < top_k:
                best.setdefault(hit.identity, hit._replace(similarity=min(1.0, max(-1.0, hit.similarity))))
        return list(best.values())
