"""What the pairs of the protocol show: area, equal error rate and TAR at given FARs, with intervals over people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.bootstrap import BLOCK, Interval, draws
from app.evaluation.verification.curves import Ranked, Roc
from app.evaluation.verification.far_table import FarTable, Row
from app.evaluation.verification.pairs import Pairs, people_of
from app.evaluation.wording import Json

CELLS = 2**22
FARS_OF_PAIRS = (1e-2, 1e-3, 1e-4)
FARS_OF_ALL = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a curve, (r,) of r curves, and how many independent trials it rests on where it is a rate."""

    of: Callable[[Roc], Floats]
    independent: int | None = None


@dataclass(frozen=True, slots=True)
class Operating:
    """Ranked pairs, their curve, and whom each pair shows: `people` of them, (p,) `one` and `other`; None where nobody
    says, then nothing has an interval."""

    ranked: Ranked
    roc: Roc
    same: NDArray[np.bool_]
    people: int
    one: NDArray[np.intp] | None
    other: NDArray[np.intp] | None

    @staticmethod
    def of(pairs: Pairs, scores: Floats) -> Operating:
        ranked = Ranked.of(scores, pairs.same)
        known = people_of(pairs.photos)
        if known is None:
            return Operating(ranked, ranked.roc(), pairs.same, 0, None, None)
        names, person = known
        return Operating(ranked, ranked.roc(), pairs.same, len(names), person[pairs.left], person[pairs.right])

    def intervals(self, figures: Sequence[Figure], replicates: int) -> list[Interval]:
        """Each figure of the curve, with the interval of its replicates."""
        replicated: list[list[Floats]] = [[] for _ in figures]
        for weights in self._weights(replicates):
            roc = self.ranked.roc(weights)
            for figure, into in zip(figures, replicated, strict=True):
                into.append(figure.of(roc))
        return [
            Interval.of(float(figure.of(self.roc)[0]), np.concatenate([*found, np.empty(0)]), figure.independent)
            for figure, found in zip(figures, replicated, strict=True)
        ]

    def summary(self, replicates: int) -> tuple[Interval, Interval]:
        """AUC and EER."""
        area, error = self.intervals([Figure(Roc.auc), Figure(Roc.eer)], replicates)
        return area, error

    def tar_at_far(self, table: FarTable | None, replicates: int, why: str | None) -> list[Json]:
        """Rows of TAR at FAR: first the FAR of the pairs' own impostors, then that of all pairs of different people.

        Own impostors: the lowest threshold with that FAR at most; the interval of TAR is that of replicates which
        choose their threshold anew. All: the threshold of `table`, and the TAR of the same genuine pairs at it. `why`
        says why there are no intervals, if there are none.
        """
        of_all = [] if table is None else [row for row in table.rows if row.far in FARS_OF_ALL]
        asked = [self._own(far) for far in FARS_OF_PAIRS] + [self._all(row) for row in of_all]
        found = self.intervals([figure for each in asked for figure in each.figures], replicates)
        fars = [*found[: 2 * len(FARS_OF_PAIRS) : 2], *(row.found for row in of_all)]
        return [_row(*each, why) for each in zip(asked, fars, found[1::2], strict=True)]

    def _own(self, far: float) -> _Asked:
        place = int(self.roc.within(far)[0])
        threshold = self.roc.threshold(place)
        tar = Figure(lambda roc: roc.tar_within(far), self._genuine)
        return _Asked(far, threshold, "pairs", (self._far_at(place), tar))

    def _all(self, row: Row) -> _Asked:
        place = self.ranked.place(row.threshold)
        tar = Figure(lambda roc: roc.tar[place], self._genuine)
        return _Asked(row.far, row.threshold, "all", (self._far_at(place), tar))

    def _far_at(self, place: int) -> Figure:
        impostors = 0 if self.one is None else len(np.unique(self.one[~self.same]))
        return Figure(lambda roc: roc.far[place], impostors // 2)

    @property
    def _genuine(self) -> int:
        """How many people have a genuine pair."""
        return 0 if self.one is None else len(np.unique(self.one[self.same]))

    def _weights(self, replicates: int) -> Iterator[NDArray[np.float32]]:
        """(p, ≤ BLOCK) how often each pair counts; few columns at a time where there are many pairs."""
        if self.one is None or self.other is None:
            return
        block = int(np.clip(CELLS // len(self.same), 1, BLOCK))
        for drawn in draws(self.people, replicates, block=block):
            one = drawn[self.one]
            yield np.where(self.same[:, None], one, one * drawn[self.other])


@dataclass(frozen=True, slots=True)
class _Asked:
    far: float
    threshold: float
    impostors: str
    figures: tuple[Figure, Figure]


def _row(asked: _Asked, far_found: Interval, tar: Interval, why: str | None) -> Json:
    return {
        "far": asked.far,
        "threshold": asked.threshold,
        "far_found": far_found.as_json(),
        "tar": tar.as_json(),
        "measurable": far_found.measurable,
        "why": None if far_found.measurable else why or _why(far_found),
        "impostors": asked.impostors,
    }


def _why(far: Interval) -> str:
    """Why a FAR was not measured."""
    if far.value == 0:
        return "no impostor pair passes: there are too few for so low a FAR"
    if far.low is None or far.high is None:
        return "no interval was computed"
    if far.low == 0:
        return f"too few impostor pairs pass: the FAR may be anything up to {far.high:.1e}"
    return f"the FAR may be anything from {far.low:.1e} to {far.high:.1e}, a factor of {far.high / far.low:.1f}"
