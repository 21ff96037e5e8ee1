from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from app.evaluation.detection.curve import Curve, Ranking

ROWS = st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.integers(0, 4)), min_size=1, max_size=60)
"""Scores with many ties, right or false, and which of five photos each is of."""


def curve_of(scores: list[float], right: list[bool], faces: int) -> Curve:
    ranking = Ranking.of(scores, right, np.zeros(len(scores), np.intp))
    return ranking.curve(np.array([float(faces)]), np.ones(1))


def test_a_curve_by_hand() -> None:
    """Five detections of four faces: right, right, false, right, false."""
    curve = curve_of([0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, True, False], faces=4)
    assert curve.scores.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert curve.recall.tolist() == [0.25, 0.5, 0.5, 0.75, 0.75]
    assert curve.precision == pytest.approx([1, 1, 2 / 3, 3 / 4, 3 / 5])
    assert curve.ap == pytest.approx((1 + 1 + 3 / 4) / 4)
    assert curve.f1[3] == pytest.approx(0.75)


def test_the_envelope_lifts_what_a_higher_recall_surpasses() -> None:
    """False, right, right of two faces: precision 0, 1/2, 2/3."""
    curve = curve_of([0.9, 0.8, 0.7], [False, True, True], faces=2)
    assert curve.ap == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert curve.ap_envelope == pytest.approx(2 / 3)


def test_eleven_points_by_hand() -> None:
    """Recalls 0, 0.1 … 0.5 see a precision of 1, 0.6 and 0.7 see 0.75, and beyond nothing is reached."""
    curve = curve_of([0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, True, False], faces=4)
    assert curve.ap_eleven == pytest.approx((6 * 1 + 2 * 0.75) / 11)


def test_eleven_points_take_a_recall_of_three_tenths_for_what_it_is() -> None:
    curve = curve_of([0.9, 0.8, 0.7], [True, True, True], faces=10)
    assert curve.ap_eleven == pytest.approx(4 / 11)


def test_equal_scores_are_one_step_whatever_their_order() -> None:
    one = curve_of([0.9, 0.5, 0.5], [True, True, False], faces=2)
    other = curve_of([0.5, 0.9, 0.5], [False, True, True], faces=2)
    assert one.scores.tolist() == [0.9, 0.5]
    assert one.ap == other.ap == pytest.approx((1 + 2 / 3) / 2)


def test_without_detections_there_is_no_area() -> None:
    curve = curve_of([], [], faces=3)
    assert (curve.ap, curve.ap_envelope, curve.ap_eleven) == (0, 0, 0)


@given(ROWS, st.integers(0, 10))
def test_the_area_is_scikit_learns_times_the_recall_reached(rows: list[tuple[int, bool, int]], missed: int) -> None:
    scores, right, _ = (list(column) for column in zip(*rows, strict=True))
    hits = sum(right)
    if not hits:
        return
    theirs = average_precision_score(right, scores)
    assert curve_of([float(s) for s in scores], right, hits).ap == pytest.approx(theirs, abs=1e-9)
    share = hits / (hits + missed)
    assert curve_of([float(s) for s in scores], right, hits + missed).ap == pytest.approx(share * theirs, abs=1e-9)


@given(ROWS)
def test_the_envelope_bounds_the_staircase_and_perfection_is_one(rows: list[tuple[int, bool, int]]) -> None:
    scores, right, _ = (list(column) for column in zip(*rows, strict=True))
    curve = curve_of([float(s) for s in scores], right, len(rows))
    assert 0 <= curve.ap <= curve.ap_envelope + 1e-12 <= 1 + 1e-9
    perfect = curve_of([float(s) for s in scores], [True] * len(rows), len(rows))
    assert (perfect.ap, perfect.ap_envelope, perfect.ap_eleven) == pytest.approx((1, 1, 1))


@given(ROWS, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_photo_drawn_twice_is_two_photos(rows: list[tuple[int, bool, int]], times: list[int]) -> None:
    """Weights against the same detections written down again and again."""
    faces = np.array([7.0, 1, 2, 3, 4])
    if not faces @ times:
        return
    scores, right, photo = (list(column) for column in zip(*rows, strict=True))
    weighted = Ranking.of(scores, right, photo).curve(faces, np.array(times, np.float64))
    many = [row for row in rows for _ in range(times[row[2]])]
    again = [list(column) for column in zip(*many, strict=True)] or [[], [], []]
    repeated = Ranking.of(again[0], again[1], np.zeros(len(many), np.intp)).curve(np.array([faces @ times]), np.ones(1))
    assert weighted.ap == pytest.approx(repeated.ap, abs=1e-9)
    assert weighted.ap_envelope == pytest.approx(repeated.ap_envelope, abs=1e-9)


def test_what_is_taken_at_a_score() -> None:
    ranking = Ranking.of([0.5, 0.9, 0.5, 0.1], [True] * 4, [0] * 4)
    assert [int(ranking.taken(score).sum()) for score in (0.95, 0.9, 0.5, 0.3, 0)] == [0, 1, 3, 3, 4]
