"""Embeddings in fewer bytes, and how far a similarity of the rounded can be from that of the whole.

A row x of float32 is kept as the row h next to it, and a query q may be rounded to p too. By Cauchy and Schwarz
|q·x - p·h| <= |q| |x - h| + |q - p| |h|; |x - h| is known when the row comes in, |q - p| when it is asked. The sum of n
products in float32, in any order and fused or not, is within n u / (1 - n u) |p| |h| of p·h, u = 2^-24 (Higham,
Accuracy and Stability of Numerical Algorithms, 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True)
class Rounded:
    """`rows`, (n, D) of a kind's dtype; `error` and `length` are at least each |x - h| and each |h|."""

    rows: NDArray[Any]
    error: float
    length: float


class Kind(Protocol):
    """One way of keeping rows. Kinds have no state; any thread may use them."""

    @property
    def name(self) -> str:
        """What snapshots call it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a number as it is kept."""

    @property
    def codes(self) -> str:
        """What FAISS's scalar quantizer calls it."""

    def rounded(self, embeddings: NDArray[np.float32]) -> Rounded:
        """Of (n, D) rows that the kind can keep, n > 0; the arrays returned are the caller's own."""

    def coded(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, D) queries, and (n,): their similarity is that times FAISS's product with kept rows."""

    def scaled(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, D) queries such that the product with `unpacked` rows is their similarity."""

    def unpacked(self, rows: NDArray[Any], out: NDArray[np.float32], scratch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The (n, D) contiguous kept rows as float32, exactly, each times a constant, in the first rows of `out`,
        (m, D), which are returned; `scratch`, (m, D), is written to."""


def rounded_to(
    embeddings: NDArray[np.float32], rows: NDArray[Any], whole: NDArray[np.float32], slack: float
) -> Rounded:
    """With the errors of (n, D) `rows`, which are `whole` up to `slack` of their length; `whole` is written to."""
    lengths = np.einsum("nd,nd->n", whole, whole)
    np.subtract(embeddings, whole, out=whole)
    errors = np.einsum("nd,nd->n", whole, whole)
    # The sums of squares are float32's, hence the margin.
    error, length = (1.001 * float(np.sqrt(most.max())) + 1e-18 for most in (errors, lengths))
    return Rounded(rows, error + slack * length, length)


def bounds(
    queries: NDArray[np.float32], apart: NDArray[np.float64], error: float, length: float
) -> NDArray[np.float64]:
    """(n,): how far, at most, a similarity of (n, D) queries to a kept row computed in float32 is from the whole
    row's; `apart`, (n,), is each |q - p|."""
    dimension = queries.shape[1] + 6  # the kinds' constants cost a rounding each
    summing = dimension * _UNIT / (1 - dimension * _UNIT)
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    found: NDArray[np.float64] = lengths * error + (apart + summing * (lengths + apart)) * length
    return 1.001 * found + 1e-12


def similarities(embeddings: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) of (n, D) and (D,) in float64; a row's is the same in any company."""
    found: NDArray[np.float64] = (embeddings.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return found
