"""95 % intervals by a bootstrap over people: photos of one person are no independent witnesses, people are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
PERCENTILES = (2.5, 97.5)
WIDEST = 3.0
"""A rate whose interval's ends are further apart than this factor was not measured."""
RULE_OF_THREE = 3.0
"""Nothing seen in n independent trials: with 95 % certainty the rate is below 3 / n (Jovanovic & Levy 1997)."""
BLOCK = 250


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval; `value` is None where there was nothing to count, `low` and `high` are None where
    no interval can be given."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(value: float, replicated: NDArray[np.float64], independent: int | None = None) -> Interval:
        """The percentile interval of the figure's replicates, (r,) float64; those that counted nothing are NaN and are
        left out. No replicates: no interval.

        `independent` is for a rate (0..1): how many independent trials there were, at the least. The replicates of a
        rate of which nothing (or all) was seen know no spread, so its interval ends at 3 / independent.
        """
        if not np.isfinite(value):
            return Interval(None)
        kept = replicated[np.isfinite(replicated)]
        if not kept.size:
            return Interval(float(value))
        low, high = np.percentile(kept, PERCENTILES).tolist()
        if independent is not None and value in (0, 1):
            spread = min(1.0, RULE_OF_THREE / max(independent, 1))
            low, high = (0.0, spread) if value == 0 else (1.0 - spread, 1.0)
        return Interval(float(value), low, high)

    @property
    def measurable(self) -> bool:
        """Whether the sample carries this rate: its interval excludes 0 and spans a factor of 3 at most."""
        return self.low is not None and self.high is not None and self.low > 0 and self.high <= WIDEST * self.low

    def overlaps(self, other: Interval) -> bool:
        """Whether two figures can be one; False where an interval is missing."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.low <= other.high and other.low <= self.high

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high}


def draws(
    people: int, replicates: int = REPLICATES, seed: int = 0, block: int = BLOCK
) -> Iterator[NDArray[np.float32]]:
    """How often each of the people is drawn, with replacement, in each replicate: (people, ≤ block) float32 arrays, a
    column a replicate, that belong to the caller.

    Column r of all of them together follows from `seed` and r alone, whatever the block. A person drawn k times counts
    k-fold: a pair of one person's photos weighs w, a pair of two people's w₁·w₂ (the people bootstrap of Poh & Bengio,
    "Estimating the confidence interval of expected performance curve in biometric authentication", 2007; two draws of
    one person make no impostor pair). Where few impostor pairs pass, and chance more than people decides which, such an
    interval is up to √3 too wide: it errs towards saying less.
    """
    for first in range(0, replicates, block):
        columns = range(first, min(first + block, replicates))
        drawn = [np.random.default_rng([seed, column]).integers(0, people, people) for column in columns]
        yield np.stack([np.bincount(each, minlength=people) for each in drawn], axis=1).astype(np.float32)


def ratio(above: NDArray[np.float64], below: NDArray[np.float64], replicates: int = REPLICATES) -> Interval:
    """The interval of the rate sum(above) / sum(below), 0..1, over people: (people,) float64, how many of each one's
    photos (or pairs) count, and how many there are."""
    if not below.sum():
        return Interval(None)
    with np.errstate(invalid="ignore"):
        replicated = [(above @ weights) / (below @ weights) for weights in draws(len(below), replicates)]
    return Interval.of(
        float(above.sum() / below.sum()), np.concatenate([*replicated, np.empty(0)]), int(np.count_nonzero(below))
    )
