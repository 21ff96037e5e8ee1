"""Several queries at once against rows as they are kept: a matrix product, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.rounding import Kind

_BLOCK_BYTES = 2**19  # of float32, so that a block stays in a core's cache between its unpacking and its product


class Scan:
    """The nearest rows of (n, D) float32 queries, of all the rows shown: at most `width` a query, those of at least
    `least`, (n,), exactly so by the similarities computed here. For one thread."""

    # What is written in each block is kept: a thread's arrays of this size are new pages from the system each time.
    def __init__(self, queries: NDArray[np.float32], width: int, least: NDArray[np.float64]) -> None:
        self._width = width
        # A similarity equal to the floor must pass it.
        self._floor = np.nextafter(least.astype(np.float32), np.float32(-np.inf), dtype=np.float32)
        self._asked = queries
        self._scaled: dict[str, NDArray[np.float32]] = {}
        rows = max(64, _BLOCK_BYTES // (4 * queries.shape[1]))
        self._whole = np.empty((rows, queries.shape[1]), np.float32)
        self._scratch = np.empty(self._whole.shape, np.uint8)
        self._products = np.empty((rows, len(queries)), np.float32)
        self._passing = np.empty(self._products.shape, np.bool_)
        self._queries, self._places = np.empty(0, np.int64), np.empty(0, np.int64)
        self._found = np.empty(0, np.float32)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._waiting = 0

    def show(self, kind: Kind, kept: NDArray[Any], first: int, places: NDArray[np.int64] | None = None) -> None:
        """(m, D) contiguous rows of a kind, whose places, or the given `places` (m,), are counted from `first`."""
        if kind.name not in self._scaled:
            self._scaled[kind.name] = np.ascontiguousarray(kind.scaled(self._asked).T)
        scaled = self._scaled[kind.name]
        for start in range(0, len(kept), len(self._whole)):
            whole = kind.unpacked(kept[start : start + len(self._whole)], self._whole, self._scratch)
            products = np.matmul(whole, scaled, out=self._products[: len(whole)])
            passing = np.greater(products, self._floor, out=self._passing[: len(whole)])
            if passing.any():  # seldom, once a few blocks are seen
                rows, queries = np.nonzero(passing)
                similarities, rows = products[rows, queries], rows + start
                self._pending.append((queries, first + (rows if places is None else places[rows]), similarities))
                self._waiting += len(rows)
                if self._waiting > 2 * self._width * len(self._floor):
                    self._settle()

    def nearest(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """For each query the similarities found and their rows' places, best first."""
        self._settle()
        cuts = np.searchsorted(self._queries, np.arange(1, len(self._floor)))
        return list(zip(np.split(self._found, cuts), np.split(self._places, cuts), strict=True))

    def _settle(self) -> None:
        """Keeps the best `width` of each query; whoever is not above the last of so many is not looked at again."""
        queries = np.concatenate([self._queries, *(queries for queries, _, _ in self._pending)])
        places = np.concatenate([self._places, *(places for _, places, _ in self._pending)])
        found = np.concatenate([self._found, *(found for _, _, found in self._pending)])
        self._pending, self._waiting = [], 0
        order = np.lexsort((-found, queries))
        queries = queries[order]
        rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
        kept = order[rank < self._width]
        self._queries, self._places, self._found = queries[rank < self._width], places[kept], found[kept]
        full = np.flatnonzero(np.bincount(self._queries, minlength=len(self._floor)) == self._width)
        ends = np.searchsorted(self._queries, full, "right") - 1
        self._floor[full] = np.maximum(self._floor[full], self._found[ends])
