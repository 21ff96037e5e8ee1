"""Thresholds: the table's promises hold for every gallery size."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import ModelError
from engines.thresholds import FALSE_MATCHES_ALLOWED, VERIFY_FAR, FarRow, Thresholds, false_match_rate

ROWS = tuple(FarRow(0.3 + 0.05 * n, 10.0 ** -(n + 3)) for n in range(5))
MEASURED = Thresholds.measured(ROWS, "a test")


@st.composite
def rows(draw: st.DrawFn) -> list[FarRow]:
    """A table that reaches far enough for 1:1, with and without intervals."""
    thresholds = sorted(draw(st.sets(st.floats(-1, 1), min_size=1, max_size=8)))
    shares = st.lists(st.floats(1e-12, 1), min_size=len(thresholds) - 1, max_size=len(thresholds) - 1)
    fars = sorted([*draw(shares), draw(st.floats(1e-12, VERIFY_FAR))], reverse=True)
    spread = draw(st.one_of(st.none(), st.floats(1, 3)))
    bounds = [(None, None) if spread is None else (far / spread, min(far * spread, 1.0)) for far in fars]
    return [FarRow(line, far, *both) for line, far, both in zip(thresholds, fars, bounds, strict=True)]


def measured() -> st.SearchStrategy[Thresholds]:
    return rows().map(lambda table: Thresholds.measured(table, "drawn"))


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


@given(st.sampled_from([1, 2, 5]), st.integers(0, 6))
def test_a_row_of_exactly_the_far_that_is_needed_will_do(first: int, exponent: int) -> None:
    far = {1: 1.0, 2: 0.5, 5: 0.2}[first]
    row = FarRow(0.2, float(f"{far}e-{exponent + 2}"))
    model = Thresholds(0.2, None, None, (row, FarRow(0.9, 1e-12)))
    assert model.for_gallery(first * 10**exponent).threshold == 0.2
    assert model.for_gallery(first * 10**exponent + 1).threshold == 0.9


@given(rows())
def test_the_threshold_for_one_person_is_the_lowest_that_keeps_its_far(table: list[FarRow]) -> None:
    model = Thresholds.measured(table, "drawn")
    good = [row for row in table if row.far <= VERIFY_FAR]
    assert (model.verify, model.verify_far) == (good[0].threshold, good[0].far)
    assert (model.recognize, model.table, model.note) == (None, tuple(table), "drawn")


def test_of_rows_on_both_sides_the_first_below_counts() -> None:
    table = [FarRow(0.1, 1e-2), FarRow(0.2, 2e-3), FarRow(0.25, 9e-4), FarRow(0.4, 1e-5)]
    assert (model := Thresholds.measured(table, "")).verify == 0.25
    assert model.verify_far == 9e-4


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "the table is empty: measure with more people"),
        ([FarRow(0.1, 1e-2), FarRow(0.2, 2e-3)], "the table ends at 2.0e-03: measure with more people"),
        ([FarRow(0.3, 1e-4), FarRow(0.2, 1e-5)], "rising thresholds"),
        ([FarRow(0.2, 1e-5), FarRow(0.3, 1e-4)], "falling FARs"),
    ],
)
def test_what_cannot_be_promised_is_not_taken_for_measured(table: list[FarRow], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Thresholds.measured(table, "")


def test_past_the_table_s_end_its_last_row_and_a_warning() -> None:
    choice = MEASURED.for_gallery(1_000_000)
    assert choice.far == 1e-7
    assert choice.warning is not None
    assert "10%" in choice.warning


def test_without_a_table_nothing_is_promised() -> None:
    choice = Thresholds(0.319, None, 0.4).for_gallery(1000)
    assert (choice.threshold, choice.far, choice.expected_false_match_rate, choice.warning) == (0.4, None, None, None)


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
        Thresholds(0.3, None, None, tuple(FarRow(*row) for row in table))


@pytest.mark.parametrize(
    ("low", "high"), [(None, 0.1), (0.1, None), (0.2, 0.1), (-0.1, 0.1), (0.1, 1.1), (float("nan"), 0.1)]
)
def test_nonsense_intervals_are_refused(low: float | None, high: float | None) -> None:
    with pytest.raises(ModelError, match="has the interval"):
        Thresholds(0.3, None, None, (FarRow(0.3, 0.1, low, high),))


@pytest.mark.parametrize(("recognize", "table"), [(0.4, ROWS), (None, ())])
def test_for_a_gallery_there_is_a_table_or_else_one_cosine(recognize: float | None, table: tuple[FarRow, ...]) -> None:
    with pytest.raises(ModelError, match="either a measured table or one"):
        Thresholds(0.3, None, recognize, table)


@pytest.mark.parametrize("values", [{}, {"table": [{"far": 1}]}, {"table": [], "other": 1}, {"table": None}])
def test_what_is_no_table_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="not a table"):
        Thresholds.from_dict(values)


def test_what_was_written_with_provisional_is_read() -> None:
    old: dict[str, object] = {
        "verify": 0.3,
        "verify_far": None,
        "recognize": 0.4,
        "table": [],
        "provisional": True,
        "note": "chosen",
    }
    assert Thresholds.from_dict(old) == Thresholds(0.3, None, 0.4, note="chosen")
    rows = [{"threshold": 0.3, "far": 1e-3}, {"threshold": 0.5, "far": 1e-5}]
    table = (FarRow(0.3, 1e-3), FarRow(0.5, 1e-5))
    of_table = Thresholds.from_dict(old | {"verify_far": 1e-3, "table": rows, "provisional": False})
    assert of_table == Thresholds(0.3, 1e-3, None, table, "chosen")
