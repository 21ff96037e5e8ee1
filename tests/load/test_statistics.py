"""How figures are told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bench.soak import growth_percent
from app.bench.statistics import Summary, Target, by_photo, percentiles, ratios

COSTS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50)


def test_summary_of_a_round_number_of_rounds() -> None:
    summary = Summary.of([5.0, 1.0, 3.0, 2.0, 4.0])
    assert summary == Summary(median=3.0, low=1.0, high=5.0, quartiles=(2.0, 4.0), rounds=5)


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Summary.of([])


@given(COSTS)
def test_summary_is_ordered(values: list[float]) -> None:
    summary = Summary.of(values)
    assert summary.low == min(values)
    assert summary.high == max(values)
    assert summary.low <= summary.quartiles[0] <= summary.median <= summary.quartiles[1] <= summary.high


@given(COSTS)
def test_percentiles_are_ordered_and_within(values: list[float]) -> None:
    found = percentiles(values)
    assert min(values) <= found["p50"] <= found["p95"] <= found["p99"] <= max(values)


def test_percentiles_of_a_hundred() -> None:
    found = percentiles([float(value) for value in range(101)])
    assert found == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]).high == 2.0


def test_ratios_of_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_latencies_by_photo() -> None:
    assert by_photo([1.0, 10.0, 2.0, 20.0, 3.0], 2) == [[1.0, 2.0, 3.0], [10.0, 20.0]]


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target.at_least("share", 0.9, 0.9), True),
        (Target.at_least("share", 0.9, 0.89), False),
        (Target.at_most("wait", 1.1, 1.1), True),
        (Target.at_most("wait", 1.1, 1.11), False),
        (Target.at_least("share", 0.9, math.nan), False),
    ],
)
def test_targets(target: Target, met: bool) -> None:
    assert target.met is met


def test_growth_leaves_the_warm_up_out() -> None:
    assert growth_percent([10] * 20 + [100] * 80) == 0.0


def test_growth_of_a_leak() -> None:
    assert growth_percent([100 + sample for sample in range(100)]) == pytest.approx(100 * (194.5 / 124.5 - 1))
