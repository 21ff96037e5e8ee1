"""Accuracy by LFW's protocol, by hand and against trying every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.evaluation.photos import Photo
from app.evaluation.verification.accuracy import DEALT, OTHER_FOLDS, accuracy, best_threshold
from app.evaluation.verification.pairs import REJECTED, Pairs, Scored


def pairs_of(same: list[bool], fold: list[int]) -> Pairs:
    places = np.arange(len(same), dtype=np.intp)
    photos = tuple(Photo(f"{place}", None, b"") for place in places)
    return Pairs(photos, places, places, np.array(same), np.array(fold, np.intp))


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    count = draw(st.integers(2, 40))
    scores = np.array(draw(st.lists(st.integers(-10, 10), min_size=count, max_size=count))) / 10
    return scores, np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))


@given(scored())
def test_no_threshold_tells_more_pairs_right(case: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    scores, same = case
    best = best_threshold(scores, same)
    assert best > REJECTED
    right = ((scores >= best) == same).sum()
    assert right == max(((scores >= t) == same).sum() for t in [*(np.arange(-19, 22) / 20)])


@given(scored(), st.integers(0, 2**32))
def test_the_order_of_the_pairs_does_not_move_the_threshold(
    case: tuple[NDArray[np.float64], NDArray[np.bool_]], seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(case[0]))
    assert best_threshold(*case) == best_threshold(case[0][order], case[1][order])


def test_the_threshold_lies_in_the_middle_of_the_gap() -> None:
    scores, same = np.array([0.9, 0.7, 0.2, 0.1]), np.array([True, True, False, False])
    assert best_threshold(scores, same) == pytest.approx(0.45)


def test_of_equally_good_gaps_the_middle_one() -> None:
    """Genuine 0.8 0.4, impostor 0.6 0.2: 0.7, 0.5 and 0.3 tell 3, 2 and 3 right; of the two best the lower."""
    assert best_threshold(np.array([0.8, 0.4, 0.6, 0.2]), np.array([True, True, False, False])) == pytest.approx(0.3)


def test_only_genuine_or_only_impostor_pairs() -> None:
    scores = np.array([0.5, REJECTED])
    assert REJECTED < best_threshold(scores, np.array([True, True])) <= 0.5
    assert best_threshold(scores, np.array([False, False])) > 0.5
    assert best_threshold(np.ones(2), np.array([False, False])) > 1


def test_two_folds_by_hand() -> None:
    """Fold 0 is parted at 0.5, fold 1 at 0.3: each one's threshold tells the other 1 and 1/2 right... of 2."""
    pairs = pairs_of([True, False, True, False], [0, 0, 1, 1])
    found = accuracy(pairs, np.array([0.6, 0.4, 0.45, 0.15]))
    assert found.thresholds == pytest.approx((0.3, 0.5))
    assert found.folds == (0.5, 0.5)
    assert found.chosen_on == OTHER_FOLDS
    assert found.as_json()["std"] == 0


def test_deviation_and_standard_error() -> None:
    """Folds of 1, 1/2 and 0: mean 1/2, deviation 1/2 (by n - 1), standard error 1/2 / √3."""
    pairs = pairs_of([True, True, True, True, True, True], [0, 0, 1, 1, 2, 2])
    chosen = Scored("other.txt", np.array([0.6, 0.4]), np.array([True, False]))
    told = accuracy(pairs, np.array([0.9, 0.5, 0.6, 0.1, 0.2, 0.3]), chosen).as_json()
    assert told["folds"] == [1, 0.5, 0]
    assert (told["mean"], told["std"]) == (0.5, 0.5)
    assert told["standard_error"] == pytest.approx(0.5 / 3**0.5)
    assert told["thresholds"] == [0.5] * 3
    assert told["chosen_on"] == "other.txt"


def test_one_fold_with_a_threshold_chosen_elsewhere_has_no_deviation() -> None:
    chosen = Scored("train.txt", np.array([0.6, 0.4]), np.array([True, False]))
    told = accuracy(pairs_of([True, False], [0, 0]), np.array([0.7, 0.6]), chosen).as_json()
    assert (told["mean"], told["std"], told["standard_error"]) == (0.5, None, None)


def test_the_pairs_of_one_set_are_dealt_into_ten_folds() -> None:
    same = [True] * 30 + [False] * 30
    rng = np.random.default_rng(0)
    found = accuracy(pairs_of(same, [0] * 60), rng.normal(0, 0.1, 60) + 0.5 * np.array(same))
    assert len(found.folds) == 10
    assert found.chosen_on == DEALT
    assert all(value * 6 == pytest.approx(round(value * 6)) for value in found.folds)


def test_two_pairs_are_dealt_too() -> None:
    assert len(accuracy(pairs_of([True, False], [0, 0]), np.array([0.7, 0.2])).folds) == 2


def test_a_pair_without_a_face_is_rejected_by_any_threshold() -> None:
    """All pairs are genuine, two of three in each fold without a face: were they to pass, all would be right."""
    pairs = pairs_of([True] * 6, [0, 0, 0, 1, 1, 1])
    found = accuracy(pairs, np.array([REJECTED, REJECTED, 0.3, REJECTED, REJECTED, 0.5]))
    assert found.folds == pytest.approx((1 / 3, 1 / 3))
