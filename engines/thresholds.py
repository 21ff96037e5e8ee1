"""Which cosine similarity counts as the same person: one question for 1:1, another for 1:N."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from engines.base import ModelError

FALSE_MATCHES_ALLOWED = 0.01
"""How often a stranger searched in a whole gallery may be given a name."""


@dataclass(frozen=True, slots=True)
class FarRow:
    """At cosine ≥ `threshold`, a share `far` (0 < far ≤ 1) of pairs of different people pass."""

    threshold: float
    far: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold for one gallery, and what it promises; None where nothing was measured.

    `expected_false_match_rate` is how often a stranger is named somewhere in the gallery, 0..1.
    """

    threshold: float
    far: float | None
    expected_false_match_rate: float | None
    provisional: bool
    warning: str | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A model's recommended cosine similarities.

    `verify` is for 1:1 at `verify_far` (None: not measured); `recognize` for 1:N while `table` is empty. `table` has
    rising thresholds and falling FARs, measured. `provisional`: `recognize` is an estimate, not a measurement.
    `note` says what the figures rest on. Raises ModelError for values out of range or out of order.
    """

    verify: float
    verify_far: float | None
    recognize: float
    table: tuple[FarRow, ...] = ()
    provisional: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        similarities = (self.verify, self.recognize, *(row.threshold for row in self.table))
        if not all(-1 <= value <= 1 for value in similarities):
            raise ModelError(f"thresholds {similarities}: a cosine lies in -1..1")
        fars = [row.far for row in self.table] + ([] if self.verify_far is None else [self.verify_far])
        if not all(0 < far <= 1 for far in fars):
            raise ModelError(f"FARs {fars}: must be above 0 and at most 1; for none seen in n pairs give a bound, 3/n")
        if not all(low.threshold < high.threshold and low.far >= high.far for low, high in pairwise(self.table)):
            raise ModelError("a FAR table must have rising thresholds and falling FARs")

    def for_gallery(self, identities: int) -> Choice:
        """The lowest threshold at which a stranger is named among `identities` people less than once in a hundred.

        That is the first row with FAR ≤ 0.01 / identities; past the table's end its last row with a warning; without
        a table `recognize`, of which nothing is known. An empty gallery counts as one identity.
        """
        if not self.table:
            return Choice(self.recognize, None, None, self.provisional, None)
        people = max(identities, 1)
        wanted = FALSE_MATCHES_ALLOWED / people
        row = next((row for row in self.table if row.far <= wanted), self.table[-1])
        expected = false_match_rate(row.far, people)
        warning = None
        if row.far > wanted:
            warning = (
                f"{people} identities need a FAR of {wanted:.1e}, but the model's table ends at {row.far:.1e}: "
                f"about {expected:.0%} of strangers will be given a name"
            )
        return Choice(row.threshold, row.far, expected, self.provisional, warning)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `from_dict` reads them back."""
        return asdict(self) | {"table": [asdict(row) for row in self.table]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Thresholds:
        """What `as_dict` gave; ModelError for anything else."""
        try:
            rows = tuple(FarRow(**row) for row in values["table"])
            return cls(**{**values, "table": rows})
        except (KeyError, TypeError) as error:
            raise ModelError(f"not a table of thresholds ({error}): {values}") from error


def false_match_rate(far: float, identities: int) -> float:
    """1 − (1 − far)^identities: how often a stranger passes against at least one of them, taken as independent."""
    return 1.0 if far >= 1 else -math.expm1(identities * math.log1p(-far))
