"""An approximate index with the whole rows beside it, as the database has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.index.approximate import ApproximateIndex
from gallery.local.index.building import built
from gallery.local.index.candidates import Hit
from gallery.local.index.flat import FlatIndex
from gallery.local.index.recipe import Recipe

DIMENSION = 16
EVERYTHING = ["IVF4,Flat:nprobe=4", "IVF4,SQfp16:nprobe=4", "IVF4,SQ8:nprobe=4"]
ALL = [*EVERYTHING, "IVF4,SQ4:nprobe=2", "HNSW8", "HNSW8,SQ8:efSearch=16"]
Known = dict[int, tuple[int, NDArray[np.float32]]]


def unit_rows(count: int, seed: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


class Whole:
    """An index with the whole rows beside it; faces are of identity `face % people`."""

    def __init__(self, recipe: str, people: int = 40) -> None:
        parsed = Recipe.parse(recipe)
        assert parsed
        self.recipe, self.people = parsed, people
        self.known: Known = {}
        self.index = ApproximateIndex(FlatIndex(DIMENSION), parsed, DIMENSION, "these")

    def add(self, faces: Iterable[int]) -> None:
        faces = list(faces)
        rows = np.concatenate([unit_rows(1, face) for face in faces])
        self.index.add(faces, [face % self.people for face in faces], rows)
        self.known |= {face: (face % self.people, row) for face, row in zip(faces, rows, strict=True)}

    def remove(self, face: int) -> None:
        self.index.remove(face)
        del self.known[face]

    def build(self) -> None:
        assert self.index.take(built(self.index, nullcontext, lambda: True))

    def search(
        self, queries: NDArray[np.float32], top_k: int, threshold: float, allowed: NDArray[np.int64] | None = None
    ) -> list[list[Hit]]:
        return self.index.search(queries, top_k, threshold, allowed, originals=self.originals)

    def exactly(
        self, queries: NDArray[np.float32], top_k: int, threshold: float, allowed: NDArray[np.int64] | None = None
    ) -> list[list[Hit]]:
        return self.index.exact.search(queries, top_k, threshold, allowed, originals=self.originals)

    def originals(self, faces: Sequence[int]) -> NDArray[np.float32]:
        return np.stack([self.known[face][1] for face in faces])  # KeyError for one that was removed

    def invents_nothing(self, hits: list[Hit], query: NDArray[np.float32], threshold: float) -> None:
        assert len({hit.identity for hit in hits}) == len(hits)
        assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
        for hit in hits:
            identity, row = self.known[hit.face]
            assert identity == hit.identity
            assert hit.similarity == pytest.approx(float(row @ query), abs=1e-6)
            assert hit.similarity >= threshold

    def wants_building(self) -> bool:
        return self.index.wants_building
