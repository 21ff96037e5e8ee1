"""Which cosine similarity counts as the same person: one question for 1:1, another for 1:N."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from engines.base import ModelError

FALSE_MATCHES_ALLOWED = 0.01
"""How often a stranger searched in a whole gallery may be given a name."""
VERIFY_FAR = 1e-3
"""How often a stranger may pass for one given person; what a measured `verify` keeps."""


@dataclass(frozen=True, slots=True)
class FarRow:
    """At cosine ≥ `threshold`, a share `far` (0 < far ≤ 1) of pairs of different people pass.

    `low` and `high` bound that share with 95 % confidence, 0..1; None where nobody measured how sure it is.
    """

    threshold: float
    far: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold for one gallery, and what it promises; None where nothing was measured.

    `expected_false_match_rate` is how often a stranger is named somewhere in the gallery, 0..1.
    """

    threshold: float
    far: float | None
    expected_false_match_rate: float | None
    warning: str | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A model's recommended cosine similarities.

    `verify` is for 1:1 at `verify_far` (None: not measured). For 1:N there is either a measured `table`, rising
    thresholds with falling FARs, or `recognize`, of which nothing is known; the other is empty, or None. `note` says
    what the figures rest on. Raises ModelError for values out of range or out of order.
    """

    verify: float
    verify_far: float | None
    recognize: float | None
    table: tuple[FarRow, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if (self.recognize is None) != bool(self.table):
            raise ModelError("thresholds for 1:N are either a measured table or one `recognize` cosine: give one")
        given = () if self.recognize is None else (self.recognize,)
        similarities = (self.verify, *given, *(row.threshold for row in self.table))
        if not all(-1 <= value <= 1 for value in similarities):
            raise ModelError(f"thresholds {similarities}: a cosine lies in -1..1")
        fars = [row.far for row in self.table] + ([] if self.verify_far is None else [self.verify_far])
        if not all(0 < far <= 1 for far in fars):
            raise ModelError(f"FARs {fars}: must be above 0 and at most 1; for none seen in n pairs give a bound, 3/n")
        _check_table(self.table)

    @classmethod
    def measured(cls, rows: Sequence[FarRow], note: str) -> Thresholds:
        """Thresholds from a measured table: `verify` is that of the first row with FAR ≤ VERIFY_FAR.

        Raises ModelError where the table does not reach that FAR, and for one out of order.
        """
        row = next((row for row in rows if row.far <= VERIFY_FAR), None)
        if row is None:
            end = f"ends at {rows[-1].far:.1e}" if rows else "is empty"
            raise ModelError(
                f"a threshold for 1:1 needs a FAR of {VERIFY_FAR:.1e}, but the table {end}: measure with more people"
            )
        return cls(verify=row.threshold, verify_far=row.far, recognize=None, table=tuple(rows), note=note)

    def for_gallery(self, identities: int) -> Choice:
        """The lowest threshold at which a stranger is named among `identities` people less than once in a hundred.

        That is the first row with FAR ≤ 0.01 / identities; past the table's end its last row with a warning; without
        a table `recognize`, of which nothing is known. An empty gallery counts as one identity.
        """
        if self.recognize is not None:
            return Choice(self.recognize, None, None, None)
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
        return Choice(row.threshold, row.far, expected, warning)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `from_dict` reads them back."""
        return asdict(self) | {"table": [asdict(row) for row in self.table]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Thresholds:
        """What `as_dict` gave; ModelError for anything else."""
        try:
            rows = tuple(FarRow(**row) for row in values["table"])
            found = {**values, "table": rows}
            # Old manifests say `provisional`, which a FAR of None says now, and have a `recognize` beside a table.
            if "provisional" in found:
                del found["provisional"]
                found["recognize"] = None if rows else found["recognize"]
            return cls(**found)
        except (KeyError, TypeError) as error:
            raise ModelError(f"not a table of thresholds ({error}): {values}") from error


def _check_table(table: Sequence[FarRow]) -> None:
    if not all(low.threshold < high.threshold and low.far >= high.far for low, high in pairwise(table)):
        raise ModelError("a FAR table must have rising thresholds and falling FARs")
    for row in table:
        if (row.low, row.high) == (None, None):
            continue
        if row.low is None or row.high is None or not 0 <= row.low <= row.high <= 1:
            raise ModelError(
                f"the FAR at cosine {row.threshold} has the interval {row.low}..{row.high}: give both, 0..1"
            )


def false_match_rate(far: float, identities: int) -> float:
    """1 − (1 − far)^identities: how often a stranger passes against at least one of them, taken as independent."""
    return 1.0 if far >= 1 else -math.expm1(identities * math.log1p(-far))
