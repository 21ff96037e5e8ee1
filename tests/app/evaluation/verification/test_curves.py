"""The ROC against scikit-learn, and against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from app.evaluation.verification.curves import Ranked, corners

Case = tuple[NDArray[np.float64], NDArray[np.bool_]]


@st.composite
def scored(draw: st.DrawFn) -> Case:
    """Scores with many ties or none, and both kinds of pairs."""
    count = draw(st.integers(2, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.integers(-5, 6, count) / 5 if draw(st.booleans()) else rng.uniform(-1, 1, count)
    same = rng.random(count) < 0.5
    same[:2] = [True, False]
    return scores, same


@settings(max_examples=60)
@given(scored())
def test_as_scikit_learn_has_it(case: Case) -> None:
    scores, same = case
    roc = Ranked.of(scores, same).roc()
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    assert roc.far[:, 0] == pytest.approx(far, abs=1e-9)
    assert roc.tar[:, 0] == pytest.approx(tar, abs=1e-9)
    assert np.array_equal(roc.thresholds, thresholds)
    assert roc.auc()[0] == pytest.approx(roc_auc_score(same, scores), abs=1e-9)


@settings(max_examples=30)
@given(scored(), st.integers(0, 2**32))
def test_weighted_curves_as_scikit_learn_has_them(case: Case, seed: int) -> None:
    scores, same = case
    weights = np.random.default_rng(seed).integers(0, 4, (len(scores), 3)).astype(np.float32)
    for weight in weights.T:
        assume((weight * same).any() and (weight * ~same).any())
    area = Ranked.of(scores, same).roc(weights).auc()
    assert area == pytest.approx([roc_auc_score(same, scores, sample_weight=weight) for weight in weights.T], abs=1e-9)


@given(scored(), st.integers(0, 2**32))
def test_weights_are_copies_of_pairs(case: Case, seed: int) -> None:
    scores, same = case
    weights = np.random.default_rng(seed).integers(1, 4, len(scores))
    weighted = Ranked.of(scores, same).roc(weights[:, None].astype(np.float32))
    copied = Ranked.of(np.repeat(scores, weights), np.repeat(same, weights)).roc()
    assert np.allclose(weighted.far, copied.far)
    assert np.allclose(weighted.tar, copied.tar)
    assert weighted.eer() == pytest.approx(copied.eer(), abs=1e-12)


@given(scored(), st.integers(0, 2**32))
def test_the_order_of_the_pairs_changes_nothing(case: Case, seed: int) -> None:
    scores, same = case
    order = np.random.default_rng(seed).permutation(len(scores))
    one, other = Ranked.of(scores, same).roc(), Ranked.of(scores[order], same[order]).roc()
    assert np.array_equal(one.far, other.far)
    assert np.array_equal(one.tar, other.tar)


@given(scored(), st.floats(0, 1))
def test_tar_within_a_far_is_the_best_of_all_thresholds(case: Case, far: float) -> None:
    scores, same = case
    roc = Ranked.of(scores, same).roc()
    best = max((scores[same] >= t).mean() for t in [*scores, np.inf] if (scores[~same] >= t).mean() <= far)
    assert roc.tar_within(far)[0] == pytest.approx(best, abs=1e-12)


@given(scored())
def test_the_equal_error_rate_is_where_the_curve_meets_far_equal_to_frr(case: Case) -> None:
    roc = Ranked.of(*case).roc()
    far, frr = roc.far[:, 0], 1 - roc.tar[:, 0]
    after = int(np.flatnonzero(far - frr >= -1e-12)[0])  # FAR - FRR only rises
    share = np.interp(0, (far - frr)[[after - 1, after]], [0, 1])
    met = [float(line[after - 1] + share * (line[after] - line[after - 1])) for line in (far, frr)]
    assert met == pytest.approx([roc.eer()[0]] * 2, abs=1e-9)


def test_by_hand() -> None:
    """Genuine 0.9 0.7 0.5 0.3, impostor 0.6 0.4 0.2 0.1: at 0.5, FAR 1/4 and FRR 1/4."""
    scores = np.array([0.9, 0.7, 0.5, 0.3, 0.6, 0.4, 0.2, 0.1])
    ranked = Ranked.of(scores, np.arange(8) < 4)
    roc = ranked.roc()
    assert roc.eer()[0] == pytest.approx(0.25)
    assert roc.threshold(int(roc.crossing()[0])) == 0.5
    assert roc.auc()[0] == pytest.approx(13 / 16)
    assert [roc.tar_within(far)[0] for far in (0, 0.24, 0.25, 0.5, 1)] == [0.5, 0.5, 0.75, 1, 1]
    assert roc.threshold(int(roc.within(0.25)[0])) == 0.5
    assert [ranked.place(t) for t in (1, 0.9, 0.89, 0.1, -1)] == [0, 1, 1, 8, 8]


def test_the_equal_error_rate_lies_on_the_line_between_two_thresholds() -> None:
    """One score for all: from (0, 1) straight to (1, 0), halfway."""
    assert Ranked.of(np.zeros(5), np.arange(5) < 2).roc().eer()[0] == pytest.approx(0.5)


def test_where_no_impostor_passes_the_threshold_is_just_above_the_highest() -> None:
    roc = Ranked.of(np.array([0.5, 0.9]), np.array([True, False])).roc()
    assert roc.within(0.1)[0] == 0
    assert 0.9 < roc.threshold(0) < 0.9 + 1e-12


def test_a_replicate_without_impostors_has_no_figures() -> None:
    roc = Ranked.of(np.array([0.9, 0.5]), np.array([True, False])).roc(np.array([[1, 1], [1, 0]], np.float32))
    for figures in (roc.auc(), roc.eer(), roc.tar_within(0.1)):
        assert np.isfinite(figures[0])
        assert np.isnan(figures[1])


@given(scored())
def test_a_curve_is_drawn_by_its_corners(case: Case) -> None:
    roc = Ranked.of(*case).roc()
    places = corners(roc)
    drawn = np.interp(np.arange(len(roc.far)), places, roc.tar[places, 0])
    whole = np.trapezoid(roc.tar[:, 0], roc.far[:, 0])
    assert np.trapezoid(roc.tar[places, 0], roc.far[places, 0]) == pytest.approx(whole, abs=1e-12)
    assert len(drawn) == len(roc.far)


def test_a_long_curve_is_thinned_evenly_in_log_far() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(20_000) < 0.5
    roc = Ranked.of(rng.normal(size=20_000) + 2 * same, same).roc()
    places = corners(roc, 100)
    assert len(places) <= 100
    assert (places[0], places[-1]) == (0, len(roc.far) - 1)
    far = roc.far[places, 0]
    gaps = np.diff(np.log10(far[far > 2e-3]))
    assert gaps.max() < 0.1
