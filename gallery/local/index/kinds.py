"""Which rows are kept how: bytes for all but those that would not be kept well so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gallery.local.index.halves import HALVES
from gallery.local.index.quarters import QUARTERS
from gallery.local.index.rounding import Kind, Rounded

KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in (QUARTERS, HALVES)}


def sorted_out(embeddings: NDArray[np.float32]) -> Iterator[tuple[Kind, NDArray[np.int64], Rounded]]:
    """(n, D) rows of unit length by the kind each is kept in: which they are, rising, and what is kept of them.

    It depends on the row alone: no row makes another's rounding worse than its kind allows.
    """
    fitting = QUARTERS.fit(embeddings)
    for kind, which in ((QUARTERS, np.flatnonzero(fitting)), (HALVES, np.flatnonzero(~fitting))):
        if len(which):
            yield kind, which, kind.rounded(embeddings if len(which) == len(embeddings) else embeddings[which])


def kept(embedding: NDArray[np.float32]) -> NDArray[Any]:
    """The one (D,) row as it is kept, (D,) of its kind's dtype."""
    ((_, _, rounded),) = sorted_out(embedding[np.newaxis])
    row: NDArray[Any] = rounded.rows[0]
    return row
