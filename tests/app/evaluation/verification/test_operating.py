"""What the pairs show, with intervals over people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.evaluation.bootstrap import draws
from app.evaluation.photos import Photo
from app.evaluation.verification import operating as module
from app.evaluation.verification.curves import Roc
from app.evaluation.verification.far_table import FarTable
from app.evaluation.verification.generated import pairs_of
from app.evaluation.verification.impostors import Impostors
from app.evaluation.verification.operating import Figure, Operating
from app.evaluation.verification.pairs import Pairs, similarities
from tests.app.evaluation.verification.made import embedded_of, faces, pairs_from, photos_of

COUNTS = [3] * 60


def made(spread: float = 1.2) -> tuple[Pairs, NDArray[np.float64], FarTable]:
    photos, embedded = photos_of(COUNTS), embedded_of(faces(COUNTS, spread))
    pairs = pairs_of(photos)
    impostors = Impostors.of(photos, embedded)
    assert impostors is not None
    table = FarTable.of(impostors, 100)
    assert table is not None
    return pairs, similarities(pairs, embedded), table


def test_a_genuine_pair_weighs_its_person_and_an_impostor_pair_the_product() -> None:
    photos = photos_of([2, 1, 1])
    shown = Operating.of(pairs_from(photos, [(0, 1), (0, 2), (3, 2)]), np.array([0.9, 0.5, 0.1]))
    a, b, c = next(draws(3, 7))
    assert np.array_equal(next(shown._weights(7)), [a, a * b, c * b])


def test_few_columns_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, scores, _ = made()
    whole = Operating.of(pairs, scores).summary(20)
    monkeypatch.setattr(module, "CELLS", 3 * len(scores))
    assert Operating.of(pairs, scores).summary(20) == whole


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_the_order_of_the_pairs_changes_nothing(seed: int) -> None:
    photos = photos_of([2] * 8)
    pairs = pairs_of(photos)
    scores = np.random.default_rng(seed).integers(-3, 4, len(pairs.same)) / 4
    order = np.random.default_rng(seed).permutation(len(scores))
    moved = Pairs(photos, pairs.left[order], pairs.right[order], pairs.same[order], pairs.fold[order])
    for one, other in zip(
        Operating.of(pairs, scores).summary(20), Operating.of(moved, scores[order]).summary(20), strict=True
    ):
        assert [one.value, one.low, one.high] == pytest.approx([other.value, other.low, other.high])


def test_intervals_lie_around_their_figures() -> None:
    area, error = Operating.of(*made()[:2]).summary(200)
    for each in (area, error):
        assert each.value is not None
        assert each.low is not None
        assert each.high is not None
        assert 0 < each.low < each.value < each.high < 1


def test_about_57_of_60_intervals_have_the_truth_in_them() -> None:
    """Scores of genuine pairs are normal around 1, those of impostors around 0, with something of each person in both:
    the area of a large sample lies in the intervals of small ones."""

    def area(people: int, seed: int, replicates: int) -> tuple[float, float, float]:
        rng = np.random.default_rng(seed)
        pairs = pairs_of(photos_of([3] * people), seed=seed)
        mine = rng.normal(size=people)
        place = np.array([int(photo.person or 0) for photo in pairs.photos])
        own = mine[place[pairs.left]] + mine[place[pairs.right]]
        scores = pairs.same * 1.0 + own / 2 + rng.normal(size=len(own))
        found = Operating.of(pairs, np.asarray(scores, np.float64)).intervals([Figure(Roc.auc)], replicates)[0]
        return found.value or 0, found.low or 0, found.high or 0

    truth = area(1500, 0, 0)[0]
    inside = sum(low <= truth <= high for _, low, high in (area(40, seed, 100) for seed in range(1, 61)))
    assert inside >= 52


def test_rows_first_of_the_pairs_own_impostors_then_of_all() -> None:
    pairs, scores, table = made()
    rows = Operating.of(pairs, scores).tar_at_far(table, 100, None)
    assert [row["impostors"] for row in rows] == ["pairs"] * 3 + ["all"] * 5
    assert [row["far"] for row in rows] == [1e-2, 1e-3, 1e-4, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
    for row in rows:
        assert row["tar"]["value"] == (scores[pairs.same] >= row["threshold"]).mean()
        assert row["measurable"] == (row["why"] is None)
        if row["impostors"] == "pairs":
            assert row["far_found"]["value"] == (scores[~pairs.same] >= row["threshold"]).mean() <= row["far"]
        else:
            assert row["far_found"] == next(each.found for each in table.rows if each.far == row["far"]).as_json()
    assert not rows[2]["measurable"]
    assert "too few" in rows[2]["why"]


def test_photos_of_nobody_have_figures_without_intervals() -> None:
    photos = tuple(Photo(str(n), None, b"") for n in range(4))
    places = np.array([0, 2], np.intp)
    pairs = Pairs(photos, places, places + 1, np.array([True, False]), np.zeros(2, np.intp))
    shown = Operating.of(pairs, np.array([0.9, 0.1]))
    assert [(each.value, each.low) for each in shown.summary(100)] == [(1.0, None), (0.0, None)]
    rows = shown.tar_at_far(None, 100, "nobody knows")
    assert [row["why"] for row in rows] == ["nobody knows"] * 3
    assert [row["tar"]["value"] for row in rows] == [1.0] * 3


def test_where_none_passes_the_reason_is_that_there_are_too_few() -> None:
    pairs, scores, _ = made(spread=0.01)
    rows = Operating.of(pairs, scores).tar_at_far(None, 50, None)
    assert rows[2]["far_found"]["value"] == 0
    assert rows[2]["tar"]["value"] == 1
    assert rows[2]["tar"]["low"] == pytest.approx(1 - 3 / 60)
    assert "no impostor pair passes" in rows[2]["why"]
