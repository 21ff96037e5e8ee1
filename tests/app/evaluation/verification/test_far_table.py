"""The FAR table keeps what it promises, and says where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.evaluation.bootstrap import Interval
from app.evaluation.verification import far_table as module
from app.evaluation.verification.far_table import FARS, FarTable, Row, check, found_at, promises
from app.evaluation.verification.impostors import GRID, Impostors
from engines.thresholds import Thresholds


def strangers(people: int, dimension: int, seed: int = 0, common: float = 0) -> Impostors:
    """One photo a person, in random directions; with something in `common`, some people are like more others."""
    vectors = np.random.default_rng(seed).normal(size=(people, dimension)) + common
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Impostors(unit.astype(np.float32), np.arange(people))


def cosines(impostors: Impostors) -> NDArray[np.float64]:
    every = (impostors.embeddings @ impostors.embeddings.T).astype(np.float64)
    return np.asarray(every[np.triu_indices(len(every), 1)])


@pytest.fixture(scope="module")
def table() -> FarTable:
    made = FarTable.of(strangers(600, 8), 200)
    assert made is not None
    return made


def test_the_series_of_fars() -> None:
    assert FARS[:4] == (0.1, 0.05, 0.02, 0.01)
    assert FARS[-1] == 1e-6
    assert len(FARS) == 16


def test_a_threshold_is_the_smallest_multiple_that_keeps_its_far(table: FarTable) -> None:
    scores = cosines(strangers(600, 8))
    for row in table.rows:
        assert row.threshold == round(row.threshold, 4)
        assert (scores >= row.threshold).mean() <= row.far
        assert (scores >= row.threshold - 1e-4).mean() > row.far
        assert row.found.value == pytest.approx((scores >= row.threshold).mean(), abs=1.5 / len(scores))


def test_random_directions_pass_as_often_as_geometry_says() -> None:
    """In three dimensions a cosine of random directions is uniform in -1..1 (Archimedes): FAR x at 1 - 2x."""
    made = FarTable.of(strangers(1500, 3), 100)
    assert made is not None
    for row in made.rows[:6]:
        assert row.threshold == pytest.approx(1 - 2 * row.far, abs=0.01)
        assert row.found.low is not None
        assert row.found.high is not None
        assert row.found.low <= row.far * 1.05
        assert row.found.high >= row.far * 0.95


@pytest.mark.parametrize(("common", "threshold", "ratio"), [(2.0, 0.9, (0.8, 1.3)), (0.0, 0.8, (1.3, 2.0))])
def test_the_intervals_are_as_wide_as_samples_of_as_many_people_differ(
    common: float, threshold: float, ratio: tuple[float, float]
) -> None:
    """Where people differ in how many others they are like; and up to √3 times as wide where they do not."""
    found = [found_at(strangers(150, 8, seed, common), [threshold], 100)[0] for seed in range(100)]
    values = [each.value or 0.0 for each in found]
    truth = float(np.mean(values))
    inside = sum(each.low is not None and each.high is not None and each.low <= truth <= each.high for each in found)
    assert inside >= 88
    widths = [(each.high or 0) - (each.low or 0) for each in found]
    assert ratio[0] <= np.mean(widths) / np.ptp(np.percentile(values, [2.5, 97.5])) <= ratio[1]


def test_a_sample_does_not_measure_what_it_cannot_carry(table: FarTable) -> None:
    """179,700 pairs: 1e-2 is measured, 1e-6 (0.2 pairs) is not."""
    measurable = {row.far: row.found.measurable for row in table.rows}
    assert measurable[1e-2]
    assert not measurable[1e-6]
    assert table.rows[-1].found.value == 0
    assert sorted(measurable.values(), reverse=True) == list(measurable.values())


def test_thresholds_are_made_of_measurable_rows_alone(table: FarTable) -> None:
    made = table.measured()
    assert [row.threshold for row in made.table] == [row.threshold for row in table.rows if row.found.measurable]
    assert made.verify_far is not None
    assert made.verify_far <= 1e-3
    assert made.verify == next(row.threshold for row in table.rows if row.far == 1e-3)
    assert "179,700 pairs of 600 people" in made.note


def test_promises_for_galleries_are_those_of_the_thresholds(table: FarTable) -> None:
    told = promises(table, "")
    made = Thresholds.from_dict(told["thresholds"])
    assert told["why_no_thresholds"] is None
    for row in told["one_to_many"]:
        choice = made.for_gallery(row["identities"])
        assert (row["threshold"], row["warning"]) == (choice.threshold, choice.warning)
    assert told["one_to_many"][-1]["warning"]


def test_a_small_sample_has_no_thresholds_and_says_why() -> None:
    told = promises(FarTable.of(strangers(20, 8), 50), "")
    assert told["thresholds"] is None
    assert told["one_to_many"] == []
    assert "FAR" in told["why_no_thresholds"]
    assert promises(None, "for no reason")["why_no_thresholds"] == "for no reason"


def test_one_person_makes_no_table() -> None:
    assert FarTable.of(strangers(1, 4), 10) is None
    assert found_at(strangers(1, 4), [0.5], 10) == [Interval(None)]


def test_equal_faces_leave_the_low_fars_without_a_row() -> None:
    """A tenth of the pairs are equal: no cosine keeps them out."""
    made = FarTable.of(Impostors(np.ones((5, 1), np.float32), np.arange(5)), 10)
    assert made is not None
    assert made.rows == ()


def test_too_many_pairs_get_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    impostors = strangers(100, 8)
    thresholds = [0.0, 0.6]
    few = int(impostors.passing()[np.searchsorted(GRID, 0.6)])
    whole = found_at(impostors, thresholds, 50)
    monkeypatch.setattr(module, "MOST_KEPT", few)
    capped = found_at(impostors, thresholds, 50)
    assert capped == [Interval(whole[0].value), whole[1]]
    assert not capped[0].measurable


def test_without_replicates_there_are_values_and_no_intervals() -> None:
    assert all(each.value is not None and each.low is None for each in found_at(strangers(30, 4), [0.0, 0.1], 0))


def test_a_sample_like_it_agrees_and_another_does_not(table: FarTable) -> None:
    alike = check(table, strangers(600, 8, seed=1), 200)
    assert len(alike["rows"]) == sum(row.found.measurable for row in table.rows)
    assert all(row["agrees"] for row in alike["rows"])
    assert alike["pairs"] == 179_700
    apart = check(table, strangers(600, 6, seed=1), 200)
    assert not any(row["agrees"] for row in apart["rows"])


def test_a_row_as_json() -> None:
    assert Row(1e-2, 0.3, Interval(9e-3, 5e-3, 2e-2)).as_json() == {
        "far": 1e-2,
        "threshold": 0.3,
        "found": {"value": 9e-3, "low": 5e-3, "high": 2e-2},
        "measurable": False,
    }
