"""Medians, spread and percentiles: how figures are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PERCENTILES = (50, 95, 99)
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure measured once a round: the median of the rounds, their extremes and quartiles."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]
    rounds: int

    @staticmethod
    def of(values: Iterable[float]) -> Summary:
        """Raises ValueError for no values."""
        row = np.fromiter(values, np.float64)
        if not row.size:
            raise ValueError("nothing was measured")
        low, first, middle, third, high = np.percentile(row, [0, 25, 50, 75, 100]).tolist()
        return Summary(middle, low, high, (first, third), row.size)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of `values`, linearly interpolated; there must be at least one."""
    found = np.percentile(np.asarray(values, np.float64), PERCENTILES).tolist()
    return {f"p{which}": value for which, value in zip(PERCENTILES, found, strict=True)}


def ratios(above: Sequence[float], below: Sequence[float]) -> Summary:
    """Round by round, what `above` is to `below`: rounds lie close in time, so slow drifts of the machine cancel."""
    return Summary.of(a / b for a, b in zip(above, below, strict=True))


def by_photo(latencies: Sequence[float], photos: int) -> list[list[float]]:
    """Latencies of requests that went through the photos in order, again and again, one list a photo."""
    return [list(latencies[start::photos]) for start in range(photos)]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and what was found."""

    name: str
    aim: str
    found: float
    met: bool

    @staticmethod
    def at_least(name: str, limit: float, found: float) -> Target:
        return Target(name, f"≥ {limit:g}", found, found >= limit)

    @staticmethod
    def at_most(name: str, limit: float, found: float) -> Target:
        return Target(name, f"≤ {limit:g}", found, found <= limit)
