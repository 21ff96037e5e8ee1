"""Intervals over people: drawn right, as wide as theory says, and silent where they know nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.bootstrap import Interval, draws, ratio


@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 5), st.integers(1, 40))
def test_every_replicate_draws_as_many_people_as_there_are_whatever_the_block(
    people: int, replicates: int, seed: int, block: int
) -> None:
    whole = list(draws(people, replicates, seed, block=1000))
    parts = list(draws(people, replicates, seed, block))
    assert sum(part.shape[1] for part in parts) == replicates
    assert all(part.dtype == np.float32 and part.shape[1] <= block for part in parts)
    if replicates:
        assert (whole[0].sum(axis=0) == people).all()
        assert np.array_equal(np.concatenate(parts, axis=1), whole[0])


def test_replicates_and_seeds_differ() -> None:
    one, other = next(draws(50, 2, seed=0)), next(draws(50, 2, seed=1))
    assert not np.array_equal(one[:, 0], one[:, 1])
    assert not np.array_equal(one, other)


def test_the_interval_is_the_middle_95_percent() -> None:
    found = Interval.of(50.0, np.arange(101, dtype=np.float64))
    assert (found.value, found.low, found.high) == (50.0, 2.5, 97.5)


def test_replicates_that_counted_nothing_are_left_out() -> None:
    assert Interval.of(1.0, np.array([np.nan, 1.0, np.nan, 3.0])) == Interval(1.0, 1.05, 2.95)


def test_nothing_to_count_is_no_figure_and_no_replicates_are_no_interval() -> None:
    assert Interval.of(float("nan"), np.ones(3)) == Interval(None)
    assert Interval.of(0.5, np.empty(0)) == Interval(0.5)


def test_a_rate_of_which_nothing_was_seen_ends_at_three_in_n() -> None:
    assert Interval.of(0.0, np.zeros(9), independent=300) == Interval(0.0, 0.0, 0.01)
    assert Interval.of(1.0, np.ones(9), independent=300) == Interval(1.0, 0.99, 1.0)
    assert Interval.of(0.0, np.zeros(9), independent=0).high == 1
    assert Interval.of(0.0, np.zeros(9)) == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "measurable"),
    [(1e-4, 2e-4, True), (1e-4, 3e-4, True), (1e-4, 3.1e-4, False), (0.0, 1e-4, False), (None, None, False)],
)
def test_wider_than_a_factor_of_three_is_not_measurable(
    low: float | None, high: float | None, measurable: bool
) -> None:
    assert Interval(1.5e-4, low, high).measurable is measurable


def test_overlap_needs_two_intervals() -> None:
    wide, right, apart = Interval(1, 0.5, 2), Interval(2, 2, 3), Interval(4, 3.5, 5)
    assert wide.overlaps(right)
    assert right.overlaps(wide)
    assert not wide.overlaps(apart)
    assert not apart.overlaps(wide)
    assert not wide.overlaps(Interval(1))


def test_a_rate_over_people_with_one_photo_each_is_as_wide_as_the_binomial_says() -> None:
    hits = (np.arange(1000) < 300).astype(np.float64)
    found = ratio(hits, np.ones(1000))
    assert found.low is not None
    assert found.high is not None
    spread = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert found.low == pytest.approx(0.3 - spread, abs=0.004)
    assert found.high == pytest.approx(0.3 + spread, abs=0.004)


def test_photos_of_one_person_are_no_independent_witnesses() -> None:
    """Ten photos a person, all found or none: the interval is that of the people, √10 wider than that of the photos."""
    people = (np.arange(100) < 30).astype(np.float64)
    assert ratio(10 * people, np.full(100, 10.0)) == ratio(people, np.ones(100))


def test_about_95_of_100_intervals_have_the_truth_in_them() -> None:
    rng = np.random.default_rng(0)
    hit = 0
    for _ in range(200):
        found = ratio(rng.binomial(4, rng.beta(2, 3, 150)).astype(np.float64), np.full(150, 4.0), replicates=200)
        assert found.low is not None
        assert found.high is not None
        hit += found.low <= 0.4 <= found.high
    assert 180 <= hit <= 198


def test_a_rate_of_nothing_has_no_value() -> None:
    assert ratio(np.zeros(3), np.zeros(3)) == Interval(None)
