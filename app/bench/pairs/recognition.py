"""Whom a pair recognises, from the embeddings of all faces it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from app.bench.pairs.people import Photo
from app.bench.statistics import Json

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a pair makes of the photos.

    `photos_right` have a right number of faces, of `photos`. At cosine `threshold`, `recalled` of `expected` people
    were named on photos that show them, and `false_names` faces were given the name of somebody else. `worst_same` is
    the least cosine of a person's face to the one enrolled, `best_other` the highest of any face to somebody else's:
    where the first is higher there is a threshold without a mistake. `halfway`: the threshold lies between the two,
    because the model has none of its own.
    """

    photos_right: int
    photos: int
    expected: int
    recalled: int
    false_names: int
    threshold: float
    halfway: bool
    worst_same: float
    best_other: float

    def as_json(self) -> Json:
        return asdict(self)


def recognised(photos: Sequence[Photo], found: Mapping[str, Embeddings], threshold: float | None) -> Recognised:
    """Holds the embeddings of every photo's faces, (n, D) by the photo's name, against those of the enrolled."""
    enrolled = {next(iter(photo.who)): found[photo.name] for photo in photos if photo.enroll}
    asked = [photo for photo in photos if not photo.enroll]
    same: list[float] = []
    other: list[float] = []
    for photo in asked:
        cosines = {name: _cosines(found[photo.name], faces) for name, faces in enrolled.items()}
        owner = {name: _best(cosines[name]) for name in photo.who}
        same += [_at(cosines[name], owner[name]) for name in sorted(photo.who)]
        other += [
            float(value) for name, row in cosines.items() for face, value in enumerate(row) if owner.get(name) != face
        ]
    worst, best = min(same, default=1.0), max(other, default=-1.0)
    line = (worst + best) / 2 if threshold is None else threshold
    return Recognised(
        photos_right=sum(photo.least <= len(found[photo.name]) <= photo.most for photo in photos),
        photos=len(photos),
        expected=len(same),
        recalled=sum(value >= line for value in same),
        false_names=sum(value >= line for value in other),
        threshold=line,
        halfway=threshold is None,
        worst_same=worst,
        best_other=best,
    )


def _cosines(faces: Embeddings, enrolled: Embeddings) -> NDArray[np.float32]:
    """Each face's cosine to the nearest of one person's enrolled faces; none when none was found to enrol."""
    return (faces @ enrolled.T).max(axis=1, initial=-1) if len(enrolled) else np.full(len(faces), -1, np.float32)


def _best(cosines: NDArray[np.float32]) -> int | None:
    return int(np.argmax(cosines)) if len(cosines) else None


def _at(cosines: NDArray[np.float32], face: int | None) -> float:
    return -1.0 if face is None else float(cosines[face])
