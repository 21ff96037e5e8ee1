"""Which cosine keeps which false accept rate, from all pairs of different people of a sample; tried on another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import Interval
from app.evaluation.verification.impostors import GRID, MOST_KEPT, Impostors
from app.evaluation.wording import Json
from engines.base import ModelError
from engines.thresholds import FarRow, Thresholds

FARS = (0.1, *(float(f"{digit}e-{power}") for power in range(2, 7) for digit in (5, 2, 1)))
"""1e-1, 5e-2, 2e-2, … 1e-6."""
IDENTITIES = (10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Row:
    """At cosine ≥ `threshold`, a multiple of 1e-4 and the smallest that does it, at most a share `far` of the pairs
    pass; `found` is that share."""

    far: float
    threshold: float
    found: Interval

    def as_json(self) -> Json:
        return {
            "far": self.far,
            "threshold": self.threshold,
            "found": self.found.as_json(),
            "measurable": self.found.measurable,
        }


@dataclass(frozen=True, slots=True)
class FarTable:
    """A sample's rows, by falling FAR; `passing` (20,001,) is the number of its pairs that pass each of GRID."""

    people: int
    photos: int
    pairs: int
    rows: tuple[Row, ...]
    passing: NDArray[np.int64]

    @staticmethod
    def of(impostors: Impostors, replicates: int) -> FarTable | None:
        """The rows for FARS; None where there are not two people. A FAR below that of any threshold has no row."""
        if not impostors.pairs:
            return None
        passing = impostors.passing()
        shares = passing / impostors.pairs
        reached = [far for far in FARS if shares[-1] <= far]
        thresholds = [float(GRID[np.argmax(shares <= far)]) for far in reached]
        found = found_at(impostors, thresholds, replicates, passing)
        rows = tuple(Row(*row) for row in zip(reached, thresholds, found, strict=True))
        return FarTable(impostors.people, len(impostors.person), impostors.pairs, rows, passing)

    def measured(self) -> Thresholds:
        """The thresholds that a model can have from the measurable rows, FARs to four digits. Raises ModelError where
        they do not reach a FAR of 1e-3."""
        rows = {row.threshold: row.found for row in self.rows if row.found.measurable}
        made = [
            FarRow(threshold, *map(_four_digits, (found.value, found.low, found.high)))
            for threshold, found in rows.items()
            if found.value is not None and found.low is not None and found.high is not None
        ]
        return Thresholds.measured(made, f"{self.pairs:,} pairs of {self.people:,} people, {self.photos:,} photos")

    def as_json(self) -> Json:
        rows = [row.as_json() for row in self.rows]
        return {"people": self.people, "photos": self.photos, "pairs": self.pairs, "rows": rows}


def _four_digits(far: float) -> float:
    return float(f"{far:.4g}")


def found_at(
    impostors: Impostors, thresholds: Sequence[float], replicates: int, passing: NDArray[np.int64] | None = None
) -> list[Interval]:
    """The share of all the impostors' pairs that passes each of `thresholds` (multiples of 1e-4), with its interval.

    A threshold that more than MOST_KEPT pairs pass gets none, for it would take too long; neither does any where there
    are no two people. `passing` is that of the impostors, if it is known.
    """
    if not impostors.pairs:
        return [Interval(None)] * len(thresholds)
    counts = impostors.passing() if passing is None else passing
    values = np.array([counts[np.searchsorted(GRID, threshold)] for threshold in thresholds])
    drawn = np.unique([t for t, count in zip(thresholds, values, strict=True) if count <= MOST_KEPT])
    replicated = impostors.resampled(drawn.tolist(), replicates) if len(drawn) else np.empty((0, 0))
    rows = dict(zip(drawn.tolist(), replicated, strict=True))
    return [
        Interval.of(count / impostors.pairs, rows.get(threshold, np.empty(0)), impostors.people // 2)
        for threshold, count in zip(thresholds, values.tolist(), strict=True)
    ]


def check(table: FarTable, impostors: Impostors, replicates: int) -> Json:
    """What the measurable rows of `table` promise, and what all pairs of another sample's different people show at the
    same thresholds; they agree where the two intervals overlap."""
    rows = [row for row in table.rows if row.found.measurable]
    found = found_at(impostors, [row.threshold for row in rows], replicates)
    return {
        "people": impostors.people,
        "photos": len(impostors.person),
        "pairs": impostors.pairs,
        "rows": [
            {
                "threshold": row.threshold,
                "promised": row.found.value,
                "promised_interval": row.found.as_json(),
                "found": here.as_json(),
                "agrees": row.found.overlaps(here),
            }
            for row, here in zip(rows, found, strict=True)
        ],
    }


def promises(table: FarTable | None, why: str) -> Json:
    """The model's `thresholds` and what they come to for galleries of IDENTITIES people; none, and why, where `table`
    is None (then for the reason `why`) or does not reach as far as thresholds need."""
    try:
        if table is None:
            raise ModelError(why)
        made = table.measured()
    except ModelError as error:
        return {"thresholds": None, "why_no_thresholds": str(error), "one_to_many": []}
    choices = [(identities, made.for_gallery(identities)) for identities in IDENTITIES]
    one_to_many = [
        {
            "identities": identities,
            "threshold": choice.threshold,
            "far": choice.far,
            "expected_false_match_rate": choice.expected_false_match_rate,
            "warning": choice.warning,
        }
        for identities, choice in choices
    ]
    return {"thresholds": made.as_dict(), "why_no_thresholds": None, "one_to_many": one_to_many}
