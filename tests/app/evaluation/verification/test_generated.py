"""Generated pairs: balanced, people-disjoint, nobody dominates, and always the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.verification.generated import pairs_of
from tests.app.evaluation.verification.made import photos_of

COUNTS = st.lists(st.integers(1, 9), min_size=4, max_size=40).filter(lambda counts: sum(n > 1 for n in counts) > 1)


@given(COUNTS, st.integers(1, 5), st.integers(0, 3))
def test_what_every_set_of_pairs_keeps(counts: list[int], per_person: int, seed: int) -> None:
    photos = photos_of(counts)
    pairs = pairs_of(photos, per_person=per_person, seed=seed)
    people = [[photos[place].person for place in side] for side in (pairs.left, pairs.right)]
    assert [one == other for one, other in zip(*people, strict=True)] == pairs.same.tolist()
    for fold in range(pairs.folds):
        assert pairs.same[pairs.fold == fold].sum() == (~pairs.same[pairs.fold == fold]).sum() > 0
    folds_of = {(person, fold) for side in people for person, fold in zip(side, pairs.fold.tolist(), strict=True)}
    assert len({person for person, _ in folds_of}) == len(folds_of)
    genuine = Counter(person for person, same in zip(people[0], pairs.same, strict=True) if same)
    impostor = Counter(p for side in people for p, same in zip(side, pairs.same, strict=True) if not same)
    assert max(genuine.values()) <= per_person
    assert max(impostor.values()) <= 2 * per_person
    drawn = {frozenset(pair) for pair in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}
    assert len(drawn) == len(pairs.same)
    assert all(len(pair) == 2 for pair in drawn)
    assert pairs.photos == photos


def test_ten_folds_where_people_are_many() -> None:
    pairs = pairs_of(photos_of([3] * 100), seed=1)
    assert pairs.folds == 10
    assert np.bincount(pairs.fold).tolist() == [60] * 10  # ten people with three genuine pairs each, and as many others


def test_the_seed_decides() -> None:
    photos = photos_of([4] * 30)
    one, again, other = pairs_of(photos), pairs_of(photos), pairs_of(photos, seed=1)
    assert np.array_equal(one.right, again.right)
    assert not np.array_equal(one.left, other.left)


@pytest.mark.parametrize("counts", [[5, 5, 5], [5, 1, 1, 1], [1] * 9])
def test_too_few_people(counts: list[int]) -> None:
    with pytest.raises(EvaluationError, match="four people"):
        pairs_of(photos_of(counts))


def test_nobody_is_known() -> None:
    with pytest.raises(EvaluationError, match="people are known"):
        pairs_of([Photo("a", None, b"")])
