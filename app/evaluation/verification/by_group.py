"""The same figures group by group: how often faces are found, and how often the model errs at its threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import Interval, ratio
from app.evaluation.run import Embedded
from app.evaluation.verification.far_table import found_at
from app.evaluation.verification.impostors import Impostors
from app.evaluation.verification.pairs import Pairs, people_of
from app.evaluation.wording import Json

FEWEST_PEOPLE = 20
"""Of fewer people a bootstrap over people says little."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Pairs with their `scores`, (p,) float64, judged at `threshold`, a multiple of 1e-4: from it on they pass."""

    pairs: Pairs
    embedded: Embedded
    scores: NDArray[np.float64]
    threshold: float

    def groups(self, groups: Mapping[str, Mapping[str, str]], replicates: int) -> dict[str, list[Json]]:
        """By attribute its groups, sorted: `groups` says by a photo's name what group it is in; photos that it does not
        name are in none."""
        return {attribute: self._attribute(of_photo, replicates) for attribute, of_photo in groups.items()}

    def _attribute(self, of_photo: Mapping[str, str], replicates: int) -> list[Json]:
        labels = [of_photo.get(photo.name) for photo in self.pairs.photos]
        return [
            self._group(group, np.array([label == group for label in labels], np.bool_), replicates)
            for group in sorted({label for label in labels if label is not None})
        ]

    def _group(self, group: str, inside: NDArray[np.bool_], replicates: int) -> Json:
        """FMR: the share of all pairs of different people among the group's photos that pass (photos without a face are
        left out). FNMR: the share of the protocol's genuine pairs within the group that do not pass."""
        photos = np.flatnonzero(inside)
        known = people_of([self.pairs.photos[place] for place in photos])
        people, person = known or ((), np.arange(len(photos)))
        whose = np.zeros(len(inside), np.intp)
        whose[photos] = person
        count = len(people) or len(photos)
        drawn = replicates if len(people) >= FEWEST_PEOPLE else 0
        genuine = self.pairs.same & inside[self.pairs.left] & inside[self.pairs.right]
        missed = genuine & (self.scores < self.threshold)
        of_pair = whose[self.pairs.left]
        impostors = self._impostors(photos)
        return {
            "group": group,
            "photos": len(photos),
            "people": len(people),
            "genuine": int(genuine.sum()),
            "impostors": 0 if impostors is None else impostors.pairs,
            "detection_rate": _share(person, self.embedded.found[photos], count, drawn).as_json(),
            "threshold": self.threshold,
            "fmr": self._fmr(impostors, drawn).as_json(),
            "fnmr": _share(of_pair[genuine], missed[genuine], count, drawn).as_json(),
            "why": None if drawn else f"{len(people)} people are too few for intervals",
        }

    def _impostors(self, photos: NDArray[np.intp]) -> Impostors | None:
        part = self.embedded
        found = photos[part.found[photos]]
        known = people_of([self.pairs.photos[place] for place in found])
        return None if known is None else Impostors.sorted(part.embeddings[found], known[1])

    def _fmr(self, impostors: Impostors | None, replicates: int) -> Interval:
        if impostors is None:
            return Interval(None)
        return found_at(impostors, [self.threshold], replicates)[0]


def _share(person: NDArray[np.intp], hits: NDArray[np.bool_], people: int, replicates: int) -> Interval:
    """How many of the trials hit, each of a person in 0…people - 1."""
    above = np.bincount(person[hits], minlength=people).astype(np.float64)
    return ratio(above, np.bincount(person, minlength=people).astype(np.float64), replicates)
