"""Pairs of photos of the same person or of different people, and their similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.run import Embedded

REJECTED = -1.0
"""The score of a pair in which a face was not found: no threshold above it lets the pair pass."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """p pairs of n photos.

    Each of `photos` comes once, in a stable order. `left` and `right` are (p,) intp places in it, `same` is (p,) bool,
    `fold` (p,) intp in 0…folds - 1, all 0 where the file has one set only. The arrays belong to the caller.
    """

    photos: tuple[Photo, ...]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    same: NDArray[np.bool_]
    fold: NDArray[np.intp]

    @property
    def folds(self) -> int:
        return int(np.max(self.fold, initial=-1)) + 1


@dataclass(frozen=True, slots=True)
class Sample:
    """Photos, and what became of them in the same order; every two of different people are an impostor pair."""

    photos: tuple[Photo, ...]
    embedded: Embedded


@dataclass(frozen=True, slots=True)
class Scored:
    """Pairs of another file, on which a threshold is chosen: `name` says which; `scores` (p,) float64, `same` (p,)."""

    name: str
    scores: NDArray[np.float64]
    same: NDArray[np.bool_]

    @staticmethod
    def of(name: str, pairs: Pairs, embedded: Embedded) -> Scored:
        """`embedded` is that of `pairs.photos`."""
        return Scored(name, similarities(pairs, embedded), pairs.same)


def similarities(pairs: Pairs, embedded: Embedded) -> NDArray[np.float64]:
    """(p,) cosines in -1..1, and -1 for a pair with a photo on which no face was found. Raises EvaluationError where
    `embedded` is not that of the pairs' photos."""
    if len(embedded.found) != len(pairs.photos):
        raise EvaluationError(f"{len(embedded.found)} embeddings were given for {len(pairs.photos)} photos")
    left, right = embedded.embeddings[pairs.left], embedded.embeddings[pairs.right]
    cosines = np.einsum("pd,pd->p", left, right, dtype=np.float64)
    return np.where(detected(pairs, embedded), np.clip(cosines, -1, 1), REJECTED)


def detected(pairs: Pairs, embedded: Embedded) -> NDArray[np.bool_]:
    """(p,) bool: whether a face was found on both photos."""
    both: NDArray[np.bool_] = embedded.found[pairs.left] & embedded.found[pairs.right]
    return both


def people_of(photos: Sequence[Photo]) -> tuple[tuple[str, ...], NDArray[np.intp]] | None:
    """The people's names in order, and (n,) intp, whom each photo shows; None if that is not known of every photo."""
    persons = [photo.person for photo in photos]
    names = tuple(sorted({person for person in persons if person is not None}))
    if None in persons or not names:
        return None
    place = {name: index for index, name in enumerate(names)}
    return names, np.array([place[person] for person in persons if person is not None], np.intp)
