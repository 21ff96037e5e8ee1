"""Pairs made of photos whose people are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.verification.pairs import Pairs, people_of

Drawn = set[tuple[int, int]]


def pairs_of(photos: Sequence[Photo], *, folds: int = 10, per_person: int = 10, seed: int = 0) -> Pairs:
    """As many genuine as impostor pairs in `folds` folds (fewer where people are few); nobody is in two folds.

    So that nobody dominates, a person has `per_person` genuine pairs at most and is in 2·`per_person` impostor pairs at
    most, each of two people of the fold. No pair comes twice. The pairs follow from the photos, their order and `seed`.
    Photos without a pair stay in `photos`: they count for the detection rate and the FAR table.

    Raises EvaluationError where a photo has no person, or there are not four people, two of them with two photos.
    """
    known = people_of(photos)
    if known is None:
        raise EvaluationError("pairs are made of photos whose people are known, and these say nothing of them")
    of_person = [np.flatnonzero(known[1] == person).tolist() for person in range(len(known[0]))]
    several = sum(len(own) > 1 for own in of_person)
    folds = min(folds, several, len(of_person) // 2)
    if folds < 2:
        raise EvaluationError(
            f"{len(of_person)} people, {several} of them with two photos or more: pairs in two folds need four people, "
            "two of them with two photos"
        )
    rng = np.random.default_rng(seed)
    shuffled = [of_person[person] for person in rng.permutation(len(of_person))]
    dealt = sorted(shuffled, key=lambda own: len(own) < 2)  # stable: every fold gets its share of those with pairs
    parts = [_fold(dealt[fold::folds], per_person, rng) for fold in range(folds)]
    pairs = [pair for genuine, impostor in parts for pair in (*genuine, *impostor)]
    return Pairs(
        photos=tuple(photos),
        left=np.array([pair[0] for pair in pairs], np.intp),
        right=np.array([pair[1] for pair in pairs], np.intp),
        same=np.concatenate([np.repeat([True, False], [len(each) for each in part]) for part in parts]),
        fold=np.repeat(np.arange(folds, dtype=np.intp), [len(one) + len(other) for one, other in parts]),
    )


def _fold(people: list[list[int]], per_person: int, rng: np.random.Generator) -> tuple[list[tuple[int, int]], ...]:
    """The genuine and the impostor pairs of a fold, as many of the one as of the other; `people` have their photos."""
    genuine = [pair for own in people for pair in _genuine(own, per_person, rng)]
    impostor: Drawn = set()
    for _ in range(2 * per_person):
        _round(people, len(genuine), impostor, rng)
    kept = sorted(rng.permutation(len(genuine))[: len(impostor)].tolist())
    return [genuine[place] for place in kept], sorted(impostor)


def _genuine(own: list[int], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    pairs = list(combinations(own, 2))
    return [pairs[place] for place in sorted(rng.permutation(len(pairs))[:most].tolist())]


def _round(people: list[list[int]], most: int, drawn: Drawn, rng: np.random.Generator) -> None:
    """Everybody gets a partner (but one, where they are odd), and each two of them a pair until there are `most`."""
    order = rng.permutation(len(people))
    for one, other in zip(order[::2].tolist(), order[1::2].tolist(), strict=False):
        if len(drawn) == most:
            return
        left, right = (people[person][rng.integers(len(people[person]))] for person in (one, other))
        drawn.add((min(left, right), max(left, right)))
