"""Made-up photos, embeddings and pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.evaluation.photos import Photo
from app.evaluation.run import Embedded
from app.evaluation.verification.pairs import Pairs


def photos_of(counts: list[int]) -> tuple[Photo, ...]:
    """`counts[a]` photos of person a, named `a/n`."""
    return tuple(
        Photo(f"{person:04d}/{n}", f"{person:04d}", b"") for person, count in enumerate(counts) for n in range(count)
    )


def embedded_of(vectors: NDArray[np.floating], found: NDArray[np.bool_] | None = None) -> Embedded:
    """(n, D) vectors, made unit length where `found`."""
    seen = np.ones(len(vectors), np.bool_) if found is None else found
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * seen[:, None]
    boxes = np.where(seen[:, None], np.array([[0, 0, 1, 1]], np.float32), np.float32(np.nan))
    return Embedded(
        unit.astype(np.float32), seen, seen.astype(np.intp), boxes, np.where(seen, 1, np.nan).astype(np.float32), ()
    )


def faces(counts: list[int], spread: float, dimension: int = 16, seed: int = 0) -> NDArray[np.float64]:
    """Embeddings of `photos_of(counts)`: a random direction a person, and noise of `spread` a photo."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(counts), dimension))
    return np.asarray(np.repeat(centres, counts, axis=0) + spread * rng.normal(size=(sum(counts), dimension)))


def pairs_from(photos: tuple[Photo, ...], chosen: list[tuple[int, int]], fold: list[int] | None = None) -> Pairs:
    left, right = np.array(chosen, np.intp).T
    same = np.array([photos[i].person == photos[j].person for i, j in chosen])
    return Pairs(photos, left, right, same, np.array(fold or [0] * len(chosen), np.intp))
