"""Embeddings in a quarter of their bytes: a signed byte a number, for rows none of whose numbers is far out.

A component of an evenly spread unit vector is about 1/√D; those up to six times that are kept, in 127 steps to each
side. So |x - h| is about 6 / (127 √12) = 0.014, and never above half a step in every component, 0.024, whatever the
rows are. FAISS counts the bytes from 128, so that 128 stands for 0.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.rounding import Rounded, rounded_to

_REACH = 6.0
_STEPS = 127
_ZERO = 128
_SLACK = 2.0**-23  # two roundings of a number: its quotient's product with the step, and the step itself


class Quarters:
    """See `rounding.Kind`."""

    name: Final = "int8"
    dtype: Final = np.dtype(np.uint8)
    codes: Final = "QT_8bit_direct_signed"

    def fit(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,): which of (n, D) rows can be kept so."""
        largest = np.abs(embeddings).max(axis=1, initial=0)
        found: NDArray[np.bool_] = largest < (_STEPS + 0.49) * step(embeddings.shape[1])
        return found

    def rounded(self, embeddings: NDArray[np.float32]) -> Rounded:
        unit = step(embeddings.shape[1])
        steps = np.rint(embeddings / unit)
        rows = (steps + _ZERO).astype(np.uint8)
        return rounded_to(embeddings, rows, np.multiply(steps, unit, out=steps), _SLACK)

    def coded(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """In whole steps of a 127th of its own largest number: where the processor multiplies bytes and 64 divides D,
        FAISS cuts a query down to signed bytes without a word."""
        units = np.maximum(np.abs(queries).max(axis=1), np.float32(1e-30)) / np.float32(_STEPS)
        return np.rint(queries / units[:, np.newaxis]), units * step(queries.shape[1])

    def apart(self, queries: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,): how far `coded` moves each of (n, D) queries."""
        steps, factors = self.coded(queries)
        units = factors.astype(np.float64) / step(queries.shape[1])
        moved: NDArray[np.float64] = np.linalg.norm(queries - steps * units[:, np.newaxis], axis=1)
        return moved

    def scaled(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = queries * step(queries.shape[1])
        return found

    def unpacked(self, rows: NDArray[Any], out: NDArray[np.float32], scratch: NDArray[np.uint8]) -> NDArray[np.float32]:
        whole = out[: len(rows)]
        # As two's complement, which NumPy converts at once; a subtraction of mixed types goes piece by piece.
        np.copyto(whole, np.bitwise_xor(rows, np.uint8(_ZERO), out=scratch[: len(rows)]).view(np.int8))
        return whole


def step(dimension: int) -> np.float32:
    """What one of the byte's 127 steps stands for; those of a unit vector in few dimensions reach all of it."""
    found: np.float32 = np.float32(min(1.0, _REACH / dimension**0.5) / _STEPS)
    return found


QUARTERS: Final = Quarters()
