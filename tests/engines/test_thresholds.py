"""Thresholds: the table's promises hold for every gallery size."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import ModelError
from engines.thresholds import FALSE_MATCHES_ALLOWED, FarRow, Thresholds, false_match_rate

MEASURED = Thresholds(
    verify=0.3,
    verify_far=1e-3,
    recognize=0.4,
    table=tuple(FarRow(0.3 + 0.05 * n, 10.0 ** -(n + 3)) for n in range(5)),
    provisional=False,
)


@st.composite
def measured(draw: st.DrawFn) -> Thresholds:
    thresholds = sorted(draw(st.sets(st.floats(-1, 1), min_size=1, max_size=8)))
    fars = sorted(draw(st.lists(st.floats(1e-12, 1), min_size=len(thresholds), max_size=len(thresholds))), reverse=True)
    return Thresholds(0.3, None, 0.4, tuple(map(FarRow, thresholds, fars)), provisional=False)


@given(measured(), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_larger_gallery_never_gets_a_lower_threshold(model: Thresholds, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert model.for_gallery(small).threshold <= model.for_gallery(large).threshold


@given(measured(), st.integers(0, 10**7))
def test_the_choice_is_the_lowest_row_that_keeps_the_promise(model: Thresholds, identities: int) -> None:
    choice = model.for_gallery(identities)
    people = max(identities, 1)
    good = [row for row in model.table if row.far <= FALSE_MATCHES_ALLOWED / people]
    assert choice.threshold == (good or model.table[-1:])[0].threshold
    assert (choice.warning is None) == bool(good)
    assert choice.expected_false_match_rate is not None
    if good:
        assert choice.expected_false_match_rate <= FALSE_MATCHES_ALLOWED * (1 + 1e-9)


@given(st.floats(1e-9, 1), st.integers(1, 10_000))
def test_the_false_match_rate_is_that_of_independent_pairs(far: float, identities: int) -> None:
    assert false_match_rate(far, identities) == pytest.approx(1 - (1 - far) ** identities, rel=1e-5, abs=1e-9)


def test_a_stranger_in_a_thousand_at_far_one_in_a_thousand() -> None:
    assert false_match_rate(1e-3, 1000) == pytest.approx(0.632, abs=5e-4)


def test_rows_are_taken_by_gallery_size() -> None:
    assert [MEASURED.for_gallery(n).far for n in (0, 1, 10, 11, 10_000)] == [1e-3, 1e-3, 1e-3, 1e-4, 1e-6]
    assert MEASURED.for_gallery(100_000).far == 1e-7
    assert not MEASURED.for_gallery(100_000).provisional


def test_past_the_table_s_end_its_last_row_and_a_warning() -> None:
    choice = MEASURED.for_gallery(1_000_000)
    assert choice.far == 1e-7
    assert choice.warning is not None
    assert "10%" in choice.warning


def test_without_a_table_nothing_is_promised() -> None:
    choice = Thresholds(0.319, 1e-3, 0.4).for_gallery(1000)
    assert (choice.threshold, choice.far, choice.expected_false_match_rate) == (0.4, None, None)
    assert choice.provisional


@given(measured())
def test_thresholds_survive_json(model: Thresholds) -> None:
    assert Thresholds.from_dict(json.loads(json.dumps(model.as_dict()))) == model


@pytest.mark.parametrize(
    "table",
    [
        [(0.5, 1e-3), (0.4, 1e-4)],
        [(0.4, 1e-4), (0.5, 1e-3)],
        [(0.4, 1e-3), (0.4, 1e-4)],
        [(0.4, 0.0)],
        [(0.4, 1.5)],
        [(1.5, 0.1)],
        [(float("nan"), 0.1)],
        [(0.4, float("nan"))],
    ],
)
def test_nonsense_tables_are_refused(table: list[tuple[float, float]]) -> None:
    with pytest.raises(ModelError):
        Thresholds(0.3, None, 0.4, tuple(FarRow(*row) for row in table))


@pytest.mark.parametrize("values", [{}, {"table": [{"far": 1}]}, {"table": [], "other": 1}, {"table": None}])
def test_what_is_no_table_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="not a table"):
        Thresholds.from_dict(values)
