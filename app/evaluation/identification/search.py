"""Every probe searched in a gallery, as the service searches: an identity is as similar as the best of its faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.photos import EvaluationError
from app.evaluation.verification.pairs import REJECTED, Sample, people_of

PROBES_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search of p probes gave; the arrays belong to the caller.

    `identities` are the names of the people in the gallery, in order; of them `enrolled` (i,) bool have a face there.
    `person` (p,) intp says whom of `people` each probe shows, `mated` (p,) bool whether that person is in the gallery.
    `mate` (p,) float64 is the similarity of the probe's own identity, `other` that of the best other one: −1 where
    there is none, or no face was found. `rank` (p,) intp is the place of the probe's own identity, 1 for the first,
    and 0 where it is not among the found ones. An identity that is just as similar counts as standing before it.
    `best` (p,) intp is the place of the best other identity in `identities`, −1 for none.
    """

    identities: tuple[str, ...]
    enrolled: NDArray[np.bool_]
    people: tuple[str, ...]
    person: NDArray[np.intp]
    mated: NDArray[np.bool_]
    mate: NDArray[np.float64]
    other: NDArray[np.float64]
    rank: NDArray[np.intp]
    best: NDArray[np.intp]


def search(gallery: Sample, probes: Sample) -> Searched:
    """Raises EvaluationError where people are not named, or nobody's face was found to be enrolled."""
    identities, owner = _people(gallery, "gallery")
    people, person = _people(probes, "probes")
    found = np.flatnonzero(gallery.embedded.found)
    found = found[np.argsort(owner[found], kind="stable")]
    if not found.size:
        raise EvaluationError(f"no face was found on any of the gallery's {len(owner)} photos: there is nobody to find")
    enrolled, starts = np.unique(owner[found], return_index=True)
    faces = gallery.embedded.embeddings[found]
    place = {name: index for index, name in enumerate(identities)}
    own = np.array([place.get(name, -1) for name in people], np.intp)[person]
    mate, other = np.full((2, len(person)), REJECTED)
    rank, best = np.zeros(len(person), np.intp), np.full(len(person), -1, np.intp)
    seen = np.flatnonzero(probes.embedded.found)
    for at in range(0, seen.size, PROBES_AT_ONCE):
        rows = seen[at : at + PROBES_AT_ONCE]
        cosines = np.maximum.reduceat(probes.embedded.embeddings[rows] @ faces.T, starts, axis=1)
        mate[rows], other[rows], rank[rows], best[rows] = _placed(cosines, enrolled, own[rows])
    return Searched(identities, np.isin(np.arange(len(identities)), enrolled), people, person, own >= 0, mate, other,
                    rank, best)  # fmt: skip


def _placed(
    cosines: NDArray[np.float32], enrolled: NDArray[np.intp], own: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """`mate`, `other`, `rank` and `best` of b probes from their (b, i) cosines to the identities `enrolled`."""
    cosines = np.clip(cosines.astype(np.float64), -1, 1)
    row, column = np.nonzero(enrolled[None, :] == own[:, None])
    mate, rank = np.full(len(own), REJECTED), np.zeros(len(own), np.intp)
    mate[row] = cosines[row, column]
    cosines[row, column] = -np.inf
    rank[row] = 1 + (cosines[row] >= mate[row, None]).sum(axis=1)
    first = cosines.argmax(axis=1)
    other = cosines[np.arange(len(own)), first]
    nobody = np.isneginf(other)
    return mate, np.where(nobody, REJECTED, other), rank, np.where(nobody, -1, enrolled[first])


def _people(sample: Sample, what: str) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    found = people_of(sample.photos)
    if found is None:
        raise EvaluationError(
            f"the {what} must say whom each photo shows: expected a folder with one sub-folder a person"
        )
    return found
